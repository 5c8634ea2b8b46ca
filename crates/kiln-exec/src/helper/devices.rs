//! The devices that an insecure step has besides those of every container: for building containers,
//! file systems and virtual machines.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use kiln_sys::mount::{Recursion, attach, bind, create_in_root};
use rustix::fs::{FileType, Mode, makedev, mkdirat, mknodat};
use rustix::io::Errno;

/// Path below `/dev`, major and minor number of the character devices that BuildKit adds.
const DEVICES: [(&str, u32, u32); 6] = [
    ("kmsg", 1, 11),
    ("cuse", 10, 203),
    ("fuse", 10, 229),
    ("kvm", 10, 232),
    ("net/tun", 10, 200),
    ("loop-control", 10, 237),
];

/// The major number of loop devices.
const LOOP: u32 = 7;

/// How many unused loop devices there are at least.
const SPARE_LOOPS: u32 = 8;

/// Makes the nodes as root; in other grades binds those of the host's that are there, which the kernel
/// may still refuse to open.
pub(super) fn make_more(dev: &OwnedFd, is_root: bool) -> io::Result<()> {
    mkdirat(dev, "net", Mode::from_raw_mode(0o755))?;
    let mode = Mode::from_raw_mode(0o666);
    for (name, major, minor) in DEVICES {
        if is_root {
            mknodat(
                dev,
                name,
                FileType::CharacterDevice,
                mode,
                makedev(major, minor),
            )?;
        } else {
            bind_host(dev, name)?;
        }
    }
    if !is_root {
        return Ok(());
    }
    for number in 0..existing_loops() + SPARE_LOOPS {
        let device = makedev(LOOP, number);
        mknodat(
            dev,
            format!("loop{number}"),
            FileType::BlockDevice,
            mode,
            device,
        )?;
    }
    Ok(())
}

fn bind_host(dev: &OwnedFd, name: &str) -> io::Result<()> {
    let device = match bind(&Path::new("/dev").join(name), Recursion::This) {
        Ok(device) => device,
        Err(error)
            if matches!(
                Errno::from_io_error(&error),
                Some(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS)
            ) =>
        {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let target = create_in_root(dev.as_fd(), Path::new(name), false)?;
    attach(device.as_fd(), target.as_fd())
}

/// One more than the highest number of a loop device that the kernel has.
fn existing_loops() -> u32 {
    // Without `/sys` there are none to be seen.
    let names = kiln_sys::files::names("/sys/block").unwrap_or_default();
    let numbers = names
        .iter()
        .filter_map(|name| name.to_str()?.strip_prefix("loop")?.parse::<u32>().ok());
    numbers.max().map_or(0, |highest| highest + 1)
}
