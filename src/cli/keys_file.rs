//! A keys file in memory, line by line. Comments and empty lines keep their positions.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{
    error::CliError,
    file,
    secret::{parse_key_ring, token_key_line},
};

/// A keys file, read but not yet written back. The first key signs, and all keys verify.
pub(super) struct KeysFile {
    path: PathBuf,
    lines: Vec<Line>,
}

enum Line {
    /// A comment or an empty line.
    Other(String),
    /// One key, `kid:secret`.
    Key(Zeroizing<String>),
}

impl KeysFile {
    /// Reads a keys file. A missing file is read as an empty one. Keys that share a line, separated
    /// by commas, get lines of their own.
    ///
    /// # Errors
    /// [`CliError`] if the file cannot be read, or holds keys that are not a valid key ring.
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let text = Zeroizing::new(file::read(path)?.unwrap_or_default());
        let lines = text.lines().flat_map(|line| {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                return vec![Line::Other(line.to_owned())];
            }
            let keys = line.split(',').map(str::trim).filter(|key| !key.is_empty());
            keys.map(|key| Line::Key(Zeroizing::new(key.to_owned()))).collect()
        });
        let file = Self { path: path.to_owned(), lines: lines.collect() };
        if file.signing_id().is_some() {
            parse_key_ring(&text)?;
        }
        Ok(file)
    }

    /// The id of the key that signs; `None` without keys.
    pub(super) fn signing_id(&self) -> Option<&str> {
        self.ids().next()
    }

    /// Adds a new key at the end.
    ///
    /// # Errors
    /// [`CliError`] if the id is in use, or if the system gives no random bytes.
    pub(super) fn add(&mut self, kid: &str) -> Result<(), CliError> {
        if self.ids().any(|id| id == kid) {
            let error = CliError::new(format!("`{}` already has a key `{kid}`", self.path.display()));
            return Err(error.with_hint("pass another id with --kid"));
        }
        let line = token_key_line(kid)?;
        self.lines.push(Line::Key(Zeroizing::new(line.trim_end().to_owned())));
        Ok(())
    }

    /// Moves a key to the front, so that it signs.
    ///
    /// # Errors
    /// [`CliError`] if the file has no such key, or if it signs already.
    pub(super) fn move_to_front(&mut self, kid: &str) -> Result<(), CliError> {
        if self.signing_id() == Some(kid) {
            let error = CliError::new(format!("nothing changed: `{kid}` is already the signing key"));
            return Err(error.with_hint(format!(
                "if instances still sign with another key, copy {} to all of them and reload them (SIGHUP)",
                file::shell_word(&self.path)
            )));
        }
        let key = self.take(kid)?;
        let front = self.lines.iter().position(|line| line.id().is_some()).unwrap_or(self.lines.len());
        self.lines.insert(front, key);
        Ok(())
    }

    /// Removes a key that does not sign.
    ///
    /// # Errors
    /// [`CliError`] if the file has no such key, or if it signs.
    pub(super) fn remove(&mut self, kid: &str) -> Result<(), CliError> {
        if self.signing_id() == Some(kid) {
            let path = file::shell_word(&self.path);
            let first_step = match self.ids().nth(1) {
                Some(other) => format!("make another key the signing key: `holdall keys rotate use {path} {other}`"),
                None => format!("add another key first: `holdall keys rotate add {path}`"),
            };
            return Err(CliError::new(format!("cannot drop `{kid}`: it is the signing key")).with_hint(first_step));
        }
        self.take(kid).map(drop)
    }

    /// The content of the file.
    pub(super) fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        for line in &self.lines {
            text.push_str(match line {
                Line::Other(line) => line,
                Line::Key(key) => key,
            });
            text.push('\n');
        }
        text
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(Line::id)
    }

    fn take(&mut self, kid: &str) -> Result<Line, CliError> {
        let at = self.lines.iter().position(|line| line.id() == Some(kid)).ok_or_else(|| {
            let ids = self.ids().collect::<Vec<_>>().join(", ");
            let hint = match ids.is_empty() {
                true => format!("add a key: `holdall keys rotate add {}`", file::shell_word(&self.path)),
                false => format!("the keys in the file are {ids}"),
            };
            CliError::new(format!("`{}` has no key `{kid}`", self.path.display())).with_hint(hint)
        })?;
        Ok(self.lines.remove(at))
    }
}

impl Line {
    /// The id of the key in this line.
    fn id(&self) -> Option<&str> {
        match self {
            Self::Other(_) => None,
            Self::Key(key) => Some(key.split_once(':').map_or(key.as_str(), |(id, _)| id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn comments_keep_their_place() {
        let (one, two) = (token_key_line("one").unwrap(), token_key_line("two").unwrap());
        let (_folder, path) = file(&format!("# ours\n{}, {}\n# end\n", one.trim(), two.trim()));
        let mut keys = KeysFile::read(&path).unwrap();
        keys.move_to_front("two").unwrap();
        assert_eq!(*keys.to_text(), format!("# ours\n{}{}# end\n", *two, *one));
        keys.remove("one").unwrap();
        assert_eq!(*keys.to_text(), format!("# ours\n{}# end\n", *two));
    }

    #[test]
    fn the_signing_key_cannot_be_removed() {
        let (one, two) = (token_key_line("one").unwrap(), token_key_line("two").unwrap());
        let (_folder, path) = file(&format!("{}{}", *one, *two));
        let mut keys = KeysFile::read(&path).unwrap();
        assert!(keys.remove("one").unwrap_err().hint().unwrap().ends_with(" two`"));
        assert!(keys.remove("three").unwrap_err().hint().unwrap().contains("one, two"));
        assert!(keys.add("two").is_err());
        keys.remove("two").unwrap();
        assert!(keys.remove("one").unwrap_err().hint().unwrap().contains("holdall keys rotate add "));
    }

    #[test]
    fn a_file_that_is_not_a_key_ring_is_refused() {
        for text in ["one", "one:AQ", "one:AQ\none:AQ"] {
            let (_folder, path) = file(text);
            assert!(KeysFile::read(&path).is_err(), "{text}");
        }
    }
}
