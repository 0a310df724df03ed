//! The command that is run while the app is paused.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, Child, ExitStatus};

use nix::sys::signal::{kill, killpg};
use nix::unistd::{AccessFlags, Pid, access};

use crate::say::printable_os;
use crate::signals::Caught;
use crate::status::{NOT_EXECUTABLE, NOT_FOUND};

/// What a file that begins like no program is called to be one for.
const SHELL: &str = "/bin/sh";
const ENOEXEC: i32 = nix::errno::Errno::ENOEXEC as i32;

/// An exit status, and why.
type Problem = (i32, String);

/// Whether there is such a command, as far as that can be seen before.
pub fn check(name: &OsStr) -> Result<(), Problem> {
    let shown = printable_os(name);
    if name.as_bytes().contains(&b'/') {
        let path = Path::new(name);
        if is_executable(path) {
            return Ok(());
        } else if fs::symlink_metadata(path).is_ok() {
            return Err((NOT_EXECUTABLE, format!("{shown} cannot be executed")));
        }
    } else if !name.is_empty() {
        let path = env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        if env::split_paths(&path).any(|folder| is_executable(&folder.join(name))) {
            return Ok(());
        }
    }
    Err((NOT_FOUND, format!("there is no command {shown}")))
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, AccessFlags::X_OK).is_ok()
}

pub struct Command {
    child: Child,
    /// It has a process group of its own.
    ///
    /// At a terminal it stays in that of this process: it is to read what is typed, and Ctrl-C and Ctrl-Z are for all
    /// that is in front, as without this process.
    leads_group: bool,
}

impl Command {
    pub fn start(name: &OsStr, arguments: impl Iterator<Item = OsString>) -> Result<Self, Problem> {
        let arguments: Vec<_> = arguments.collect();
        let leads_group = !has_terminal();
        let spawn = |program: &OsStr, arguments: &[&[OsString]]| {
            let mut command = process::Command::new(program);
            command.args(arguments.iter().copied().flatten());
            if leads_group {
                command.process_group(0);
            }
            command.spawn()
        };
        let child = spawn(name, &[&arguments]).or_else(|error| match error.raw_os_error() {
            Some(ENOEXEC) => spawn(OsStr::new(SHELL), &[&[name.to_owned()], &arguments]),
            _ => Err(error),
        });
        match child {
            Ok(child) => Ok(Self { child, leads_group }),
            Err(error) => {
                let is_missing = error.kind() == io::ErrorKind::NotFound;
                let status = if is_missing { NOT_FOUND } else { NOT_EXECUTABLE };
                Err((status, format!("{} cannot be executed: {error}", printable_os(name))))
            }
        }
    }

    /// Its exit status, once it has ended.
    pub fn status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Passes a signal on, if it has not reached the command already.
    pub fn pass_on(&self, caught: Caught) {
        let Ok(id) = i32::try_from(self.child.id()) else { return };
        // It may have ended just now.
        let _ = if self.leads_group {
            killpg(Pid::from_raw(id), caught.signal)
        } else if caught.is_typed {
            Ok(())
        } else {
            kill(Pid::from_raw(id), caught.signal)
        };
    }
}

fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_looked_for_before_anything_is_paused() {
        assert_eq!(check(OsStr::new("sh")), Ok(()));
        assert_eq!(check(OsStr::new("/bin/sh")), Ok(()));
        let status = |name: &str| check(OsStr::new(name)).map_err(|(status, _)| status);
        assert_eq!(status("no-such-command"), Err(NOT_FOUND));
        assert_eq!(status("/no/such/command"), Err(NOT_FOUND));
        assert_eq!(status(""), Err(NOT_FOUND));
        assert_eq!(status("/"), Err(NOT_EXECUTABLE));
        assert_eq!(status("/etc/passwd"), Err(NOT_EXECUTABLE));
    }
}
