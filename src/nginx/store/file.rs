//! The state file and what stands beside it: how they are opened, locked and replaced.
//!
//! Whoever may write to their folder can put anything in their places, and whoever may open a file
//! can keep its lock. So the lock is a file that only the workers' user can open, and what is no
//! regular file is neither waited for, as a FIFO would have it, nor followed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::agreement::Medium;
use crate::control::args::shown;
use crate::state_file::{MAX_BYTES, Saved};

/// How long it is from one try to get the lock to the next.
const STEP: Duration = Duration::from_millis(1);

/// The rights of users other than the owner.
const OTHERS: u32 = 0o077;

/// Where the state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// The path is absolute.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// What the file says; `None` if it is not there.
    pub fn read(&self) -> Result<Option<Saved>, String> {
        match self.bytes() {
            Ok(bytes) => Saved::parse(&bytes).map(Some).map_err(|damage| damage.to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("cannot be read ({error})")),
        }
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        let file = open(&self.path, File::options().read(true))?;
        let mut bytes = Vec::new();
        // One more than it may have, so that a larger one is not taken for a good one.
        file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The lock, once no other process has it. It is given back when the file is closed, which stays
    /// for the next.
    pub fn lock(&self, patience: Duration) -> io::Result<File> {
        let mut steps = 0..patience.as_millis();
        loop {
            // Opened anew each time, as the file may have been removed.
            if let Some(lock) = self.try_lock()? {
                return Ok(lock);
            }
            let busy = || io::Error::new(io::ErrorKind::TimedOut, "another process has its lock");
            steps.next().ok_or_else(busy)?;
            thread::sleep(STEP);
        }
    }

    pub fn try_lock(&self) -> io::Result<Option<File>> {
        let path = self.beside("lock");
        let lock = open_own(&path).map_err(|error| {
            let advice = match error.raw_os_error() {
                None | Some(libc::EACCES) => ": remove it, or repair the rights of its folder",
                Some(_) => "",
            };
            let what = format!("its lock {} cannot be used ({error}){advice}", quoted(&path));
            io::Error::new(error.kind(), what)
        })?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(lock)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Medium for StateFile {
    fn prepare(&self, saved: &Saved) -> io::Result<()> {
        let path = self.beside("new");
        let mut file = create(&path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", quoted(&path))))?;
        file.write_all(saved.format().as_bytes())?;
        file.sync_all()
    }

    fn replace(&self) -> io::Result<()> {
        fs::rename(self.beside("new"), &self.path)
    }

    fn sync(&self) -> io::Result<()> {
        let mut options = File::options();
        let folder = options.read(true).custom_flags(libc::O_DIRECTORY).open(self.directory())?;
        folder.sync_all()
    }
}

impl StateFile {
    /// Gives a file that is of no use another name.
    pub fn put_aside(&self) -> io::Result<()> {
        fs::rename(&self.path, self.bad())
    }

    /// The name that [`Self::put_aside`] gives.
    pub fn bad(&self) -> PathBuf {
        self.beside("bad")
    }

    pub fn name(&self) -> &[u8] {
        self.path.file_name().unwrap_or_default().as_bytes()
    }

    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    pub fn shown(&self) -> String {
        quoted(&self.path)
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".");
        name.push(suffix);
        name.into()
    }
}

/// Opens a file, and nothing else: links are not followed, and whatever would have to be waited for is
/// an error.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let not_regular = || io::Error::other("it is no regular file");
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file =
        options.custom_flags(flags).open(path).map_err(|error| match error.raw_os_error() {
            // A link, a socket, a directory.
            Some(libc::ELOOP | libc::ENXIO | libc::EISDIR) => not_regular(),
            _ => error,
        })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular()) }
}

/// Opens, or makes, a file that no other user can open.
fn open_own(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    let file = open(path, options.read(true).write(true).create(true).truncate(false).mode(0o600))?;
    let metadata = file.metadata()?;
    if metadata.uid() == geteuid().as_raw() && metadata.mode() & OTHERS == 0 {
        Ok(file)
    } else {
        Err(io::Error::other("others can open it"))
    }
}

/// Makes a file in the place of whatever is there.
fn create(path: &Path) -> io::Result<File> {
    let make = || File::options().write(true).create_new(true).mode(0o644).open(path);
    match make() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            make()
        }
        made => made,
    }
}

/// A path as it is shown in the log.
pub fn quoted(path: &Path) -> String {
    format!("\"{}\"", shown(path.as_os_str().as_bytes()))
}
