//! Files that must not lose data: token files and keys files.
//!
//! A file is replaced completely or not at all. The new content goes to a temporary file in the
//! same folder, is flushed to the disk, and is renamed over the old file. After a full disk or a
//! kill, either the old or the new file is there. One process writes at a time. Files that this
//! module creates have mode 0600.
//!
//! Token files and lock files may be in folders that others can write to, such as `/tmp`. They are
//! opened without following a symbolic link, and must belong to this user: otherwise another user
//! could let a command overwrite a file elsewhere, or continue a conversation that is not ours.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{fs::OFlags, io::Errno, process::geteuid};
use tempfile::NamedTempFile;

use super::{
    console::Console,
    error::{CliError, system_message},
};

/// Replaces the content of `path`, or creates the file. A symbolic link stays, and its target is
/// replaced.
///
/// # Errors
/// [`CliError`] if the file cannot be written. The old file is then unchanged.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    replace_entry(&target, bytes).map_err(|error| CliError::file("write", path, &error))
}

/// Replaces the entry of a folder, also if it is a symbolic link.
fn replace_entry(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_temporary(path, bytes)?.persist(path)?;
    sync_folder(path)
}

/// Opens a file that must be this user's own, and no symbolic link; `None` if it does not exist.
///
/// # Errors
/// [`CliError`] if it cannot be opened, is not a regular file, belongs to another user, or if every
/// user can write to it.
fn open_own(action: &str, path: &Path, options: &mut OpenOptions) -> Result<Option<File>, CliError> {
    let refused = |fault: &str| Err(CliError::new(format!("`{}` {fault}", path.display())));
    // Without NONBLOCK, the open of a FIFO would wait for its other end.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = match options.custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => {
            return refused("is a symbolic link; name the file that it leads to");
        }
        // A socket, or a FIFO without a reader.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NXIO) => return refused("is not a regular file"),
        Err(error) => return Err(CliError::file(action, path, &error)),
    };
    let found = file.metadata().map_err(|error| CliError::file(action, path, &error))?;
    match (found.is_file(), found.uid() == geteuid().as_raw(), found.mode() & OTHERS_WRITE) {
        (false, ..) => refused("is not a regular file"),
        (_, false, _) => refused("belongs to another user, who may have placed it there; use a file of your own"),
        (_, _, 0) => Ok(Some(file)),
        _ => refused("can be written by every user; run `chmod 600` on it if its content is yours"),
    }
}

/// The mode bit for writing by all other users.
const OTHERS_WRITE: u32 = 0o002;

/// Creates a file. Returns `false` if `path` already exists; the existing file is then unchanged.
///
/// # Errors
/// [`CliError`] if the file cannot be written.
pub(super) fn create(path: &Path, bytes: &[u8]) -> Result<bool, CliError> {
    let cannot_write = |error: &io::Error| CliError::file("write", path, error);
    let file = write_temporary(path, bytes).map_err(|error| cannot_write(&error))?;
    match file.persist_noclobber(path) {
        Ok(_) => sync_folder(path).map(|()| true).map_err(|error| cannot_write(&error)),
        Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(failed) => Err(cannot_write(&failed.error)),
    }
}

/// The text of a file; `None` if it does not exist.
///
/// # Errors
/// [`CliError`] if the file cannot be read or is not UTF-8.
pub(super) fn read(path: &Path) -> Result<Option<String>, CliError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CliError::file("read", path, &error)),
    }
}

/// The text of an input file; `-` is standard input.
///
/// # Errors
/// [`CliError`] if the file does not exist, cannot be read or is not UTF-8.
pub(super) fn read_input(path: &Path) -> Result<String, CliError> {
    if is_standard_input(path) {
        return read_standard_input();
    }
    read(path)?.ok_or_else(|| CliError::new(format!("the file `{}` does not exist", path.display())))
}

/// Returns true if `path` is `-`.
pub(super) fn is_standard_input(path: &Path) -> bool {
    path == Path::new("-")
}

/// All text of standard input.
///
/// # Errors
/// [`CliError`] if it cannot be read or is not UTF-8.
pub(super) fn read_standard_input() -> Result<String, CliError> {
    let mut text = String::new();
    match io::stdin().read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => Err(CliError::new(format!("cannot read standard input: {}", system_message(&error)))),
    }
}

/// A path or a text as one word of a shell command, quoted if necessary.
pub(super) fn shell_word(word: impl AsRef<OsStr>) -> String {
    let text = word.as_ref().to_string_lossy();
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "._-/+=:,@%".contains(character);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// `path` with `suffix` appended to its file name.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Writes a temporary file in the folder of `target` and flushes it to the disk.
fn write_temporary(target: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    // `tempfile` creates files with mode 0600, and deletes them when they are dropped.
    let mut file = NamedTempFile::with_prefix_in(".holdall-", folder(target))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Flushes the folder of `target`: a rename is on the disk only after that.
fn sync_folder(target: &Path) -> io::Result<()> {
    File::open(folder(target))?.sync_all()
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// The right to write one file. It holds a lock on the file `TARGET.lock` next to the target.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    _locked: File,
}

impl Lock {
    /// Waits for the lock on `target`, and calls `report` with a message if it has to wait. It does
    /// not wait for a chat, which can stay open all day.
    ///
    /// # Errors
    /// [`CliError`] if a chat has the file open, or if the lock file cannot be created.
    pub(super) fn acquire(target: &Path, holder: LockHolder, mut report: impl FnMut(&str)) -> Result<Self, CliError> {
        // Two names of the same file share one lock.
        let path = with_suffix(&fs::canonicalize(target).unwrap_or_else(|_| target.to_owned()), ".lock");
        let mut reported = false;
        loop {
            let mut file = open_lock_file(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    refuse_if_chat(target, &mut file)?;
                    if !std::mem::replace(&mut reported, true) {
                        report(&format!("waiting: another holdall process is using `{}`", target.display()));
                    }
                    file.lock().map_err(|error| CliError::file("lock", &path, &error))?;
                }
                Err(TryLockError::Error(error)) => return Err(CliError::file("lock", &path, &error)),
            }
            // The previous holder removes the lock file before it unlocks. Then other processes
            // create a new one, and this lock is worthless: try again.
            if is_file_at(&path, &file) {
                // Only for messages to people and for `refuse_if_chat`. On a full disk the file
                // stays empty.
                let _ = file.set_len(0);
                let _ = write!(file, "{}, process {}", holder.name(), std::process::id());
                return Ok(Self { path, _locked: file });
            }
        }
    }
}

fn open_lock_file(path: &Path) -> Result<File, CliError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let missing = || io::Error::from(Errno::NOENT);
    let file = open_own("create the lock file", path, &mut options)
        .and_then(|file| file.ok_or_else(|| CliError::file("create the lock file", path, &missing())));
    file.map_err(|error| error.with_hint("check that the folder exists and is writable"))
}

/// Fails if the holder that `lock_file` names is a chat.
fn refuse_if_chat(target: &Path, lock_file: &mut File) -> Result<(), CliError> {
    let mut holder = String::new();
    let _ = lock_file.read_to_string(&mut holder);
    if !holder.starts_with(LockHolder::Chat.name()) {
        return Ok(());
    }
    let process = holder.trim_start_matches("chat, ");
    Err(CliError::new(format!("`{}` is open in a chat ({process})", target.display()))
        .with_hint("leave that chat first, or use another file"))
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The file is still locked, so it cannot be the lock file of another process.
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns true if `path` is a name of this open file.
fn is_file_at(path: &Path, file: &File) -> bool {
    match (fs::symlink_metadata(path), file.metadata()) {
        (Ok(found), Ok(held)) => (found.dev(), found.ino()) == (held.dev(), held.ino()),
        _ => false,
    }
}

/// The kind of process that holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockHolder {
    /// A chat: it holds the lock until it ends.
    Chat,
    /// Another command: it holds the lock for one change.
    Command,
}

impl LockHolder {
    fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Command => "command",
        }
    }
}

/// A locked file with one token.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    _lock: Lock,
}

impl TokenFile {
    /// Locks `path`. The file need not exist.
    ///
    /// # Errors
    /// The errors of [`Lock::acquire`] and [`open_own`].
    pub(super) fn open(path: &Path, holder: LockHolder, console: Console) -> Result<Self, CliError> {
        open_own("read", path, OpenOptions::new().read(true))?;
        let lock = Lock::acquire(path, holder, |line| console.note(line))?;
        Ok(Self { _lock: lock, path: path.to_owned() })
    }

    /// The path of the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The token; `None` if the file does not exist or is empty.
    ///
    /// # Errors
    /// [`CliError`] if the file cannot be read.
    pub(super) fn read(&self) -> Result<Option<String>, CliError> {
        let Some(mut file) = open_own("read", &self.path, OpenOptions::new().read(true))? else { return Ok(None) };
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|error| CliError::file("read", &self.path, &error))?;
        Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
    }

    /// Replaces the token.
    ///
    /// # Errors
    /// [`CliError`] if the file cannot be written. The old token is then still in the file.
    pub(super) fn write(&self, token: &str) -> Result<(), CliError> {
        // The lock does not bind another user, who could have placed a link meanwhile.
        let replaced = replace_entry(&self.path, token_line(token).as_bytes());
        replaced.map_err(|error| CliError::file("write", &self.path, &error))
    }

    /// Deletes the file, if it exists.
    ///
    /// # Errors
    /// [`CliError`] if it cannot be deleted.
    pub(super) fn remove(&self) -> Result<(), CliError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CliError::file("delete", &self.path, &error)),
            _ => Ok(()),
        }
    }

    /// Moves the token to a new file `FILE.bak`, `FILE.bak2` and so on. Returns its path, or `None`
    /// if the file contains no token.
    ///
    /// # Errors
    /// [`CliError`] if a file cannot be written or deleted.
    pub(super) fn back_up(&self) -> Result<Option<PathBuf>, CliError> {
        let Some(token) = self.read()? else { return Ok(None) };
        for number in 1_u32.. {
            let suffix = if number == 1 { ".bak".to_owned() } else { format!(".bak{number}") };
            let backup = with_suffix(&self.path, &suffix);
            if create(&backup, token_line(&token).as_bytes())? {
                self.remove()?;
                return Ok(Some(backup));
            }
        }
        Err(CliError::new(format!("all backup names of `{}` are in use", self.path.display())))
    }
}

/// Creates a token file. An existing file is an error.
///
/// # Errors
/// [`CliError`] if `path` exists or cannot be written.
pub(super) fn create_token_file(path: &Path, token: &str) -> Result<(), CliError> {
    if create(path, token_line(token).as_bytes())? {
        return Ok(());
    }
    Err(CliError::new(format!("`{}` already exists", path.display())).with_hint("choose another name"))
}

/// The content of a token file.
fn token_line(token: &str) -> String {
    format!("{token}\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_replaced_file_has_mode_0600_and_leaves_no_other_file() {
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
    fn replace_keeps_a_symbolic_link() {
        let folder = folder();
        let (link, target) = (folder.path().join("link"), folder.path().join("target"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
    }

    #[test]
    fn a_token_file_is_not_a_link_and_not_of_others() {
        let folder = folder();
        let path = |name: &str| folder.path().join(name);
        let fault = |name: &str| {
            let error = TokenFile::open(&path(name), LockHolder::Command, Console::plain()).unwrap_err().to_string();
            error.replace(folder.path().to_str().unwrap(), "")
        };
        fs::write(path("victim"), "old").unwrap();
        std::os::unix::fs::symlink(path("victim"), path("link")).unwrap();
        std::os::unix::fs::symlink(path("none"), path("dangling")).unwrap();
        for name in ["link", "dangling"] {
            assert_eq!(fault(name), format!("`/{name}` is a symbolic link; name the file that it leads to"));
        }
        fs::create_dir(path("folder")).unwrap();
        assert_eq!(fault("folder"), "`/folder` is not a regular file");
        rustix::fs::mknodat(rustix::fs::CWD, path("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(fault("fifo"), "`/fifo` is not a regular file");
        fs::set_permissions(path("victim"), fs::Permissions::from_mode(0o602)).unwrap();
        assert!(fault("victim").starts_with("`/victim` can be written by every user"));
        // Only root can give a file away.
        if geteuid().is_root() {
            fs::set_permissions(path("victim"), fs::Permissions::from_mode(0o600)).unwrap();
            std::os::unix::fs::chown(path("victim"), Some(12_345), None).unwrap();
            assert!(fault("victim").starts_with("`/victim` belongs to another user"));
        }
        assert_eq!(fs::read_to_string(path("victim")).unwrap(), "old");
    }

    #[test]
    fn a_lock_file_is_not_a_link() {
        let folder = folder();
        let (target, victim) = (folder.path().join("t"), folder.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, with_suffix(&target, ".lock")).unwrap();
        let error = Lock::acquire(&target, LockHolder::Command, |_| {}).unwrap_err().to_string();
        assert!(error.ends_with("t.lock` is a symbolic link; name the file that it leads to"), "{error}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }

    #[test]
    fn a_link_that_appears_later_is_replaced_and_not_followed() {
        let folder = folder();
        let (path, victim) = (folder.path().join("t"), folder.path().join("victim"));
        fs::write(&victim, "old").unwrap();
        let file = TokenFile::open(&path, LockHolder::Command, Console::plain()).unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        assert!(file.read().unwrap_err().to_string().contains("is a symbolic link"));
        file.write("new").unwrap();
        assert_eq!(
            (fs::read_to_string(&victim).unwrap().as_str(), file.read().unwrap().as_deref()),
            ("old", Some("new"))
        );
    }

    #[test]
    fn create_keeps_an_existing_file() {
        let folder = folder();
        let path = folder.path().join("a");
        assert!(create(&path, b"first").unwrap());
        assert!(!create(&path, b"second").unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
    }

    #[test]
    fn a_backup_never_replaces_a_file() {
        let folder = folder();
        let file = TokenFile::open(&folder.path().join("t"), LockHolder::Command, Console::plain()).unwrap();
        assert_eq!(file.back_up().unwrap(), None);
        for (token, backup) in [("one", "t.bak"), ("two", "t.bak2"), ("three", "t.bak3")] {
            file.write(token).unwrap();
            assert_eq!(file.back_up().unwrap().unwrap(), folder.path().join(backup));
            assert_eq!(file.read().unwrap(), None);
        }
        assert_eq!(fs::read_to_string(folder.path().join("t.bak")).unwrap(), "one\n");
    }

    #[test]
    fn one_process_writes_at_a_time() {
        let folder = folder();
        let path = folder.path().join("count");
        fs::write(&path, "0").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let _lock = Lock::acquire(&path, LockHolder::Command, |_| {}).unwrap();
                        let count: u32 = fs::read_to_string(&path).unwrap().parse().unwrap();
                        fs::write(&path, (count + 1).to_string()).unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_to_string(&path).unwrap(), "160");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no lock file is left");
    }

    #[test]
    fn a_path_in_a_hint_can_be_pasted() {
        for (path, word) in [("a/b.token", "a/b.token"), ("my chat", "'my chat'"), ("it's", r"'it'\''s'"), ("", "''")] {
            assert_eq!(shell_word(path), word);
        }
    }

    #[test]
    fn a_command_does_not_wait_for_a_chat() {
        let folder = folder();
        let path = folder.path().join("t");
        let held = TokenFile::open(&path, LockHolder::Chat, Console::plain()).unwrap();
        let error = TokenFile::open(&path, LockHolder::Command, Console::plain()).unwrap_err();
        assert!(error.to_string().contains("is open in a chat (process "), "{error}");
        drop(held);
        TokenFile::open(&path, LockHolder::Command, Console::plain()).unwrap();
    }
}
