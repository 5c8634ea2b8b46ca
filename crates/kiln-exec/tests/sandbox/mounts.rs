//! What is mounted, and what is left of it.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, symlink};

use kiln_exec::{Access, MountKind, StepMount};
use kiln_sys::namespace::GradeWish;

use crate::world::{World, changes, execute, system_files};

pub(crate) fn mount_points_leave_no_trace() {
    let Some(world) = World::new("mount_points_leave_no_trace", GradeWish::Strongest) else {
        return;
    };
    let etc = world.lower().join("etc");
    let before = fs::metadata(&etc).unwrap();
    let root = world.root();
    let script = "cat /etc/hosts /etc/resolv.conf; echo x >> /etc/hosts";
    let mut spec = world.spec(&root, &["sh", "-c", script]);
    spec.mounts = system_files();
    let outcome = execute(&spec).unwrap();
    assert!(
        outcome.stdout.contains("localhost buildkitsandbox"),
        "{}",
        outcome.stdout
    );
    assert!(outcome.stdout.contains("192.0.2.1"));
    assert!(
        outcome.stderr.contains("Read-only file system"),
        "{}",
        outcome.stderr
    );
    // What copying up left behind is equal to what is below.
    assert_eq!(changes(&world), ["etc"]);
    let after = fs::metadata(world.upper().join("etc")).unwrap();
    assert_eq!(
        (before.mtime(), before.mtime_nsec()),
        (after.mtime(), after.mtime_nsec())
    );
    assert_eq!(before.mode(), after.mode());
    drop(root);
    world.check("touch /etc/new; mkdir /made", "");
    assert_eq!(changes(&world), ["etc", "etc/new", "made"]);
}

pub(crate) fn a_linked_resolv_conf_is_mounted_where_it_points() {
    let name = "a_linked_resolv_conf_is_mounted_where_it_points";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    symlink(
        "../run/resolve/stub.conf",
        world.lower().join("etc/resolv.conf"),
    )
    .unwrap();
    let root = world.root();
    let mut spec = world.spec(
        &root,
        &["sh", "-c", "cat /etc/resolv.conf; ls /run/resolve"],
    );
    spec.mounts = system_files();
    let outcome = execute(&spec).unwrap();
    assert_eq!(outcome.stdout, "nameserver 192.0.2.1\nstub.conf\n");
    assert_eq!(changes(&world), ["etc"]);
}

pub(crate) fn the_hosts_tree_is_out_of_reach() {
    let Some(world) = World::new("the_hosts_tree_is_out_of_reach", GradeWish::Strongest) else {
        return;
    };
    let points = |mounts: Vec<StepMount<'static>>| {
        let root = world.root();
        let script =
            "ls /..; cut -d' ' -f2 /proc/self/mounts | grep -v -e ^/dev/ -e ^/proc/ -e ^/sys/";
        let mut spec = world.spec(&root, &["sh", "-c", script]);
        spec.mounts = mounts;
        execute(&spec).unwrap().stdout.replace('\n', " ")
    };
    assert_eq!(
        points(Vec::new()),
        "bin dev etc proc sys tmp / /proc /dev /sys "
    );
    assert_eq!(
        points(system_files()),
        "bin dev etc proc sys tmp / /proc /dev /sys /etc/resolv.conf /etc/hosts "
    );
}

pub(crate) fn requested_mounts_are_there() {
    let Some(world) = World::new("requested_mounts_are_there", GradeWish::Strongest) else {
        return;
    };
    let shared = world.dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("file"), "content\n").unwrap();
    let source = fs::File::open(&shared).unwrap();
    let one_file = fs::File::open(shared.join("file")).unwrap();
    let bind = |target: &str, source, access| StepMount {
        target: target.into(),
        kind: MountKind::Bind { source, access },
    };
    let root = world.root();
    let script =
        "cat /ro/file /one; touch /rw/new; touch /ro/new; stat -c %a /mem; echo x > /rw/in/y";
    let mut spec = world.spec(&root, &["sh", "-c", script]);
    let mem = MountKind::Tmpfs {
        size: Some(1 << 20),
        mode: 0o1770,
    };
    spec.mounts = vec![
        bind("/ro", source.as_fd(), Access::ReadOnly),
        bind("/rw", source.as_fd(), Access::ReadWrite),
        bind("/one", one_file.as_fd(), Access::ReadOnly),
        StepMount {
            target: "/mem".into(),
            kind: mem,
        },
        StepMount {
            target: "/rw/in".into(),
            kind: MountKind::Tmpfs {
                size: None,
                mode: 0o755,
            },
        },
    ];
    let outcome = execute(&spec).unwrap();
    assert_eq!(
        outcome.stdout, "content\ncontent\n1770\n",
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("Read-only"), "{}", outcome.stderr);
    assert!(shared.join("new").exists());
    assert_eq!(changes(&world), [""; 0]);
}
