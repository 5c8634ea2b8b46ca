//! The base image that tests build on: made once, by kiln itself.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use testkit::{Absent, Kiln, Program, Scratch, Who};

/// The base image's name.
pub(crate) const BASE: &str = "debian:bookworm";

/// kiln with a store that has [`BASE`], shared by all tests that run as this user.
pub(crate) fn with_base(who: Who) -> Result<Kiln, Absent> {
    // Two at once would only wait for the same two processors.
    static TURN: Mutex<()> = Mutex::new(());
    static STORES: [OnceLock<Result<Kiln, Absent>>; 2] = [OnceLock::new(), OnceLock::new()];
    let index = match who {
        Who::Root => 0,
        Who::User => 1,
    };
    let store = STORES[index].get_or_init(|| {
        testkit::find_program("mmdebstrap")?;
        let kiln = Kiln::new(who, "shared")?;
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        kiln.ok(&["bootstrap", BASE]);
        drop(turn);
        kiln.ok(&["tag", BASE, "debian:bookworm-slim"]);
        Ok(kiln)
    });
    store.clone()
}

/// kiln with a store that has [`BASE`] for amd64 and arm64 under one name.
pub(crate) fn with_both_platforms(who: Who) -> Result<Kiln, Absent> {
    static STORES: [OnceLock<Result<Kiln, Absent>>; 2] = [OnceLock::new(), OnceLock::new()];
    let index = match who {
        Who::Root => 0,
        Who::User => 1,
    };
    let store = STORES[index].get_or_init(|| {
        testkit::find_program("mmdebstrap")?;
        testkit::find_program("qemu-aarch64-static")?;
        let kiln = Kiln::new(who, "platforms")?;
        kiln.ok(&["bootstrap", "--platform", "linux/arm64", BASE]);
        kiln.ok(&["bootstrap", BASE]);
        Ok(kiln)
    });
    store.clone()
}

/// Lets the ordinary user write to folders that the test made.
pub(crate) fn open_to_all(folders: &[&Path]) {
    for folder in folders {
        let everyone = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(folder, everyone).unwrap();
    }
}

/// An SSH agent that lives as long as the tests, with one new key; the path of its socket, which
/// everybody may use.
pub(crate) fn ssh_agent(folder: &Path) -> Result<PathBuf, Absent> {
    let agent = testkit::find_program("ssh-agent")?;
    let keygen = testkit::find_program("ssh-keygen")?;
    let socket = folder.join("agent.sock");
    let mut child = Program::new(agent)
        .arg("-D")
        .arg("-a")
        .arg(&socket)
        .start(&folder.join("agent.log"));
    Scratch::stop_at_end("ssh-agent", child.id());
    // Ends with the tests, and nobody has to wait for it before.
    std::thread::spawn(move || child.wait());
    let key = folder.join("key");
    let _ = Program::new(keygen)
        .args([
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "a key of the tests",
            "-f",
        ])
        .arg(&key)
        .run()
        .ok();
    for _ in 0..100 {
        if socket.exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let _ = Program::new("ssh-add")
        .env("SSH_AUTH_SOCK", &socket)
        .arg(&key)
        .run()
        .ok();
    let everyone = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(&socket, everyone).unwrap();
    Ok(socket)
}

/// Runs a test's body, or says loudly why it can't run.
pub(crate) fn run(test: &str, body: impl FnOnce() -> Result<(), Absent>) {
    if let Err(absent) = body() {
        testkit::skip(test, &absent);
    }
}
