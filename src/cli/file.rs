//! Files that must not be lost: replaced whole or not at all, and written by one process at a time.
//!
//! A replacement is written beside the file, flushed to the disk and renamed over it, so that a full disk or a kill at
//! any moment leaves the old file or the new one. All are for their owner alone (mode 0600).

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use super::{
    console::Console,
    error::{CliError, system_message},
};

/// Replaces what `path` names, or makes it; a symbolic link stays and its target is replaced.
///
/// # Errors
/// [`CliError`]; the old file is as it was.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let replaced = write_beside(&target, bytes).and_then(|file| {
        file.persist(&target)?;
        sync_folder(&target)
    });
    replaced.map_err(|error| CliError::file("write", path, &error))
}

/// Makes a file that is not there yet; says whether it has: `false` if there is one.
///
/// # Errors
/// [`CliError`].
pub(super) fn create(path: &Path, bytes: &[u8]) -> Result<bool, CliError> {
    let file = write_beside(path, bytes).map_err(|error| CliError::file("write", path, &error))?;
    match file.persist_noclobber(path) {
        Ok(_) => sync_folder(path).map(|()| true).map_err(|error| CliError::file("write", path, &error)),
        Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(failed) => Err(CliError::file("write", path, &failed.error)),
    }
}

/// The text of a file, `None` if there is none.
///
/// # Errors
/// [`CliError`].
pub(super) fn read(path: &Path) -> Result<Option<String>, CliError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CliError::file("read", path, &error)),
    }
}

/// The text of a file, or of standard input for `-`.
pub(super) fn read_input(path: &Path) -> Result<String, CliError> {
    if path == Path::new("-") {
        let mut text = String::new();
        return match io::stdin().read_to_string(&mut text) {
            Ok(_) => Ok(text),
            Err(error) => Err(CliError::new(format!("cannot read standard input: {}", system_message(&error)))),
        };
    }
    read(path)?.ok_or_else(|| CliError::new(format!("there is no file {}", path.display())))
}

/// `path` with `suffix` behind its name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn write_beside(target: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    // Files of this crate have mode 0600, and go when they are dropped.
    let mut file = NamedTempFile::with_prefix_in(".holdall-", folder(target))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// The new name itself is on the disk only once its folder is.
fn sync_folder(target: &Path) -> io::Result<()> {
    File::open(folder(target))?.sync_all()
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// The right to write one file, held against other processes by a locked file beside it.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    _locked: File,
}

impl Lock {
    /// Waits for the right to write `target`, and says so; not for a chat, which may take all day.
    ///
    /// # Errors
    /// [`CliError`] if a chat has it, or the file beside cannot be made.
    pub(super) fn take(target: &Path, holder: Holder, mut say: impl FnMut(&str)) -> Result<Self, CliError> {
        // Two names of one file have one lock.
        let path = with_suffix(&fs::canonicalize(target).unwrap_or_else(|_| target.to_owned()), ".lock");
        let mut told = false;
        loop {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
            let mut file = file.map_err(|error| {
                CliError::new(format!("cannot write beside {}: {}", target.display(), system_message(&error)))
            })?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut held_by = String::new();
                    let _ = file.read_to_string(&mut held_by);
                    if held_by.starts_with(Holder::Chat.name()) {
                        return Err(CliError::new(format!("a chat has {} open ({held_by})", target.display()))
                            .with_hint("leave that chat first, or use another file"));
                    }
                    if !std::mem::replace(&mut told, true) {
                        say(&format!("waiting for another holdall to finish with {}", target.display()));
                    }
                    file.lock().map_err(|error| CliError::file("lock", &path, &error))?;
                }
                Err(TryLockError::Error(error)) => return Err(CliError::file("lock", &path, &error)),
            }
            // Who held it before took the file away at last: what we have locked is no longer what others find.
            if names(&path, &file) {
                // For people and for the check above; a full disk may leave it empty.
                let _ = file.set_len(0);
                let _ = write!(file, "{}, process {}", holder.name(), std::process::id());
                return Ok(Self { path, _locked: file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still locked: nobody else can have made it theirs.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether `path` is the name of this open file.
fn names(path: &Path, file: &File) -> bool {
    match (fs::metadata(path), file.metadata()) {
        (Ok(found), Ok(held)) => (found.dev(), found.ino()) == (held.dev(), held.ino()),
        _ => false,
    }
}

/// Who writes a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// For as long as it is open.
    Chat,
    /// For one change.
    Command,
}

impl Holder {
    fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Command => "command",
        }
    }
}

/// A file that holds one token, for one writer.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    _lock: Lock,
}

impl TokenFile {
    /// Takes the right to write `path`, which need not exist.
    ///
    /// # Errors
    /// As [`Lock::take`], and for what is no regular file.
    pub(super) fn open(path: &Path, holder: Holder, console: Console) -> Result<Self, CliError> {
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(CliError::new(format!("{} is not a regular file", path.display())));
        }
        Ok(Self { _lock: Lock::take(path, holder, |line| console.say(line))?, path: path.to_owned() })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The token, `None` if there is no file or nothing in it.
    ///
    /// # Errors
    /// [`CliError`].
    pub(super) fn read(&self) -> Result<Option<String>, CliError> {
        let text = read(&self.path)?.map(|text| text.trim().to_owned());
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// Puts `token` in the place of what is there.
    ///
    /// # Errors
    /// [`CliError`]; what is there stays.
    pub(super) fn write(&self, token: &str) -> Result<(), CliError> {
        replace(&self.path, format!("{token}\n").as_bytes())
    }

    /// Takes the file away.
    ///
    /// # Errors
    /// [`CliError`].
    pub(super) fn remove(&self) -> Result<(), CliError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CliError::file("remove", &self.path, &error)),
            _ => Ok(()),
        }
    }

    /// Gives the file another name, under which nothing is lost; `None` if there is no file.
    ///
    /// # Errors
    /// [`CliError`].
    pub(super) fn set_aside(&self) -> Result<Option<PathBuf>, CliError> {
        let Some(token) = self.read()? else { return Ok(None) };
        for number in 1_u32.. {
            let suffix = if number == 1 { ".bak".to_owned() } else { format!(".bak{number}") };
            let aside = with_suffix(&self.path, &suffix);
            if create(&aside, format!("{token}\n").as_bytes())? {
                self.remove()?;
                return Ok(Some(aside));
            }
        }
        Err(CliError::new("there is no name left to keep the old chat under"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_replaced_file_is_its_owners_alone_and_leaves_nothing_beside() {
        let folder = folder();
        let path = folder.path().join("a");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_symbolic_link_stays_one() {
        let folder = folder();
        let (link, target) = (folder.path().join("link"), folder.path().join("target"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
    }

    #[test]
    fn what_exists_is_not_made_again() {
        let folder = folder();
        let path = folder.path().join("a");
        assert!(create(&path, b"first").unwrap());
        assert!(!create(&path, b"second").unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
    }

    #[test]
    fn what_is_set_aside_never_takes_the_place_of_something() {
        let folder = folder();
        let file = TokenFile::open(&folder.path().join("t"), Holder::Command, Console::plain()).unwrap();
        assert_eq!(file.set_aside().unwrap(), None);
        for (token, aside) in [("one", "t.bak"), ("two", "t.bak2"), ("three", "t.bak3")] {
            file.write(token).unwrap();
            assert_eq!(file.set_aside().unwrap().unwrap(), folder.path().join(aside));
            assert_eq!(file.read().unwrap(), None);
        }
        assert_eq!(fs::read_to_string(folder.path().join("t.bak")).unwrap(), "one\n");
    }

    #[test]
    fn one_writer_at_a_time() {
        let folder = folder();
        let path = folder.path().join("count");
        fs::write(&path, "0").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let _lock = Lock::take(&path, Holder::Command, |_| {}).unwrap();
                        let count: u32 = fs::read_to_string(&path).unwrap().parse().unwrap();
                        fs::write(&path, (count + 1).to_string()).unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_to_string(&path).unwrap(), "160");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no lock is left");
    }

    #[test]
    fn nobody_waits_for_a_chat() {
        let folder = folder();
        let path = folder.path().join("t");
        let held = TokenFile::open(&path, Holder::Chat, Console::plain()).unwrap();
        let error = TokenFile::open(&path, Holder::Command, Console::plain()).unwrap_err();
        assert!(error.to_string().contains("a chat has"), "{error}");
        drop(held);
        TokenFile::open(&path, Holder::Command, Console::plain()).unwrap();
    }
}
