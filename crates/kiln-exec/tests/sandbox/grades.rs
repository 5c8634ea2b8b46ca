//! The same in user namespaces.

use kiln_exec::{Network, User};
use kiln_sys::namespace::{Grade, GradeWish};

use crate::runner::{become_ordinary, is_root, skip};
use crate::world::{World, execute, system_files};

/// What every grade has to be able to do.
pub(crate) fn check_rootless(world: &World) {
    world.check("id -u; touch /a && stat -c %u:%g /a", "0\n0:0");
    world.check("echo x > /dev/null; ls /sys > /dev/null; echo $$", "1");
    world.check("rm /bin/ls; test -e /bin/ls || echo gone", "gone");
    world.check("grep CapEff /proc/self/status", "CapEff:\t00000000a80425fb");
    let root = world.root();
    let mut spec = world.spec(
        &root,
        &["sh", "-c", "cat /etc/resolv.conf; ls /sys/class/net"],
    );
    spec.mounts = system_files();
    spec.network = Network::None;
    assert_eq!(execute(&spec).unwrap().stdout, "nameserver 192.0.2.1\nlo\n");
}

pub(crate) fn a_user_namespace_is_no_obstacle() {
    let name = "a_user_namespace_is_no_obstacle";
    if !is_root() {
        return skip(name, "not root");
    }
    let Some(world) = World::new(name, GradeWish::Rootless) else {
        return;
    };
    assert_eq!(world.grade, Grade::RootlessMapped);
    check_rootless(&world);
}

pub(crate) fn a_single_id_is_enough_for_root() {
    let name = "a_single_id_is_enough_for_root";
    if is_root() {
        become_ordinary(54321, 54321);
    }
    let Some(world) = World::new(name, GradeWish::SingleId) else {
        return;
    };
    check_rootless(&world);
    let root = world.root();
    let mut spec = world.spec(&root, &["id"]);
    spec.user = User {
        uid: 1000,
        gid: 1000,
        groups: Vec::new(),
        home: "/".into(),
    };
    let error = execute(&spec).map(|outcome| outcome.status).unwrap_err();
    assert_eq!(
        error.to_string(),
        "user id 1000 does not exist in this rootless (single id) build"
    );
    assert!(error.hint().is_some());
}

pub(crate) fn subordinate_ids_are_enough_for_anyone() {
    let name = "subordinate_ids_are_enough_for_anyone";
    let Some((uid, gid)) = crate::runner::user_with_subordinate_ids().filter(|_| is_root()) else {
        return skip(name, "root, and a user in `/etc/subuid`");
    };
    become_ordinary(uid, gid);
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    check_rootless(&world);
    world.check(
        "touch /b && chown 1000:1000 /b && stat -c %u:%g /b",
        "1000:1000",
    );
}
