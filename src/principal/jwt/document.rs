//! The bytes of a key set while it arrives.

/// The largest key set: about a hundred RSA keys with their certificates.
const DOCUMENT_BYTES: usize = 256 << 10;

/// The bytes of an issuer's key set that have arrived.
#[derive(Debug, Default)]
pub struct KeyDocument(Vec<u8>);

impl KeyDocument {
    /// The `Accept` header of a request for a key set.
    pub const ACCEPT: &'static str = "application/jwk-set+json, application/json";

    /// An empty document with this `Content-Length`, if there is one.
    ///
    /// # Errors
    /// The length is over the limit of 262144 bytes.
    pub fn with_length(length_bytes: Option<u64>) -> Result<Self, String> {
        if length_bytes.is_some_and(|bytes| bytes > DOCUMENT_BYTES as u64) {
            Err(too_long())
        } else {
            Ok(Self::default())
        }
    }

    /// Appends a piece.
    ///
    /// # Errors
    /// The document is over the limit of 262144 bytes.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), String> {
        if self.0.len().saturating_add(piece.len()) > DOCUMENT_BYTES {
            return Err(too_long());
        }
        self.0.extend_from_slice(piece);
        Ok(())
    }

    /// The complete document.
    ///
    /// # Errors
    /// The document is not UTF-8.
    pub fn finish(self) -> Result<String, String> {
        String::from_utf8(self.0).map_err(|_| "not UTF-8".to_owned())
    }
}

fn too_long() -> String {
    format!("over {DOCUMENT_BYTES} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_limited_with_and_without_a_length() {
        let limit = DOCUMENT_BYTES as u64;
        assert!(KeyDocument::with_length(Some(limit)).is_ok() && KeyDocument::with_length(Some(limit + 1)).is_err());
        let mut document = KeyDocument::with_length(None).unwrap();
        document.push(&vec![b' '; DOCUMENT_BYTES]).unwrap();
        assert_eq!(document.push(b" ").unwrap_err(), "over 262144 bytes");
        assert_eq!(document.finish().unwrap().len(), DOCUMENT_BYTES);
    }
}
