//! The source of files and variables.

use zeroize::Zeroizing;

use super::shown::may_be_secret;

/// A source of files and variables: the system, a platform's bindings, or a test.
pub trait Sources {
    /// The text of a file.
    ///
    /// # Errors
    /// The error of the system.
    fn file(&self, path: &str) -> Result<Zeroizing<String>, String>;

    /// The bytes of a file that need not be text.
    ///
    /// # Errors
    /// The error of the system.
    fn bytes(&self, path: &str) -> Result<Vec<u8>, String> {
        self.file(path).map(|text| text.as_bytes().to_vec())
    }

    /// The paths of the files in a folder, at most [`FOLDER_FILES_MAX`].
    ///
    /// # Errors
    /// The error of the system, or the lack of folders.
    fn folder(&self, _path: &str) -> Result<Vec<String>, String> {
        Err("there are no folders here".to_owned())
    }

    /// The value of an environment variable; `None` if it is not set or empty.
    fn variable(&self, name: &str) -> Option<Zeroizing<String>>;

    /// The names of the variables that are set and not empty; empty if the platform does not list
    /// them.
    fn variable_names(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns true if users other than that of this process can read a file, and this user could
    /// change that.
    fn others_can_read(&self, _path: &str) -> bool {
        false
    }

    /// Returns true if an error may show `path`, a file that could not be read.
    ///
    /// The operator may have set a secret in the place of a path. Therefore, an error shows only
    /// paths of at most 128 bytes of `A-Z a-z 0-9 _ . / -` without a part that looks like a key.
    fn may_show(&self, path: &str) -> bool {
        path.len() <= SHOWN_PATH_MAX_BYTES
            && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte))
            && !path.split(['/', '.']).any(may_be_secret)
    }
}

/// The most files of a folder that is read.
pub const FOLDER_FILES_MAX: usize = 4_096;
/// The longest path that an error shows.
const SHOWN_PATH_MAX_BYTES: usize = 128;
