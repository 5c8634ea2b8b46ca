//! A folder for everything that a test process makes, removed when the process is gone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;

use kiln_sys::process;

/// The folder and its janitor.
///
/// Test runners call nobody at their end, and a static value is never dropped. So a shell waits on
/// a pipe that only this process holds open: when the process ends, however it ends, the shell
/// stops the daemons whose process ids are noted in the folder, and removes it.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _janitor: Child,
}

const JANITOR: &str = r#"
trap '' HUP INT TERM
cat > /dev/null
for file in "$1"/daemons/*; do
    [ -e "$file" ] || continue
    pid=$(cat "$file")
    kill "$pid" 2> /dev/null
    for _ in $(seq 100); do kill -0 "$pid" 2> /dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2> /dev/null
done
# A daemon that was stopped may leave mounts: nothing may be removed through one.
while read -r _ path _; do
    case $path in "$1"/*) umount -l "$path" ;; esac
done < /proc/mounts
rm -rf --one-file-system "$1" 2> /dev/null && exit
unshare --map-root-user --map-auto rm -rf "$1"
"#;

impl Scratch {
    /// The folder of this process.
    pub fn get() -> &'static Self {
        static SCRATCH: OnceLock<Scratch> = OnceLock::new();
        SCRATCH.get_or_init(|| {
            let name = format!("kiln-tests-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            // A process of this id that ended badly may have left one.
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(path.join("daemons")).expect("a temporary folder");
            // Ordinary users of the tests have folders below.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
            let mut janitor = process::command("/bin/sh", Path::new("/"));
            janitor.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
            janitor.args(["-c", JANITOR, "janitor"]).arg(&path);
            janitor
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            // In a group of its own: what interrupts the test must not reach it.
            janitor.process_group(0);
            let janitor = janitor.spawn().expect("a shell");
            Self {
                path,
                _janitor: janitor,
            }
        })
    }

    /// A new folder that every user can read and enter.
    pub fn folder(name: &str) -> PathBuf {
        let path = Self::get().path.join(name);
        fs::create_dir_all(&path).expect("a temporary folder");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        path
    }

    /// Notes a process that is to be stopped at the end.
    pub fn stop_at_end(name: &str, id: u32) {
        let file = Self::get().path.join("daemons").join(name);
        fs::write(file, id.to_string()).expect("a temporary folder");
    }
}
