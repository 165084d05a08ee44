//! The certificate authorities that outgoing connections accept.
//!
//! This module reads the files, and checks that they hold certificates in PEM form (RFC 7468). The
//! shell parses the certificates.

use std::{collections::BTreeSet, fmt, sync::Arc};

use super::{error::ConfigError, sources::Sources};

/// The certificate authorities that TLS connections accept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authorities {
    /// The certificates of `SSL_CERT_FILE` and `SSL_CERT_DIR`. They replace the built-in ones.
    pub system: Option<Certificates>,
    /// The certificates of `ca_file`, in addition.
    pub own: Option<Certificates>,
}

impl Authorities {
    /// The authorities without a `ca_file`: those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, or else
    /// the built-in ones.
    ///
    /// # Errors
    /// [`ConfigError`] if one of these variables is set, and no certificates can be read.
    pub fn of_environment(sources: &impl Sources) -> Result<Self, ConfigError> {
        Ok(Self { system: system_certificates(sources)?, own: None })
    }
}

/// The certificates of one setting. `Debug` shows only where they come from.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificates {
    /// The setting and its file, with which an error starts.
    pub source: String,
    /// At least one certificate, in PEM form.
    pub pem: Arc<str>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// The certificates of `SSL_CERT_FILE` and `SSL_CERT_DIR`; `None` if neither is set.
///
/// A file must hold a certificate. In a folder, other files are ignored, and so are files that the
/// user may not read.
pub(super) fn system_certificates(sources: &impl Sources) -> Result<Option<Certificates>, ConfigError> {
    let (file, folders) = (sources.variable(CERT_FILE), sources.variable(CERT_DIR));
    if file.is_none() && folders.is_none() {
        return Ok(None);
    }
    let mut blocks = BTreeSet::new();
    if let Some(path) = &file {
        blocks.insert(certificates(sources, CERT_FILE, path)?.pem.to_string());
    }
    for folder in folders.iter().flat_map(|folders| folders.split(FOLDER_SEPARATOR)).filter(|path| !path.is_empty()) {
        let before = blocks.len();
        let files =
            sources.folder(folder).map_err(|cause| ConfigError::unreadable(CERT_DIR, folder, cause, sources))?;
        for bytes in files.iter().filter_map(|path| sources.bytes(path).ok()) {
            // Folders often hold each certificate under two names, and all of them in one file.
            blocks.extend(pem_blocks(&String::from_utf8_lossy(&bytes)).map(str::to_owned));
            check_size(blocks.iter().map(String::len).sum(), CERT_DIR)?;
        }
        if blocks.len() == before && file.is_none() {
            return Err(ConfigError::invalid(CERT_DIR, named(sources, folder, "which has no file with a certificate")));
        }
    }
    let names = [file.as_ref().map(|_| CERT_FILE), folders.as_ref().map(|_| CERT_DIR)];
    let source = names.into_iter().flatten().collect::<Vec<_>>().join(" and ");
    Ok(Some(Certificates { source, pem: blocks.into_iter().collect::<String>().into() }))
}

/// The certificates in the file that a key names.
pub(super) fn certificates(sources: &impl Sources, key: &'static str, path: &str) -> Result<Certificates, ConfigError> {
    let bytes = sources.bytes(path).map_err(|cause| ConfigError::unreadable(key, path, cause, sources))?;
    let text = String::from_utf8_lossy(&bytes);
    let pem: String = pem_blocks(&text).collect();
    if pem.is_empty() {
        return Err(ConfigError::invalid(key, named(sources, path, &format!("which {}", wrong_file(&bytes, &text)))));
    }
    check_size(pem.len(), key)?;
    let shown = if sources.may_show(path) { format!(" names `{path}`") } else { String::new() };
    Ok(Certificates { source: format!("`{key}`{shown}"), pem: pem.into() })
}

/// The fault of a key that names a file.
fn named(sources: &impl Sources, path: &str, fault: &str) -> String {
    let shown = if sources.may_show(path) { format!("`{path}`") } else { "a file".to_owned() };
    format!("names {shown}, {fault}")
}

/// The certificates in a PEM text, each with its markers and a line end.
fn pem_blocks(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(BEGIN).filter_map(|(start, _)| {
        let block = text.get(start..)?;
        let end = block.find(END)?.checked_add(END.len())?;
        let rest = block.get(end..)?;
        let line_end = rest.len() - rest.trim_start_matches(['\r', '\n']).len();
        block.get(..end.checked_add(line_end)?)
    })
}

/// The reason why a file without certificates is not the right one, and the next step.
fn wrong_file(bytes: &[u8], text: &str) -> &'static str {
    match bytes.first() {
        None => "is empty",
        _ if text.contains(BEGIN) => "has a certificate without its end; copy the complete file",
        _ if text.contains("PRIVATE KEY-----") => "holds a private key; name the file with the authority's certificate",
        _ if text.contains("-----BEGIN CERTIFICATE REQUEST-----") => {
            "holds a certificate request; name the file with the authority's certificate"
        }
        _ if text.contains("-----BEGIN TRUSTED CERTIFICATE-----") => {
            "holds a certificate in OpenSSL's own form; convert it with `openssl x509 -in FILE -out ca.pem`"
        }
        // A DER sequence.
        Some(0x30) => "is a binary file; convert it with `openssl x509 -inform der -in FILE -out ca.pem`",
        _ => "has no certificate in PEM form (`-----BEGIN CERTIFICATE-----`)",
    }
}

fn check_size(bytes: usize, key: &'static str) -> Result<(), ConfigError> {
    if bytes > CERTIFICATES_MAX_BYTES {
        return Err(ConfigError::invalid(key, format!("has over {CERTIFICATES_MAX_BYTES} bytes of certificates")));
    }
    Ok(())
}

const CERT_FILE: &str = "SSL_CERT_FILE";
const CERT_DIR: &str = "SSL_CERT_DIR";
/// The separator of folders, as in `PATH`.
const FOLDER_SEPARATOR: char = if cfg!(windows) { ';' } else { ':' };
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// Twenty times the certificates that Mozilla lists.
const CERTIFICATES_MAX_BYTES: usize = 4 << 20;
