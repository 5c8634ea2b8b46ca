//! Running programs of other machines through qemu's user mode emulation, without privileged set-up.
//!
//! Since Linux 6.7 a user namespace can have a `binfmt_misc` of its own: handlers that are registered
//! in it hold for the programs in it and for nobody else. The handler's interpreter is opened when it
//! is registered (flag `F`), so that it works in any root.
//!
//! Formats: the kernel's `Documentation/admin-guide/binfmt-misc.rst`; ELF(5) for what programs start
//! with.
//!
//! JUSTIFICATION for `unsafe`: the set-up has to happen between fork and exec of the command, where
//! only the kernel may be called.

use std::ffi::CString;
use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::idmap::IdMap;
use crate::mount::{Attributes, Filesystem, mount_filesystem};

/// One handler for a foreign program format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handler {
    /// Its name in the `binfmt_misc` directory, for example `qemu-aarch64`.
    pub name: String,
    /// Bytes that a program of the format starts with.
    pub magic: Vec<u8>,
    /// Which bits of `magic` count.
    pub mask: Vec<u8>,
    /// The static program that runs it; a host path without a colon.
    pub interpreter: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    Bits32,
    Bits64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ByteOrder {
    Little,
    Big,
}

/// OCI's name, qemu's name, and what ELF headers of the machine say.
const MACHINES: [(&str, &str, Width, ByteOrder, u16); 9] = [
    ("386", "i386", Width::Bits32, ByteOrder::Little, 3),
    ("amd64", "x86_64", Width::Bits64, ByteOrder::Little, 62),
    ("arm", "arm", Width::Bits32, ByteOrder::Little, 40),
    ("arm64", "aarch64", Width::Bits64, ByteOrder::Little, 183),
    (
        "loong64",
        "loongarch64",
        Width::Bits64,
        ByteOrder::Little,
        258,
    ),
    ("mips64le", "mips64el", Width::Bits64, ByteOrder::Little, 8),
    ("ppc64le", "ppc64le", Width::Bits64, ByteOrder::Little, 21),
    ("riscv64", "riscv64", Width::Bits64, ByteOrder::Little, 243),
    ("s390x", "s390x", Width::Bits64, ByteOrder::Big, 22),
];

/// The handler for the OCI architecture `architecture` (`arm64`, `arm`, …) with the interpreter where
/// Debian's `qemu-user-static` puts it. `None` for an architecture that is not in the table.
pub fn qemu_handler(architecture: &str) -> Option<Handler> {
    let machine = MACHINES.iter().find(|machine| machine.0 == architecture)?;
    let (_, name, width, order, number) = *machine;
    let class = match width {
        Width::Bits32 => 1,
        Width::Bits64 => 2,
    };
    let (data, number) = match order {
        ByteOrder::Little => (1, number.to_le_bytes()),
        ByteOrder::Big => (2, number.to_be_bytes()),
    };
    // Executable is type 2; position-independent ones are type 3, hence the bit left out below.
    let (kind, kind_mask) = match order {
        ByteOrder::Little => ([2, 0], [0xfe, 0xff]),
        ByteOrder::Big => ([0, 2], [0xff, 0xfe]),
    };
    let mut magic = vec![0x7f, b'E', b'L', b'F', class, data, 1, 0];
    magic.extend([0; 8]);
    magic.extend(kind);
    magic.extend(number);
    let mut mask = vec![0xff; 16];
    // Which system's interface the program was made for does not matter.
    mask[7] = 0;
    mask.extend(kind_mask);
    mask.extend([0xff, 0xff]);
    Some(Handler {
        name: format!("qemu-{name}"),
        magic,
        mask,
        interpreter: format!("/usr/bin/qemu-{name}-static").into(),
    })
}

/// Where emulators are found, in this order. Only a static one works in any root.
const FOLDERS: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/usr/libexec/qemu-binfmt"];

impl Handler {
    /// The same with the emulator that this machine has: `qemu-…-static`, or a static `qemu-…`. Where
    /// there is none, the interpreter stays what it was.
    #[must_use]
    pub fn found(self) -> Self {
        let names = [format!("{}-static", self.name), self.name.clone()];
        let found = FOLDERS
            .iter()
            .flat_map(|folder| names.iter().map(|name| Path::new(folder).join(name)))
            .find(|path| is_static(path));
        match found {
            Some(interpreter) => Self {
                interpreter,
                ..self
            },
            None => self,
        }
    }

    /// Registers the handler for the programs of this user namespace, in which this process is root.
    /// It holds until the returned mount is closed.
    pub fn register_private(&self) -> io::Result<OwnedFd> {
        let line = self.registration()?;
        let mount = mount_filesystem(Filesystem::BinfmtMisc, Attributes::empty())?;
        let register = openat(
            &mount,
            "register",
            OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        rustix::io::write(&register, line.as_bytes())?;
        Ok(mount)
    }

    /// Whether a handler with this magic and mask would take the programs that this one is for.
    fn is_served_by(&self, magic: &[u8], mask: &[u8]) -> bool {
        magic.len() <= self.magic.len()
            && magic
                .iter()
                .zip(&self.magic)
                .enumerate()
                .all(|(index, (theirs, ours))| {
                    let mask = mask.get(index).copied().unwrap_or(0xff);
                    theirs & mask == ours & mask
                })
    }
    /// The line for the `register` file: opened at registration (`F`), with the rights that the program
    /// itself would have (`OC`), and with the name that it was started by (`P`), which busybox and other
    /// programs of many names need; qemu notices that since version 6.
    fn registration(&self) -> io::Result<String> {
        let interpreter = self.interpreter.to_str();
        let interpreter = interpreter.filter(|path| !path.contains([':', '\n']));
        let interpreter = interpreter.ok_or(io::ErrorKind::InvalidInput)?;
        let escaped = |bytes: &[u8]| {
            bytes.iter().fold(String::new(), |mut text, byte| {
                // Writing to a string can't fail.
                let _ = write!(text, "\\x{byte:02x}");
                text
            })
        };
        let (magic, mask) = (escaped(&self.magic), escaped(&self.mask));
        Ok(format!(
            ":{}:M::{magic}:{mask}:{interpreter}:POCF",
            self.name
        ))
    }
}

/// Whether an ELF program needs no loader; `false` for what is no such program.
fn is_static(path: &Path) -> bool {
    const PT_INTERP: u32 = 3;
    let Ok(file) = crate::files::open(path) else {
        return false;
    };
    let mut head = Vec::new();
    if std::io::Read::read_to_end(&mut std::io::Read::take(file, 4096), &mut head).is_err() {
        return false;
    }
    // The host's own architecture, so 64 bits little-endian wherever kiln is built for.
    let half = |at: usize| Some(u16::from_le_bytes(*head.get(at..)?.first_chunk()?));
    let word = |at: usize| Some(u32::from_le_bytes(*head.get(at..)?.first_chunk()?));
    let long = |at: usize| Some(u64::from_le_bytes(*head.get(at..)?.first_chunk()?));
    let Some((start, size, count)) = long(32)
        .and_then(|start| usize::try_from(start).ok())
        .zip(half(54))
        .zip(half(56))
        .map(|((start, size), count)| (start, usize::from(size), usize::from(count)))
    else {
        return false;
    };
    let is_elf = head.starts_with(b"\x7fELF\x02\x01");
    is_elf
        && (0..count).all(|index| word(start + index * size).is_some_and(|kind| kind != PT_INTERP))
}

/// The host's handler for the programs of an OCI architecture: enabled, and with its interpreter open
/// (flag `F`), so that it works in any root.
pub fn host_handler(architecture: &str) -> Option<String> {
    let wanted = qemu_handler(architecture)?;
    let names = crate::files::names(DIRECTORY).ok()?;
    names.iter().find_map(|name| {
        let text = crate::files::read_to_string(Path::new(DIRECTORY).join(name)).ok()?;
        serves(&wanted, &text).then(|| name.display().to_string())
    })
}

/// Whether the text of a handler's file says that it does.
fn serves(wanted: &Handler, text: &str) -> bool {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let bytes = |name: &str| {
        let digits = field(name)?.trim();
        let pairs = digits.as_bytes().chunks(2);
        pairs
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect::<Option<Vec<u8>>>()
    };
    let is_enabled = text.lines().next() == Some("enabled");
    let is_open = field("flags:").is_some_and(|flags| flags.contains('F'));
    let is_at_start = field("offset ").is_some_and(|offset| offset.trim() == "0");
    let mask = bytes("mask ").unwrap_or_default();
    let matches = bytes("magic ").is_some_and(|magic| wanted.is_served_by(&magic, &mask));
    is_enabled && is_open && is_at_start && matches
}

const DIRECTORY: &str = "/proc/sys/fs/binfmt_misc";

/// Starts `command` inside a new user and mount namespace with the same ids, which has a
/// `binfmt_misc` of its own with `handlers` registered in it.
///
/// Works as root and in the rootless grades. Device nodes can't be made inside, as in any user
/// namespace.
pub fn spawn_private(mut command: Command, handlers: &[Handler]) -> io::Result<Child> {
    let lines = handlers.iter().map(Handler::registration);
    let lines = lines.collect::<io::Result<Vec<_>>>()?;
    let users = IdMap::current_users()?.identity().to_text();
    let groups = IdMap::current_groups()?.identity().to_text();
    let (from_child, to_parent) = pipe_with(PipeFlags::CLOEXEC)?;
    let (from_parent, to_child) = pipe_with(PipeFlags::CLOEXEC)?;
    let inside = Inside {
        to_parent,
        from_parent,
        parents_end: to_child.try_clone()?,
        mount_point: CString::new(DIRECTORY)?,
        register: CString::new(format!("{DIRECTORY}/register"))?,
        lines,
    };
    // SAFETY: the closure calls the kernel and nothing else: all that it needs was made before the
    // fork, and it neither allocates nor takes a lock.
    unsafe { command.pre_exec(move || inside.set_up()) };
    // Starting returns only when the program runs, so somebody else has to write the maps meanwhile.
    let writer = std::thread::spawn(move || write_maps(&from_child, &to_child, &users, &groups));
    let child = command.spawn();
    // Holds our copy of the child's ends: without them a mapper that still waits sees the end.
    drop(command);
    let mapped = writer.join().unwrap_or_else(|_| Err(Errno::IO.into()));
    match (child, mapped) {
        (child, Ok(())) => child,
        (Err(_), Err(error)) => Err(error),
        (Ok(mut child), Err(error)) => {
            // The program runs without what it was promised; it has to go.
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

/// Waits for the child to be in its namespace, and maps its ids from outside.
///
/// The descriptors are closed when the caller's closure ends, which tells the child if this failed.
fn write_maps(
    from_child: &OwnedFd,
    to_child: &OwnedFd,
    users: &str,
    groups: &str,
) -> io::Result<()> {
    let mut pid = [0_u8; 4];
    let count = rustix::io::retry_on_intr(|| rustix::io::read(from_child, &mut pid[..]))?;
    if count < pid.len() {
        // The child did not get that far; `spawn` says why.
        return Ok(());
    }
    let process = PathBuf::from(format!("/proc/{}", i32::from_ne_bytes(pid)));
    let write = |file: &Path, text: &str| std::fs::write(process.join(file), text);
    write(Path::new("uid_map"), users)?;
    write(Path::new("gid_map"), groups)?;
    rustix::io::write(to_child, b".")?;
    Ok(())
}

/// What the child needs between fork and exec.
struct Inside {
    to_parent: OwnedFd,
    from_parent: OwnedFd,
    /// The child's copy of the parent's end, which would keep it from seeing the parent give up.
    parents_end: OwnedFd,
    mount_point: CString,
    register: CString,
    lines: Vec<String>,
}

impl Inside {
    /// Runs in the child: system calls only.
    fn set_up(&self) -> io::Result<()> {
        // SAFETY: this process is a fork that has one thread.
        unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }?;
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        rustix::io::write(&self.to_parent, &pid.to_ne_bytes())?;
        self.wait_for_maps()?;
        let flags = MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM;
        mount_change(c"/", flags)?;
        let mount_point = self.mount_point.as_c_str();
        let name = c"binfmt_misc";
        mount(name, mount_point, name, MountFlags::empty(), None)?;
        for line in &self.lines {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            let register = openat(CWD, self.register.as_c_str(), flags, Mode::empty())?;
            rustix::io::write(&register, line.as_bytes())?;
        }
        Ok(())
    }

    fn wait_for_maps(&self) -> io::Result<()> {
        // Only the number is closed, and only in this process; the exec closes the rest.
        crate::raw::close_in_child(self.parents_end.as_fd());
        let mut byte = [0_u8; 1];
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.from_parent, &mut byte[..]))? {
            0 => Err(Errno::PERM.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// The fields of the registration, one a line.
    #[track_caller]
    fn check(architecture: &str, expected: &Expect) {
        let handler = qemu_handler(architecture);
        let text = handler.map_or("none".to_owned(), |one| one.registration().unwrap());
        expected.assert_eq(&text.replace("\\x", " ").replace(':', "\n"));
    }

    #[test]
    fn handlers_are_those_that_debian_registers() {
        check(
            "arm64",
            &expect![[r"

            qemu-aarch64
            M

             7f 45 4c 46 02 01 01 00 00 00 00 00 00 00 00 00 02 00 b7 00
             ff ff ff ff ff ff ff 00 ff ff ff ff ff ff ff ff fe ff ff ff
            /usr/bin/qemu-aarch64-static
            POCF"]],
        );
        check(
            "s390x",
            &expect![[r"

            qemu-s390x
            M

             7f 45 4c 46 02 02 01 00 00 00 00 00 00 00 00 00 00 02 00 16
             ff ff ff ff ff ff ff 00 ff ff ff ff ff ff ff ff ff fe ff ff
            /usr/bin/qemu-s390x-static
            POCF"]],
        );
        check(
            "arm",
            &expect![[r"

            qemu-arm
            M

             7f 45 4c 46 01 01 01 00 00 00 00 00 00 00 00 00 02 00 28 00
             ff ff ff ff ff ff ff 00 ff ff ff ff ff ff ff ff fe ff ff ff
            /usr/bin/qemu-arm-static
            POCF"]],
        );
        check("vax", &expect![["none"]]);
    }

    #[test]
    fn handlers_of_the_host_are_recognised() {
        let text = "enabled\ninterpreter /usr/libexec/qemu\nflags: POCF\noffset 0\n\
            magic 7f454c460201010000000000000000000200b700\n\
            mask ffffffffffffff00fffffffffffffffffeffffff\n";
        let [arm64, arm] = ["arm64", "arm"].map(|name| qemu_handler(name).unwrap());
        assert!(serves(&arm64, text));
        assert!(!serves(&arm, text));
        assert!(!serves(&arm64, &text.replace("enabled", "disabled")));
        assert!(!serves(&arm64, &text.replace("POCF", "POC")));
        assert!(!serves(&arm64, "rubbish"));
    }

    #[test]
    fn an_interpreter_that_breaks_the_line_is_refused() {
        let mut handler = qemu_handler("arm64").unwrap();
        handler.interpreter = "/usr/bin/qemu:x".into();
        assert!(handler.registration().is_err());
    }
}
