//! The source of files and variables.

use zeroize::Zeroizing;

/// Where files and variables come from.
pub trait Sources {
    /// The text of a file.
    ///
    /// # Errors
    /// What the system says.
    fn file(&self, path: &str) -> Result<Zeroizing<String>, String>;

    /// The value of an environment variable, if it is set and not empty.
    fn variable(&self, name: &str) -> Option<Zeroizing<String>>;

    /// Whether an error may show `path`, which could not be read: not where it may be a secret that was put in the wrong
    /// place.
    fn may_show(&self, path: &str) -> bool {
        path.len() <= PATH_SHOWN_BYTES
            && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte))
    }
}

/// The longest path that an error shows.
const PATH_SHOWN_BYTES: usize = 128;
