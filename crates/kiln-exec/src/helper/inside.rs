//! From a fork of the helper to the program: everything that happens in the new namespaces.
//!
//! The order matters. Mounts come first, while the host's tree can still be reached; then the root is
//! changed; the filter goes in while `CAP_SYS_ADMIN` is still held; the user is changed last.

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use kiln_sys::mount::{make_private, pivot_into};
use kiln_sys::pty::{make_controlling, open_pty};
use kiln_sys::sandbox::{
    GroupChange, become_powerful_user, become_user, bring_loopback_up, die_with_parent, exec,
    forget_keys, install_filter, reset_signals,
};
use rustix::fs::{FileType, Mode, fchown, fstat};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Uid, chdir, setrlimit, setsid, umask};
use rustix::termios::{Winsize, tcsetwinsize};

use super::{StageError, Step, at, setup};
use crate::wire::{Failure, Report, WireGrade, WireStreams, WireUlimit, errno_of, send_report};
use crate::{DEFAULT_PATH, Stage, Ulimit, capabilities};

impl Step {
    /// Turns this process into the program. Returns only what went wrong.
    pub(super) fn become_program(&self) -> Failure {
        let program = match Program::prepare(&self.wire.argv, &self.wire.env) {
            Ok(program) => program,
            Err(failure) => return failure,
        };
        match self.set_up() {
            Ok(()) => {
                if self.wire.tells_ready {
                    // Nobody's fault if nobody hears it: the program runs all the same.
                    let _ = send_report(self.control.as_fd(), &Report::Ready, None);
                }
                program.exec()
            }
            Err(failure) => failure,
        }
    }

    fn set_up(&self) -> Result<(), Failure> {
        die_with_parent().map_err(at(Stage::Fork)).map_err(setup)?;
        self.prepare_machine().map_err(setup)?;
        // Modes of what is made below are meant as written.
        umask(Mode::empty());
        let files = self.attach_root().map_err(setup)?;
        self.mount_kernel_filesystems().map_err(setup)?;
        self.mount_requested(files.as_ref())?;
        self.hide_kernel_interfaces().map_err(setup)?;
        pivot_into(&self.root)
            .map_err(at(Stage::Pivot))
            .map_err(setup)?;
        umask(Mode::from_raw_mode(0o022));
        enter_directory(&self.wire.cwd)?;
        self.set_up_streams()
            .map_err(at(Stage::Streams))
            .map_err(setup)?;
        self.set_limits()?;
        self.drop_privileges().map_err(setup)
    }

    /// While `CAP_SYS_RESOURCE` is still held.
    fn set_limits(&self) -> Result<(), Failure> {
        for WireUlimit { name, soft, hard } in &self.wire.ulimits {
            let limit = Rlimit {
                current: *soft,
                maximum: *hard,
            };
            let set = match resource(name) {
                Some(resource) => setrlimit(resource, limit),
                None => Err(Errno::INVAL),
            };
            set.map_err(|errno| Failure::Ulimit {
                limit: Ulimit {
                    name: name.clone(),
                    soft: *soft,
                    hard: *hard,
                }
                .to_string(),
                errno: errno.raw_os_error(),
            })?;
        }
        Ok(())
    }

    fn prepare_machine(&self) -> Result<(), StageError> {
        make_private().map_err(at(Stage::Namespaces))?;
        if self.wire.own_network {
            bring_loopback_up().map_err(at(Stage::Network))?;
        }
        rustix::system::sethostname(self.wire.hostname.as_bytes()).map_err(at(Stage::Hostname))
    }

    fn set_up_streams(&self) -> io::Result<()> {
        setsid()?;
        match self.wire.streams {
            WireStreams::Inherited => Ok(()),
            WireStreams::Pipes => self.own_streams(),
            WireStreams::Terminal => {
                let pty = open_pty(Path::new("/dev/pts/ptmx"))?;
                if let Some((columns, rows)) = self.wire.window {
                    let size = Winsize {
                        ws_row: rows,
                        ws_col: columns,
                        ws_xpixel: 0,
                        ws_ypixel: 0,
                    };
                    tcsetwinsize(&pty.controller, size)?;
                }
                make_controlling(&pty.terminal)?;
                rustix::stdio::dup2_stdin(&pty.terminal)?;
                rustix::stdio::dup2_stdout(&pty.terminal)?;
                rustix::stdio::dup2_stderr(&pty.terminal)?;
                let controller = Some(pty.controller.as_fd());
                send_report(self.control.as_fd(), &Report::Terminal, controller)?;
                self.own_streams()
            }
        }
    }

    /// Makes the streams the user's, who could not open `/dev/stdout` otherwise.
    fn own_streams(&self) -> io::Result<()> {
        if self.wire.uid == 0 {
            return Ok(());
        }
        let user = Some(Uid::from_raw(self.wire.uid));
        for stream in [
            rustix::stdio::stdin(),
            rustix::stdio::stdout(),
            rustix::stdio::stderr(),
        ] {
            let stat = fstat(stream)?;
            let ours = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Fifo => true,
                FileType::CharacterDevice => self.wire.streams == WireStreams::Terminal,
                _ => false,
            };
            if ours {
                fchown(stream, user, None)?;
            }
        }
        Ok(())
    }

    fn drop_privileges(&self) -> Result<(), StageError> {
        forget_keys().map_err(at(Stage::Credentials))?;
        if !self.wire.insecure {
            install_filter(&self.filter).map_err(at(Stage::Seccomp))?;
        }
        let change = match self.wire.grade {
            WireGrade::RootlessSingle => GroupChange::Denied,
            WireGrade::Root | WireGrade::RootlessMapped => GroupChange::Allowed,
        };
        let (user, groups) = ((self.wire.uid, self.wire.gid), &self.wire.groups);
        let became = if self.wire.insecure {
            become_powerful_user(user, groups, change)
        } else {
            become_user(user, groups, change, capabilities::DEFAULT.bits())
        };
        became.map_err(at(Stage::Credentials))?;
        // Changing the user took it back.
        die_with_parent().map_err(at(Stage::Credentials))?;
        reset_signals();
        Ok(())
    }
}

/// The kernel's number of one of Docker's names.
fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return None,
    })
}

/// Enters the working directory, made where it is missing as runc does.
fn enter_directory(path: &str) -> Result<(), Failure> {
    let entered = match chdir(path) {
        Err(Errno::NOENT) => make_directories(path).and_then(|()| Ok(chdir(path)?)),
        result => result.map_err(io::Error::from),
    };
    entered.map_err(|cause| Failure::WorkingDirectory {
        path: path.to_owned(),
        errno: errno_of(&cause),
    })
}

fn make_directories(path: &str) -> io::Result<()> {
    // The root is the image's by now: an absolute path can't leave it.
    std::fs::create_dir_all(path)
}

/// A program with its arguments in the form that the kernel takes, and where it may be found.
struct Program {
    name: String,
    candidates: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Program {
    fn prepare(argv: &[String], env: &[String]) -> Result<Self, Failure> {
        let name = argv.first().cloned().unwrap_or_default();
        let not_found = || Failure::NotFound {
            program: name.clone(),
        };
        let strings = |texts: &[String]| {
            let strings = texts.iter().map(|text| CString::new(text.as_str()));
            strings
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| Failure::NotExecutable {
                    program: name.clone(),
                    errno: Errno::INVAL.raw_os_error(),
                })
        };
        let candidates = strings(&candidates(&name, env))?;
        if candidates.is_empty() {
            return Err(not_found());
        }
        Ok(Self {
            candidates,
            arguments: strings(argv)?,
            environment: strings(env)?,
            name,
        })
    }

    /// Tries the candidates in order. One that is there but can't be run is remembered, since a later
    /// one may do, as shells have it.
    fn exec(self) -> Failure {
        let mut failure = Failure::NotFound {
            program: self.name.clone(),
        };
        for candidate in &self.candidates {
            let error = exec(candidate, &self.arguments, &self.environment);
            match Errno::from_io_error(&error) {
                Some(Errno::NOENT | Errno::NOTDIR) => {}
                errno => {
                    failure = Failure::NotExecutable {
                        program: candidate.to_string_lossy().into_owned(),
                        errno: errno.unwrap_or(Errno::IO).raw_os_error(),
                    };
                    if errno != Some(Errno::ACCESS) {
                        return failure;
                    }
                }
            }
        }
        failure
    }
}

/// Where a program may be: itself if its name has a slash, otherwise in each directory of `PATH`.
fn candidates(name: &str, env: &[String]) -> Vec<String> {
    if name.is_empty() {
        return Vec::new();
    }
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    let path = env
        .iter()
        .rev()
        .find_map(|variable| variable.strip_prefix("PATH="))
        .unwrap_or(DEFAULT_PATH);
    path.split(':')
        .map(|dir| if dir.is_empty() { "." } else { dir })
        .map(|dir| format!("{}/{name}", dir.trim_end_matches('/')))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, path: &str, expected: &[&str]) {
        let env = ["PATH=ignored".to_owned(), format!("PATH={path}")];
        assert_eq!(candidates(name, &env), expected);
    }

    #[test]
    fn every_name_of_a_limit_has_a_number() {
        for name in crate::confinement::NAMES {
            assert!(resource(name).is_some(), "{name}");
        }
    }

    #[test]
    fn programs_are_searched_in_the_path() {
        check("sh", "/bin:/usr/bin/", &["/bin/sh", "/usr/bin/sh"]);
        check("./sh", "/bin", &["./sh"]);
        check("sh", "/a::/", &["/a/sh", "./sh", "/sh"]);
        check("", "/bin", &[]);
        assert_eq!(candidates("sh", &[]).len(), 6);
    }
}
