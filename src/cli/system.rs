//! Files and environment variables of this process, as the configuration reads them.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read as _, Take},
    os::unix::fs::MetadataExt as _,
};

use zeroize::Zeroizing;

use super::error::system_message;
use crate::config::{FOLDER_FILES_MAX, Sources};

/// Files and variables of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct System;

impl Sources for System {
    fn file(&self, path: &str) -> Result<Zeroizing<String>, String> {
        let mut text = Zeroizing::new(String::new());
        read(path, |file| file.read_to_string(&mut text)).map(|()| text)
    }

    fn bytes(&self, path: &str) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        read(path, |file| file.read_to_end(&mut bytes)).map(|()| bytes)
    }

    fn folder(&self, path: &str) -> Result<Vec<String>, String> {
        let entries = fs::read_dir(path).map_err(|error| system_message(&error))?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file());
        let paths: Vec<_> =
            paths.filter_map(|path| path.to_str().map(str::to_owned)).take(FOLDER_FILES_MAX + 1).collect();
        if paths.len() > FOLDER_FILES_MAX {
            return Err(format!("it has more than {FOLDER_FILES_MAX} files"));
        }
        Ok(paths)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place that reads the environment")]
    fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        std::env::var(name).ok().filter(|value| !value.is_empty()).map(Zeroizing::new)
    }

    fn others_can_read(&self, path: &str) -> bool {
        fs::metadata(path).is_ok_and(|file| {
            let is_ours = file.uid() == rustix::process::geteuid().as_raw();
            // The group may be how this process reads a file that is not its own.
            let others = if is_ours { GROUP_READ | OTHERS_READ } else { OTHERS_READ };
            file.is_file() && file.mode() & others != 0
        })
    }

    fn variable_names(&self) -> Vec<String> {
        let set = std::env::vars_os().filter(|(_, value)| !value.is_empty());
        set.map(|(name, _)| name.to_string_lossy().into_owned()).collect()
    }
}

/// Reads a file of at most [`FILE_MAX_BYTES`].
fn read(path: &str, into: impl FnOnce(&mut Take<File>) -> io::Result<usize>) -> Result<(), String> {
    // One byte more shows that the file is larger.
    let limit = FILE_MAX_BYTES + 1;
    let bytes =
        File::open(path).and_then(|file| into(&mut file.take(limit))).map_err(|error| system_message(&error))?;
    if u64::try_from(bytes).is_ok_and(|bytes| bytes >= limit) {
        return Err(format!("it has more than {FILE_MAX_BYTES} bytes"));
    }
    Ok(())
}

/// The mode bits for reading by the group and by all other users.
const GROUP_READ: u32 = 0o040;
const OTHERS_READ: u32 = 0o004;

/// Files of settings are far smaller. Without a limit, a device such as `/dev/zero` would fill the
/// memory.
const FILE_MAX_BYTES: u64 = 16 << 20;

/// Returns true if a variable of this process is set to the empty text.
pub(crate) fn is_empty_variable(variable: &OsStr) -> bool {
    std::env::var_os(variable).is_some_and(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_are_read_up_to_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let read = |bytes: u64| {
            File::create(&path).unwrap().set_len(bytes).unwrap();
            let path = path.to_str().unwrap();
            (System.bytes(path).map(|bytes| bytes.len()), System.file(path).map(|text| text.len()))
        };
        let limit = 16 << 20;
        assert_eq!(read(limit - 1), (Ok(16_777_215), Ok(16_777_215)));
        assert_eq!(read(limit), (Ok(16_777_216), Ok(16_777_216)));
        let fault = "it has more than 16777216 bytes".to_owned();
        assert_eq!(read(limit + 1), (Err(fault.clone()), Err(fault)));
    }

    #[test]
    fn a_file_that_others_can_read_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        File::create(&path).unwrap();
        for (mode, readable) in [(0o600, false), (0o640, true), (0o604, true), (0o644, true), (0o622, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(System.others_can_read(path.to_str().unwrap()), readable, "{mode:o}");
        }
        assert!(!System.others_can_read(folder.path().join("none").to_str().unwrap()));
        assert!(!System.others_can_read(folder.path().to_str().unwrap()));
    }

    #[test]
    fn a_folder_lists_its_files_up_to_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        fs::create_dir(folder.path().join("inner")).unwrap();
        let file = |number: usize| drop(File::create(folder.path().join(number.to_string())).unwrap());
        (1..FOLDER_FILES_MAX).for_each(file);
        assert_eq!(System.folder(path).unwrap().len(), FOLDER_FILES_MAX - 1);
        file(FOLDER_FILES_MAX);
        let files = System.folder(path).unwrap();
        assert!(files.len() == FOLDER_FILES_MAX && files.contains(&format!("{path}/4096")));
        file(FOLDER_FILES_MAX + 1);
        assert_eq!(System.folder(path), Err("it has more than 4096 files".to_owned()));
        assert_eq!(System.folder(&format!("{path}/1")), Err("Not a directory".to_owned()));
    }
}
