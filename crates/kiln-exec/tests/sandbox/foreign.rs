//! Programs of another machine.

use std::fs;

use kiln_base::Secret;
use kiln_exec::{
    Confinement, Emulation, ExitStatus, MountKind, Network, StepMount, User, supports,
};
use kiln_sys::namespace::{Grade, GradeWish};

use crate::runner::{become_ordinary, is_root, skip, user_with_subordinate_ids};
use crate::world::{World, execute, execute_confined, set_mode};

/// A static program for arm64 that says `hi` and exits with the code 7: elf(5), Arm's A64 manual.
fn program() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let instructions: [u32; 8] = [
        0xd280_0020, // mov x0, #1
        0x1000_00e1, // adr x1, the text behind the last instruction
        0xd280_0062, // mov x2, #3
        0xd280_0808, // mov x8, #64: write
        0xd400_0001, // svc #0
        0xd280_00e0, // mov x0, #7
        0xd280_0ba8, // mov x8, #93: exit
        0xd400_0001, // svc #0
    ];
    let mut code: Vec<u8> = instructions
        .iter()
        .flat_map(|one| one.to_le_bytes())
        .collect();
    code.extend(b"hi\n");
    let size = HEADERS + code.len() as u64;
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
    bytes.resize(16, 0);
    for half in [2_u16, 183] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend(1_u32.to_le_bytes());
    for long in [BASE + HEADERS, 64, 0] {
        bytes.extend(long.to_le_bytes());
    }
    bytes.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 0, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    for word in [1_u32, 5] {
        bytes.extend(word.to_le_bytes());
    }
    for long in [0, BASE, BASE, size, size, 0x1000] {
        bytes.extend(u64::to_le_bytes(long));
    }
    bytes.extend(code);
    bytes
}

fn foreign(name: &str, wish: GradeWish) -> Option<(World, Confinement)> {
    let world = World::new(name, wish)?;
    let emulation = match supports("arm64", "") {
        Ok(Emulation::Native) => {
            skip(name, "a machine that does not run arm64 itself");
            return None;
        }
        Ok(emulation) => emulation,
        Err(why) => {
            skip(name, &why.to_string());
            return None;
        }
    };
    fs::write(world.lower().join("arm64"), program()).unwrap();
    set_mode(&world.lower().join("arm64"), 0o755);
    Some((
        world,
        Confinement {
            emulation,
            ..Confinement::default()
        },
    ))
}

/// What every grade has to be able to do.
fn check_foreign(world: &World, confinement: &Confinement) {
    let root = world.root();
    let spec = world.spec(&root, &["/arm64"]);
    let outcome = execute_confined(&spec, confinement).unwrap();
    assert_eq!(
        (&*outcome.stdout, outcome.status),
        ("hi\n", ExitStatus::Code(7))
    );

    // The rest of the sandbox is as ever: ids, files, mounts, capabilities, no trace of the emulator.
    let root = world.root();
    let script = "/arm64; echo $?; id -u; cat /run/secrets/one; touch /a && stat -c %u:%g /a; \
        echo x > /dev/null; grep CapEff /proc/self/status; grep -c binfmt /proc/self/mounts; hostname; \
        echo $$; ls /sys/class/net";
    let mut spec = world.spec(&root, &["sh", "-c", script]);
    spec.network = Network::None;
    spec.mounts = vec![StepMount {
        target: "/run/secrets/one".into(),
        kind: MountKind::Secret {
            content: Secret::new(b"hush\n".to_vec()),
            uid: 0,
            gid: 0,
            mode: 0o400,
        },
    }];
    let outcome = execute_confined(&spec, confinement).unwrap();
    assert_eq!(
        outcome.stdout,
        "hi\n7\n0\nhush\n0:0\nCapEff:\t00000000a80425fb\n0\nbuildkitsandbox\n1\nlo\n",
        "{}",
        outcome.stderr
    );
    // Nothing was registered for anybody else.
    if matches!(confinement.emulation, Emulation::Private(_)) {
        let root = world.root();
        let spec = world.spec(&root, &["/arm64"]);
        assert!(execute(&spec).is_err());
    }
}

pub(crate) fn a_foreign_program_runs_as_root() {
    let name = "a_foreign_program_runs_as_root";
    let Some((world, confinement)) = foreign(name, GradeWish::Strongest) else {
        return;
    };
    check_foreign(&world, &confinement);
    if world.grade != Grade::Root {
        return;
    }
    // Ids are the machine's own, on disk, too.
    let root = world.root();
    let mut spec = world.spec(&root, &["sh", "-c", "touch /b; chown 1234:70000 /b; id -u"]);
    let outcome = execute_confined(&spec, &confinement).unwrap();
    assert_eq!(outcome.stdout, "0\n", "{}", outcome.stderr);
    let owner = rustix::fs::stat(world.upper().join("b")).unwrap();
    assert_eq!((owner.st_uid, owner.st_gid), (1234, 70000));
    spec.user = User {
        uid: 1234,
        gid: 5,
        groups: vec![7],
        home: "/".into(),
    };
    let root = world.root();
    spec.root = std::os::fd::AsFd::as_fd(&root);
    spec.argv = ["sh", "-c", "id -u; id -G; /arm64"]
        .map(str::to_owned)
        .to_vec();
    let outcome = execute_confined(&spec, &confinement).unwrap();
    assert_eq!(outcome.stdout, "1234\n5 7\nhi\n", "{}", outcome.stderr);
}

pub(crate) fn a_foreign_program_runs_in_a_user_namespace() {
    let name = "a_foreign_program_runs_in_a_user_namespace";
    let Some((uid, gid)) = user_with_subordinate_ids().filter(|_| is_root()) else {
        return skip(name, "root, and a user in `/etc/subuid`");
    };
    become_ordinary(uid, gid);
    if let Some((world, confinement)) = foreign(name, GradeWish::Strongest) {
        check_foreign(&world, &confinement);
    }
}

pub(crate) fn a_foreign_program_runs_with_a_single_id() {
    let name = "a_foreign_program_runs_with_a_single_id";
    if is_root() {
        become_ordinary(54321, 54321);
    }
    if let Some((world, confinement)) = foreign(name, GradeWish::SingleId) {
        check_foreign(&world, &confinement);
    }
}

/// Names an arm64 build of busybox; Debian's package `busybox-static` has one.
const BUSYBOX: &str = "KILN_TEST_ARM64_BUSYBOX";

pub(crate) fn a_foreign_root_runs_its_own_programs() {
    let name = "a_foreign_root_runs_its_own_programs";
    let Some(busybox) = std::env::var_os(BUSYBOX) else {
        return skip(name, &format!("`{BUSYBOX}`, an arm64 busybox"));
    };
    let Some((world, confinement)) = foreign(name, GradeWish::Strongest) else {
        return;
    };
    fs::copy(busybox, world.lower().join("bin/busybox")).unwrap();
    let root = world.root();
    let script = "/bin/busybox uname -m; echo a b | wc -w; chown 12:13 /etc && stat -c %u:%g /etc; \
        umask; sh -c 'exit 3' || echo $?; cat /proc/self/status | grep CapEff";
    let spec = world.spec(&root, &["sh", "-c", script]);
    let outcome = execute_confined(&spec, &confinement).unwrap();
    assert_eq!(
        outcome.stdout, "aarch64\n2\n12:13\n0022\n3\nCapEff:\t00000000a80425fb\n",
        "{}",
        outcome.stderr
    );
}

pub(crate) fn platforms_are_told_apart() {
    let own = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        _ => return skip("platforms_are_told_apart", "an x86-64 or arm64 machine"),
    };
    assert_eq!(supports(own, ""), Ok(Emulation::Native));
    assert!(supports("vax", "").unwrap_err().hint().is_none());
    let error = supports(own, "v99").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("this processor lacks instructions that `linux/{own}/v99` needs")
    );
}
