//! TLS of outgoing connections: the accepted authorities, and the messages for certificates that
//! are not accepted.
//!
//! Certificates are checked against the Mozilla roots in the binary, since a scratch image has no
//! system roots. Settings replace or extend them ([`Authorities`]).

use std::{error::Error, fmt, io, sync::Arc};

use rustls::{
    CertificateError as Fault, ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::{
    config::{Authorities, Certificates},
    proto::time::UnixSeconds,
};

/// The TLS settings of a client that accepts these authorities.
///
/// # Errors
/// [`SetupError`] if a certificate is not valid, or if the crypto provider does not offer the safe
/// default versions.
pub(super) fn client_config(authorities: &Authorities) -> Result<ClientConfig, SetupError> {
    let mut roots = match &authorities.system {
        None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
        Some(system) => system_roots(system)?,
    };
    if let Some(own) = &authorities.own {
        for (index, certificate) in parse(own).enumerate() {
            let added = certificate.map(|certificate| roots.add(certificate).is_ok());
            if added != Some(true) {
                let fault = format!("{}, whose certificate {} is not valid; export it again", own.source, index + 1);
                return Err(SetupError(fault));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError(format!("cannot set up TLS: {error}")))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The certificates of the system. Bundles often have some that are too old to be valid.
fn system_roots(system: &Certificates) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(parse(system).flatten());
    if roots.is_empty() {
        return Err(SetupError(format!("{}: no certificate is valid", system.source)));
    }
    Ok(roots)
}

/// The certificates of a PEM text; `None` for one whose base64 is not valid.
fn parse(certificates: &Certificates) -> impl Iterator<Item = Option<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(certificates.pem.as_bytes()).map(Result::ok)
}

/// The reason why TLS failed, for the operator. `None` if `error` has another reason. `setting` is
/// the key that names private authorities.
pub(super) fn explain(error: &(dyn Error + 'static), setting: &str) -> Option<String> {
    let error = find(error)?;
    let fault = match error {
        rustls::Error::InvalidCertificate(fault) => fault,
        rustls::Error::InvalidMessage(_) => return Some("the server does not use TLS; check the URL".to_owned()),
        other => return Some(format!("TLS failed: {}", short(other))),
    };
    let words = match fault {
        Fault::UnknownIssuer => {
            format!("is not signed by a known authority; if the authority is private, set `{setting}` or SSL_CERT_FILE")
        }
        Fault::ExpiredContext { not_after, .. } => format!("expired at {}", UnixSeconds(not_after.as_secs())),
        Fault::NotValidYetContext { not_before, .. } => {
            format!("is not valid before {}; check the clocks", UnixSeconds(not_before.as_secs()))
        }
        Fault::NotValidForName | Fault::NotValidForNameContext { .. } => {
            format!("is for another name ({})", short(fault))
        }
        Fault::Other(other) if format!("{other:?}").contains(AUTHORITY_AS_SERVER) => {
            "is that of an authority (CA:TRUE); make a separate certificate for the server".to_owned()
        }
        fault => format!("is not valid ({})", short(fault)),
    };
    Some(format!("the server's certificate {words}"))
}

/// The TLS error in a chain of errors. An I/O error holds its own cause, and names the cause of
/// that one as its source.
fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match held {
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    None
}

/// The start of an error's text. A certificate may have hundreds of names.
fn short(error: &impl fmt::Display) -> String {
    error.to_string().chars().take(DETAIL_CHARS_MAX).collect()
}

/// The name of the error of rustls-webpki for a self-signed certificate of an authority.
const AUTHORITY_AS_SERVER: &str = "CaUsedAsEndEntity";
const DETAIL_CHARS_MAX: usize = 300;

/// The reason why a client cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupError(pub(super) String);

impl Error for SetupError {}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
