//! What a program sees of the machine, and what it may do.

use std::fs;
use std::path::Path;

use kiln_base::CancelToken;
use kiln_exec::{DEFAULT_PATH, Network, User, run};
use kiln_sys::namespace::{Grade, GradeWish};

use crate::runner::skip;
use crate::world::{World, execute};

pub(crate) fn a_program_is_pid_1_of_its_own_world() {
    let name = "a_program_is_pid_1_of_its_own_world";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    world.check("echo $$", "1");
    world.check("hostname", "buildkitsandbox");
    world.check("umask", "0022");
    world.check("echo /proc/[0-9]*", "/proc/1");
    world.check(
        "echo $PATH $HOME; env | wc -l",
        &format!("{DEFAULT_PATH} /root\n4"),
    );
    world.check("ls /proc/self/fd | wc -l", "4");
    world.check("readlink /proc/self/fd/0", "/dev/null");
    world.check(
        "grep -c . /proc/self/cgroup; grep -v ':/$' /proc/self/cgroup || true",
        &{
            let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
            groups.lines().count().to_string()
        },
    );
}

pub(crate) fn capabilities_equal_dockers() {
    let Some(world) = World::new("capabilities_equal_dockers", GradeWish::Strongest) else {
        return;
    };
    world.check(
        "grep -e Cap -e NoNewPrivs -e '^Seccomp:' /proc/self/status",
        "CapInh:\t0000000000000000\n\
         CapPrm:\t00000000a80425fb\n\
         CapEff:\t00000000a80425fb\n\
         CapBnd:\t00000000a80425fb\n\
         CapAmb:\t0000000000000000\n\
         NoNewPrivs:\t0\n\
         Seccomp:\t2",
    );
}

pub(crate) fn forbidden_calls_fail() {
    let Some(world) = World::new("forbidden_calls_fail", GradeWish::Strongest) else {
        return;
    };
    for script in [
        "unshare -U true",
        "mount -t tmpfs tmpfs /tmp",
        "hostname other",
        "echo 1 > /proc/sys/kernel/panic",
        "mknod /dev/sda b 8 0 && cat /dev/sda > /proc/sysrq-trigger",
    ] {
        let outcome = world.sh(script);
        assert!(!outcome.status.is_success(), "{script}");
    }
    assert!(world.sh("chroot / /bin/true").status.is_success());
}

pub(crate) fn kernel_interfaces_are_hidden() {
    let Some(world) = World::new("kernel_interfaces_are_hidden", GradeWish::Strongest) else {
        return;
    };
    for path in [
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/interrupts",
    ] {
        if Path::new(path).exists() {
            world.check(&format!("cat {path} | wc -c"), "0");
        }
    }
    for path in [
        "/proc/acpi",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ] {
        if Path::new(path).exists() {
            world.check(&format!("ls {path} | wc -l"), "0");
        }
    }
    for path in ["/proc/sys", "/proc/bus", "/proc/irq", "/proc/fs", "/sys"] {
        let read_only = format!("grep -c ' {path} [a-z]* ro,' /proc/self/mounts");
        world.check(&read_only, "1");
    }
}

pub(crate) fn devices_are_dockers() {
    let Some(world) = World::new("devices_are_dockers", GradeWish::Strongest) else {
        return;
    };
    world.check(
        "ls /dev | cat",
        "core\nfd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\n\
         urandom\nzero",
    );
    world.check(
        "stat -c '%a %t:%T %F' /dev/null",
        "666 1:3 character special file",
    );
    world.check(
        "head -c 4 /dev/zero | wc -c; echo x > /dev/null; echo x > /dev/shm/y",
        "4",
    );
    world.check("stat -c %a /dev/shm", "1777");
}

pub(crate) fn without_a_network_there_is_only_loopback() {
    let name = "without_a_network_there_is_only_loopback";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    let root = world.root();
    let script = "ls /sys/class/net; ifconfig lo | grep -c UP";
    let mut spec = world.spec(&root, &["sh", "-c", script]);
    spec.network = Network::None;
    assert_eq!(execute(&spec).unwrap().stdout, "lo\n1\n");
}

pub(crate) fn another_user_has_its_ids_and_no_capability() {
    let name = "another_user_has_its_ids_and_no_capability";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    if world.grade == Grade::RootlessSingle {
        return skip(name, "more than one id");
    }
    let root = world.root();
    let script = "id -u; id -G; grep -e CapEff -e CapBnd /proc/self/status; echo $HOME; touch /x";
    let mut spec = world.spec(&root, &["sh", "-c", script]);
    spec.user = User {
        uid: 1000,
        gid: 1001,
        groups: vec![1001, 44, 20],
        home: "/home/ann".into(),
    };
    let outcome = execute(&spec).unwrap();
    assert_eq!(
        outcome.stdout,
        "1000\n1001 20 44\nCapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\n/home/ann\n"
    );
    assert!(
        outcome.stderr.contains("Permission denied"),
        "{}",
        outcome.stderr
    );
}

pub(crate) fn the_binary_is_out_of_reach() {
    let Some(world) = World::new("the_binary_is_out_of_reach", GradeWish::Strongest) else {
        return;
    };
    let root = world.root();
    let spec = world.spec(&root, &["sh", "-c", "echo; sleep 9"]);
    let cancel = CancelToken::new();
    let mut read_only = None;
    let mut output = |_, _: &[u8]| {
        let children = fs::read_to_string("/proc/thread-self/children").unwrap();
        let helper = format!("/proc/{}/exe", children.trim());
        let flags = rustix::fs::statvfs(helper).unwrap().f_flag;
        read_only = Some(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY));
        cancel.cancel();
    };
    assert!(run(&spec, &mut output, &cancel).is_err());
    assert_eq!(read_only, Some(true));
}
