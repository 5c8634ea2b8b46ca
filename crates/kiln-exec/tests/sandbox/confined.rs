//! Limits, and steps that are held less tightly than usual.

use kiln_exec::{Confinement, Resources, Security, User};
use kiln_sys::namespace::{Grade, GradeWish};

use crate::runner::skip;
use crate::world::{World, execute_confined};

/// What the script prints under this confinement.
fn output(world: &World, confinement: &Confinement, script: &str) -> String {
    let root = world.root();
    let spec = world.spec(&root, &["sh", "-c", script]);
    let outcome = execute_confined(&spec, confinement).unwrap();
    outcome.stdout + &outcome.stderr
}

pub(crate) fn limits_are_set() {
    let Some(world) = World::new("limits_are_set", GradeWish::Strongest) else {
        return;
    };
    let confinement = Confinement {
        shm_bytes: Some(8 << 20),
        ulimits: vec!["nofile=100:200".parse().unwrap(), "core=0".parse().unwrap()],
        ..Confinement::default()
    };
    let script = "ulimit -S -n; ulimit -H -n; ulimit -c; grep -c ' /dev/shm .*size=8192k' /proc/self/mounts; \
        dd if=/dev/zero of=/dev/shm/x bs=1M count=9 2> /dev/null; stat -c %s /dev/shm/x";
    assert_eq!(
        output(&world, &confinement, script),
        "100\n200\n0\n1\n8388608\n"
    );
    let shm = "grep -c ' /dev/shm .*size=65536k' /proc/self/mounts";
    assert_eq!(output(&world, &Confinement::default(), shm), "1\n");
}

pub(crate) fn a_limit_above_the_hard_one_is_named() {
    let name = "a_limit_above_the_hard_one_is_named";
    let Some(world) = World::new(name, GradeWish::Rootless) else {
        return;
    };
    let root = world.root();
    let spec = world.spec(&root, &["true"]);
    let confinement = Confinement {
        ulimits: vec!["nofile=1:999999999999".parse().unwrap()],
        ..Confinement::default()
    };
    let error = execute_confined(&spec, &confinement)
        .map(|outcome| outcome.status)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not set the resource limit `nofile=1:999999999999`"
    );
    assert!(error.hint().is_some());
}

pub(crate) fn an_insecure_step_may_do_all_that_kiln_may() {
    let name = "an_insecure_step_may_do_all_that_kiln_may";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    check_insecure(&world);
    if world.grade == Grade::Root {
        let insecure = Confinement {
            security: Security::Insecure,
            ..Confinement::default()
        };
        let script = "ls /dev/fuse /dev/net/tun /dev/loop-control /dev/loop7";
        assert_eq!(
            output(&world, &insecure, script),
            "/dev/fuse\n/dev/loop-control\n/dev/loop7\n/dev/net/tun\n"
        );
    }
}

pub(crate) fn an_insecure_step_in_a_user_namespace() {
    let name = "an_insecure_step_in_a_user_namespace";
    if let Some(world) = World::new(name, GradeWish::Rootless) {
        check_insecure(&world);
    }
}

fn check_insecure(world: &World) {
    let insecure = Confinement {
        security: Security::Insecure,
        ..Confinement::default()
    };
    let script = "mount -t tmpfs tmpfs /tmp && echo mounted; unshare -m true && echo unshared; \
        grep -c '^Seccomp:.0' /proc/self/status; grep -c ' /proc/sys ' /proc/self/mounts; \
        grep -c ' /sys [a-z]* rw' /proc/self/mounts";
    assert_eq!(
        output(world, &insecure, script),
        "mounted\nunshared\n1\n0\n1\n"
    );
    if world.grade == Grade::RootlessSingle {
        return;
    }
    let root = world.root();
    let mut spec = world.spec(
        &root,
        &[
            "sh",
            "-c",
            "id -u; mount -t tmpfs tmpfs /tmp && echo mounted",
        ],
    );
    spec.user = User {
        uid: 1000,
        gid: 1000,
        groups: Vec::new(),
        home: "/".into(),
    };
    // Its capabilities are ambient, as with BuildKit.
    let outcome = execute_confined(&spec, &insecure).unwrap();
    assert_eq!(outcome.stdout, "1000\nmounted\n", "{}", outcome.stderr);
}

pub(crate) fn resources_are_limited_or_refused() {
    let name = "resources_are_limited_or_refused";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    let confinement = Confinement {
        resources: Resources {
            memory: Some(64 << 20),
            cpu_quota: Some(50_000),
            ..Resources::default()
        },
        cgroup_parent: Some(format!("/kiln-test-{}", std::process::id())),
        ..Confinement::default()
    };
    let root = world.root();
    let script = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us 2> /dev/null \
        || cat memory.max cpu.max";
    let spec = world.spec(&root, &["sh", "-c", script]);
    match execute_confined(&spec, &confinement) {
        Ok(outcome) => {
            let expected = ["67108864\n50000\n", "67108864\n50000 100000\n"];
            assert!(
                expected.contains(&&*outcome.stdout),
                "{} {}",
                outcome.stdout,
                outcome.stderr
            );
        }
        Err(error) => {
            let text = error.to_string();
            assert!(
                text.contains("control group") || text.contains("could not limit"),
                "{text}"
            );
            assert!(error.hint().is_some());
            return skip(name, &text);
        }
    }
    // The step's own group is gone; the parent, which was asked for, stays, and is ours to remove.
    let parents = ["", "memory/", "cpu/", "cpu,cpuacct/"]
        .map(|hierarchy| format!("/sys/fs/cgroup/{hierarchy}kiln-test-{}", std::process::id()));
    let there: Vec<_> = parents
        .iter()
        .filter(|path| std::fs::metadata(path).is_ok())
        .collect();
    assert!(!there.is_empty());
    for parent in there {
        std::fs::remove_dir(parent).unwrap();
    }
}

pub(crate) fn resources_that_cannot_be_limited_are_an_error() {
    let name = "resources_that_cannot_be_limited_are_an_error";
    if crate::runner::is_root() {
        crate::runner::become_ordinary(54321, 54321);
    }
    let Some(world) = World::new(name, GradeWish::SingleId) else {
        return;
    };
    let root = world.root();
    let spec = world.spec(&root, &["true"]);
    let confinement = Confinement {
        resources: Resources {
            memory: Some(64 << 20),
            ..Resources::default()
        },
        ..Confinement::default()
    };
    let Err(error) = execute_confined(&spec, &confinement) else {
        return skip(name, "control groups that are not delegated");
    };
    assert!(error.to_string().contains("control group"), "{error}");
    assert!(error.hint().is_some());
}
