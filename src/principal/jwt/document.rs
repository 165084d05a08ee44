//! A key set on its way here: its bytes, as far as they are kept.

/// The most bytes of a key set: some hundred RSA keys with their certificates.
const DOCUMENT_BYTES: usize = 256 << 10;

/// The bytes of an issuer's key set that have come.
#[derive(Debug, Default)]
pub struct KeyDocument(Vec<u8>);

impl KeyDocument {
    /// What to ask an issuer for.
    pub const ACCEPT: &'static str = "application/jwk-set+json, application/json";

    /// A document that says of itself how long it is, if it does.
    ///
    /// # Errors
    /// It is too long.
    pub fn announced(bytes: Option<u64>) -> Result<Self, String> {
        if bytes.is_some_and(|bytes| bytes > DOCUMENT_BYTES as u64) { Err(too_long()) } else { Ok(Self::default()) }
    }

    /// Takes a piece of it.
    ///
    /// # Errors
    /// With this one it is too long.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), String> {
        if self.0.len().saturating_add(piece.len()) > DOCUMENT_BYTES {
            return Err(too_long());
        }
        self.0.extend_from_slice(piece);
        Ok(())
    }

    /// The whole.
    ///
    /// # Errors
    /// It is not UTF-8.
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
    fn a_document_is_bounded_whether_it_says_so_or_not() {
        let most = DOCUMENT_BYTES as u64;
        assert!(KeyDocument::announced(Some(most)).is_ok() && KeyDocument::announced(Some(most + 1)).is_err());
        let mut document = KeyDocument::announced(None).unwrap();
        document.push(&vec![b' '; DOCUMENT_BYTES]).unwrap();
        assert_eq!(document.push(b" ").unwrap_err(), "over 262144 bytes");
        assert_eq!(document.finish().unwrap().len(), DOCUMENT_BYTES);
    }
}
