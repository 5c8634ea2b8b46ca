//! Namespaces, overlays and private emulation, on the machine as it is. What it does not allow is
//! skipped, loudly.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests, which clippy does not see without libtest's attribute"
)]

mod runner;

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kiln_sys::idmap::IdMap;
use kiln_sys::mount::{Durability, Overlay, OverlayMethod, Upper};
use kiln_sys::namespace::{Answer, Grade, GradeWish, enter, probe};
use runner::{Test, become_ordinary, is_root, skip, user_with_subordinate_ids};
use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};

const TESTS: &[Test] = &[
    (
        "root_keeps_its_ids_and_hides_its_mounts",
        root_keeps_its_ids_and_hides_its_mounts,
    ),
    (
        "root_can_ask_for_a_user_namespace",
        root_can_ask_for_a_user_namespace,
    ),
    ("an_ordinary_user_has_one_id", an_ordinary_user_has_one_id),
    ("subordinate_ids_are_mapped", subordinate_ids_are_mapped),
    (
        "a_nested_kiln_needs_no_new_namespace",
        a_nested_kiln_needs_no_new_namespace,
    ),
    (
        "probing_leaves_nothing_behind",
        probing_leaves_nothing_behind,
    ),
    ("many_layers_are_stacked", many_layers_are_stacked),
    (
        "many_layers_are_stacked_rootless",
        many_layers_are_stacked_rootless,
    ),
    (
        "changes_go_to_the_upper_directory",
        changes_go_to_the_upper_directory,
    ),
    ("long_paths_are_stacked", long_paths_are_stacked),
    ("one_layer_needs_no_overlay", one_layer_needs_no_overlay),
    (
        "a_command_has_a_private_binfmt_misc",
        a_command_has_a_private_binfmt_misc,
    ),
    (
        "a_rootless_command_has_a_private_binfmt_misc",
        a_rootless_command_has_a_private_binfmt_misc,
    ),
];

fn main() -> ExitCode {
    runner::run(TESTS)
}

fn mounts() -> usize {
    fs::read_to_string("/proc/self/mounts")
        .unwrap()
        .lines()
        .count()
}

fn root_keeps_its_ids_and_hides_its_mounts() {
    if !is_root() {
        return skip("root_keeps_its_ids_and_hides_its_mounts", "not root");
    }
    let before = fs::read_link("/proc/self/ns/mnt").unwrap();
    assert_eq!(enter(GradeWish::Strongest).unwrap(), Grade::Root);
    assert_ne!(before, fs::read_link("/proc/self/ns/mnt").unwrap());
    let info = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!info.contains(" shared:"), "{info}");
}

fn root_can_ask_for_a_user_namespace() {
    if !is_root() {
        return skip("root_can_ask_for_a_user_namespace", "not root");
    }
    assert_eq!(enter(GradeWish::Rootless).unwrap(), Grade::RootlessMapped);
    assert!(IdMap::current_users().unwrap().is_mapped(1000));
    assert!(IdMap::current_groups().unwrap().is_mapped(1000));
}

fn an_ordinary_user_has_one_id() {
    if is_root() {
        become_ordinary(54321, 54321);
    }
    let grade = match enter(GradeWish::SingleId) {
        Ok(grade) => grade,
        Err(error) => return skip("an_ordinary_user_has_one_id", &error.to_string()),
    };
    assert_eq!(grade, Grade::RootlessSingle);
    assert!(rustix::process::geteuid().is_root());
    assert_eq!(IdMap::current_users().unwrap().len(), 1);
    assert!(rustix::thread::set_thread_groups(&[]).is_err());
}

fn subordinate_ids_are_mapped() {
    let Some((uid, gid)) = user_with_subordinate_ids().filter(|_| is_root()) else {
        return skip(
            "subordinate_ids_are_mapped",
            "root, and a user in `/etc/subuid`",
        );
    };
    become_ordinary(uid, gid);
    assert_eq!(enter(GradeWish::Strongest).unwrap(), Grade::RootlessMapped);
    let users = IdMap::current_users().unwrap();
    assert_eq!(users.extents[0].outside, uid);
    assert!(users.is_mapped(1000));
    rustix::thread::set_thread_groups(&[rustix::process::Gid::from_raw(5)]).unwrap();
}

fn a_nested_kiln_needs_no_new_namespace() {
    if !is_root() {
        return skip("a_nested_kiln_needs_no_new_namespace", "not root");
    }
    enter(GradeWish::Rootless).unwrap();
    let namespace = fs::read_link("/proc/self/ns/user").unwrap();
    assert_eq!(enter(GradeWish::Strongest).unwrap(), Grade::RootlessMapped);
    assert_eq!(namespace, fs::read_link("/proc/self/ns/user").unwrap());
}

fn probing_leaves_nothing_behind() {
    let before = mounts();
    let probe = probe().unwrap();
    assert_eq!(mounts(), before);
    assert_eq!(probe.checks[0].name, "sandbox");
    assert_eq!(
        probe.grade.is_some(),
        matches!(probe.checks[0].answer, Answer::Yes { .. })
    );
    for check in &probe.checks {
        eprintln!("{check:?}");
    }
}

/// Layers `0` (bottom) to `count - 1` below `dir`, each with a file of its own and one that all have;
/// top first.
fn layers(dir: &Path, count: usize) -> Vec<PathBuf> {
    let layer = |index: usize| {
        let path = dir.join(index.to_string());
        fs::create_dir(&path).unwrap();
        fs::write(path.join(format!("only-{index}")), "").unwrap();
        fs::write(path.join("all"), index.to_string()).unwrap();
        path
    };
    let mut layers: Vec<_> = (0..count).map(layer).collect();
    layers.reverse();
    layers
}

fn read(root: &OwnedFd, name: &str) -> String {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat(root, name, flags, Mode::empty()).unwrap();
    std::io::read_to_string(fs::File::from(file)).unwrap()
}

fn upper_in(dir: &Path) -> Upper {
    let upper = Upper {
        upper: dir.join("upper"),
        work: dir.join("work"),
        durability: Durability::Volatile,
    };
    fs::create_dir(&upper.upper).unwrap();
    fs::create_dir(&upper.work).unwrap();
    upper
}

fn stack(grade: Grade) {
    let dir = tempfile::tempdir().unwrap();
    let all = layers(dir.path(), 400);
    for count in [2, 3, 100, 400] {
        for method in [OverlayMethod::LayerByLayer, OverlayMethod::OnePage] {
            let overlay = Overlay {
                lowers: all[..count].to_vec(),
                upper: None,
                userxattr: grade.uses_user_xattrs(),
            };
            let root = overlay
                .mount_detached_by(method)
                .unwrap_or_else(|error| panic!("{count} layers, {method:?}: {error:?}"));
            assert_eq!(read(&root, "all"), "399");
            assert_eq!(read(&root, &format!("only-{}", 400 - count)), "");
        }
    }
    let ours = format!("kiln-overlay-{}-", std::process::id());
    let leftovers = fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    let short_names =
        leftovers.filter(|entry| entry.file_name().to_string_lossy().starts_with(&ours));
    assert_eq!(short_names.count(), 0);
}

fn many_layers_are_stacked() {
    if !is_root() {
        return skip("many_layers_are_stacked", "not root");
    }
    stack(enter(GradeWish::Strongest).unwrap());
}

fn many_layers_are_stacked_rootless() {
    if is_root() {
        become_ordinary(54321, 54321);
    }
    match enter(GradeWish::Strongest) {
        Ok(grade) => stack(grade),
        Err(error) => skip("many_layers_are_stacked_rootless", &error.to_string()),
    }
}

fn entered(test: &str) -> Option<Grade> {
    match enter(GradeWish::Strongest) {
        Ok(grade) => Some(grade),
        Err(error) => {
            skip(test, &error.to_string());
            None
        }
    }
}

fn changes_go_to_the_upper_directory() {
    let Some(grade) = entered("changes_go_to_the_upper_directory") else {
        return;
    };
    for method in [OverlayMethod::LayerByLayer, OverlayMethod::OnePage] {
        let dir = tempfile::tempdir().unwrap();
        let upper = upper_in(dir.path());
        let overlay = Overlay {
            lowers: layers(dir.path(), 2),
            upper: Some(upper.clone()),
            userxattr: grade.uses_user_xattrs(),
        };
        let root = overlay.mount_detached_by(method).unwrap();
        unlinkat(&root, "all", AtFlags::empty()).unwrap();
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        drop(openat(&root, "new", flags, Mode::RUSR).unwrap());
        let whiteout = rustix::fs::stat(upper.upper.join("all")).unwrap();
        assert_eq!(
            (whiteout.st_mode & 0o170_000, whiteout.st_rdev),
            (0o020_000, 0)
        );
        assert!(upper.upper.join("new").exists());
    }
}

fn long_paths_are_stacked() {
    let Some(grade) = entered("long_paths_are_stacked") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("a:b,c\\d".repeat(20)).join("x".repeat(200));
    fs::create_dir_all(&long).unwrap();
    for method in [OverlayMethod::LayerByLayer, OverlayMethod::OnePage] {
        let lowers = dir.path().join(format!("{method:?}"));
        fs::create_dir(&lowers).unwrap();
        let mut lowers = layers(&lowers, 1);
        lowers.push(long.clone());
        let overlay = Overlay {
            lowers,
            upper: None,
            userxattr: grade.uses_user_xattrs(),
        };
        assert_eq!(
            read(&overlay.mount_detached_by(method).unwrap(), "all"),
            "0"
        );
    }
}

fn one_layer_needs_no_overlay() {
    if entered("one_layer_needs_no_overlay").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let lowers = layers(dir.path(), 1);
    let create = |root: &OwnedFd| {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        openat(root.as_fd(), "new", flags, Mode::RUSR).map(drop)
    };
    let view = Overlay {
        lowers,
        upper: None,
        userxattr: false,
    };
    let root = view.mount_detached().unwrap();
    assert_eq!(read(&root, "all"), "0");
    assert_eq!(create(&root), Err(rustix::io::Errno::ROFS));
    let scratch = Overlay {
        lowers: Vec::new(),
        upper: Some(upper_in(dir.path())),
        userxattr: false,
    };
    create(&scratch.mount_detached().unwrap()).unwrap();
    assert!(dir.path().join("upper/new").exists());
}

/// Lists the handlers that a command sees when it has one of its own.
fn private_handlers(test: &str) {
    if !Path::new("/usr/bin/qemu-aarch64-static").exists() {
        return skip(
            test,
            "`/usr/bin/qemu-aarch64-static` (package qemu-user-static)",
        );
    }
    if kiln_sys::host::kernel_version() < (6, 7) {
        return skip(test, "Linux 6.7");
    }
    let mut command = kiln_sys::process::command("/bin/sh", Path::new("/"));
    let script = "id -u; cd /proc/sys/fs/binfmt_misc && ls && grep flags qemu-aarch64";
    command
        .args(["-c", script])
        .stdout(std::process::Stdio::piped());
    let handler = kiln_sys::binfmt::qemu_handler("arm64").unwrap();
    let started = kiln_sys::binfmt::spawn_private(command, &[handler]).unwrap();
    let output = started.wait_with_output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(listed, "0\nqemu-aarch64\nregister\nstatus\nflags: POCF\n");
    assert!(!Path::new("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists());
}

fn a_command_has_a_private_binfmt_misc() {
    let name = "a_command_has_a_private_binfmt_misc";
    if !is_root() {
        return skip(name, "not root");
    }
    enter(GradeWish::Strongest).unwrap();
    private_handlers(name);
}

fn a_rootless_command_has_a_private_binfmt_misc() {
    let name = "a_rootless_command_has_a_private_binfmt_misc";
    if is_root() {
        become_ordinary(54321, 54321);
    }
    if entered(name).is_some() {
        private_handlers(name);
    }
}
