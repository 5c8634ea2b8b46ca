//! The filter, run by a small interpreter and compared with the profiles that Debian's packages
//! install.

use std::collections::BTreeSet;
use std::path::Path;

use expect_test::{Expect, expect};
use serde_json::Value;

use super::*;
use crate::capabilities::{Capability, DEFAULT};

const EVERY: [(Family, Architecture, u32); 5] = [
    (Family::X86, Architecture::X86_64, 0xc000_003e),
    (Family::X86, Architecture::X32, 0xc000_003e),
    (Family::X86, Architecture::I386, 0x4000_0003),
    (Family::Arm, Architecture::Aarch64, 0xc000_00b7),
    (Family::Arm, Architecture::Arm, 0x4000_0028),
];

/// What the kernel would make of a call: `allow`, `errno N` or `kill`.
fn evaluate(program: &[BpfInstruction], audit: u32, number: u32, arguments: [u64; 6]) -> String {
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        let BpfInstruction { code, jt, jf, k } = program[at];
        at += 1;
        let jump = |holds: bool| usize::from(if holds { jt } else { jf });
        match code {
            0x20 => accumulator = load(audit, number, arguments, k),
            0x05 => at += k as usize,
            0x15 => at += jump(accumulator == k),
            0x25 => at += jump(accumulator > k),
            0x35 => at += jump(accumulator >= k),
            0x45 => at += jump(accumulator & k != 0),
            0x06 => return verdict(k),
            _ => panic!("unknown instruction {code:#x}"),
        }
    }
}

fn load(audit: u32, number: u32, arguments: [u64; 6], offset: u32) -> u32 {
    match offset {
        0 => number,
        4 => audit,
        _ => {
            let word = (offset - 16) / 4;
            let argument = arguments[word as usize / 2];
            u32::try_from(argument >> (32 * (word % 2)) & 0xffff_ffff).unwrap()
        }
    }
}

fn verdict(k: u32) -> String {
    match k & 0xffff_0000 {
        0x7fff_0000 => "allow".to_owned(),
        0x0005_0000 => format!("errno {}", k & 0xffff),
        0x8000_0000 => "kill".to_owned(),
        other => panic!("unknown action {other:#x}"),
    }
}

fn call(architecture: Architecture, capabilities: CapabilitySet, name: &str, first: u64) -> String {
    let (family, _, audit) = EVERY.into_iter().find(|one| one.1 == architecture).unwrap();
    let Some(mut number) = compile::number(name, architecture) else {
        return "no such call".to_owned();
    };
    if architecture == Architecture::X32 {
        number |= 0x4000_0000;
    }
    evaluate(
        &filter(family, capabilities),
        audit,
        number,
        [first, 0, 0, 0, 0, 0],
    )
}

#[track_caller]
fn check(name: &str, first: u64, expected: &str) {
    let got = call(Architecture::X86_64, DEFAULT, name, first);
    assert_eq!(got, expected, "{name}({first:#x})");
}

#[test]
fn allows_denies_and_pretends() {
    check("read", 0, "allow");
    check("mount", 0, "errno 1");
    check("unshare", 0, "errno 1");
    check("clone3", 0, "errno 38");
    check("chroot", 0, "allow");
    check("clone", 0x11, "allow");
    check("clone", 0x1000_0011, "errno 1");
}

#[test]
fn arguments_are_compared_in_full() {
    check("personality", 0, "allow");
    check("personality", 8, "allow");
    check("personality", 0xffff_ffff, "allow");
    check("personality", 0x0004_0000, "errno 1");
    check("personality", 1 << 32, "errno 1");
    check("socket", 1, "allow");
    check("socket", 10, "allow");
    check("socket", 12, "errno 1");
    check("socket", 16, "allow");
    check("socket", 38, "errno 1");
    check("socket", 40, "errno 1");
    check("socket", 45, "allow");
    check("socket", 46, "errno 1");
    check("socket", 0x1_0000_0028, "errno 1");
}

#[test]
fn calls_newer_than_the_profile_do_not_exist() {
    for (family, architecture, audit) in EVERY {
        let base = if architecture == Architecture::X32 {
            0x4000_0000
        } else {
            0
        };
        let program = filter(family, DEFAULT);
        assert_eq!(evaluate(&program, audit, base + 600, [0; 6]), "errno 38");
    }
    let program = filter(Family::X86, DEFAULT);
    assert_eq!(evaluate(&program, 0xc000_003e, 467, [0; 6]), "errno 38");
    // `add_key`, which no rule names.
    assert_eq!(evaluate(&program, 0xc000_003e, 248, [0; 6]), "errno 1");
    assert_eq!(evaluate(&program, 0xc000_00b7, 63, [0; 6]), "kill");
}

#[test]
fn a_capability_opens_its_calls() {
    let admin = CapabilitySet::of(&[Capability::SysAdmin]);
    assert_eq!(call(Architecture::X86_64, admin, "mount", 0), "allow");
    assert_eq!(
        call(Architecture::X86_64, admin, "clone", 0x1000_0000),
        "allow"
    );
    assert_eq!(call(Architecture::X86_64, admin, "chroot", 0), "errno 1");
}

#[test]
fn arm_has_its_private_calls() {
    assert_eq!(call(Architecture::Arm, DEFAULT, "set_tls", 0), "allow");
    let program = filter(Family::Arm, DEFAULT);
    assert_eq!(
        evaluate(&program, 0x4000_0028, 0x000f_0003, [0; 6]),
        "errno 38"
    );
}

#[test]
fn the_filter_is_small_and_fast() {
    for family in [Family::X86, Family::Arm] {
        let program = filter(family, DEFAULT);
        assert!(program.len() < 1200, "{family:?}: {}", program.len());
    }
}

#[test]
fn names_are_sorted_and_every_rule_is_in_the_table() {
    let names: Vec<_> = syscalls::TABLE.iter().map(|(name, _)| *name).collect();
    assert!(names.is_sorted());
    for rule in profile::RULES {
        for name in rule.calls.split_ascii_whitespace() {
            assert!(names.binary_search(&name).is_ok(), "{name}");
        }
    }
}

/// Lists the calls on which ours and the installed profile differ, for Docker's default capabilities.
#[track_caller]
fn check_against(path: &str, expected: &Expect) {
    if !Path::new(path).exists() {
        eprintln!("skipped: comparison with `{path}`: the file is missing");
        return;
    }
    let profile: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut differences = BTreeSet::new();
    for (_, architecture, _) in EVERY {
        for name in names_of(&profile) {
            let ours = call(architecture, DEFAULT, &name, 0);
            let theirs = installed_verdict(&profile, architecture, &name);
            if ours != "no such call" && ours != theirs {
                differences.insert(format!("{name}: {ours}, there {theirs}"));
            } else if ours == "no such call" && theirs != "errno 1" && !in_table(&name) {
                differences.insert(format!("{name}: not named, there {theirs}"));
            }
        }
    }
    let differences: Vec<_> = differences.into_iter().collect();
    expected.assert_eq(&differences.join("\n"));
}

fn in_table(name: &str) -> bool {
    syscalls::TABLE.iter().any(|(known, _)| *known == name)
}

fn strings(value: &Value) -> Vec<&str> {
    let list = value.as_array().into_iter().flatten();
    list.filter_map(Value::as_str).collect()
}

fn names_of(profile: &Value) -> BTreeSet<String> {
    let rules = profile["syscalls"].as_array().unwrap();
    let names = rules.iter().flat_map(|rule| strings(&rule["names"]));
    names.map(str::to_owned).collect()
}

/// The profile's verdict for a call whose arguments are all zero.
fn installed_verdict(profile: &Value, architecture: Architecture, name: &str) -> String {
    let mut verdict = "errno 1".to_owned();
    for rule in profile["syscalls"].as_array().unwrap() {
        let applies = strings(&rule["names"]).contains(&name)
            && included(&rule["includes"], architecture)
            && !excluded(&rule["excludes"], architecture)
            && arguments_hold(&rule["args"]);
        if applies && rule["action"] == "SCMP_ACT_ALLOW" {
            return "allow".to_owned();
        }
        if applies {
            verdict = format!("errno {}", rule["errnoRet"].as_u64().unwrap_or(1));
        }
    }
    verdict
}

fn architecture_names(architecture: Architecture) -> &'static [&'static str] {
    // Docker looks at the host's architecture, and the rule then holds for its 32-bit interfaces.
    match architecture {
        Architecture::X86_64 => &["amd64"],
        Architecture::X32 => &["amd64", "x32"],
        Architecture::I386 => &["x86"],
        Architecture::Aarch64 => &["arm64"],
        Architecture::Arm => &["arm", "arm64"],
    }
}

fn has_capability(name: &str) -> bool {
    let defaults = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_NET_RAW",
        "CAP_SYS_CHROOT",
        "CAP_MKNOD",
        "CAP_AUDIT_WRITE",
        "CAP_SETFCAP",
    ];
    defaults.contains(&name)
}

fn included(filter: &Value, architecture: Architecture) -> bool {
    let architectures = strings(&filter["arches"]);
    strings(&filter["caps"]).into_iter().all(has_capability)
        && (architectures.is_empty()
            || architecture_names(architecture)
                .iter()
                .any(|name| architectures.contains(name)))
}

fn excluded(filter: &Value, architecture: Architecture) -> bool {
    let architectures = strings(&filter["arches"]);
    strings(&filter["caps"]).into_iter().any(has_capability)
        || architecture_names(architecture)
            .iter()
            .any(|name| architectures.contains(name))
}

/// Several tests of one rule all have to hold.
fn arguments_hold(arguments: &Value) -> bool {
    let mut arguments = arguments.as_array().into_iter().flatten();
    arguments.all(|argument| {
        let value = argument["value"].as_u64().unwrap();
        match argument["op"].as_str().unwrap() {
            "SCMP_CMP_EQ" => value == 0,
            "SCMP_CMP_NE" => value != 0,
            "SCMP_CMP_MASKED_EQ" => argument["valueTwo"].as_u64().unwrap_or(0) == 0,
            other => panic!("unknown comparison {other}"),
        }
    })
}

/// Debian 12 has the profile of 2022. Since then Docker took `io_uring` out, for its record of holes;
/// let `name_to_handle_at` in, which shows nothing without `open_by_handle_at`; and let programs read
/// each other's memory without a capability, since the kernel asks `ptrace`'s questions itself.
#[test]
fn equals_the_profile_of_debians_docker_but_for_what_changed_since() {
    check_against(
        "/usr/share/gocode/src/github.com/docker/docker/profiles/seccomp/default.json",
        &expect![[r"
            io_uring_enter: not named, there allow
            io_uring_register: not named, there allow
            io_uring_setup: not named, there allow
            name_to_handle_at: allow, there errno 1
            process_vm_readv: allow, there errno 1
            process_vm_writev: allow, there errno 1"]],
    );
}

/// Podman leaves mounts and namespaces to the kernel's own checks, so that containers can be nested;
/// Docker forbids them, and so do we. Podman names calls that exist on no architecture of ours or that
/// C libraries stopped using decades ago, and forbids two that Docker allows.
#[test]
fn equals_the_profile_of_debians_podman_but_for_what_podman_changed() {
    check_against(
        "/usr/share/containers/seccomp.json",
        &expect![[r"
            clone3: errno 38, there allow
            fsconfig: errno 1, there allow
            fsmount: errno 1, there allow
            fsopen: errno 1, there allow
            fspick: errno 1, there allow
            get_mempolicy: errno 1, there allow
            io_pgetevents: allow, there errno 1
            keyctl: not named, there allow
            mbind: errno 1, there allow
            mount: errno 1, there allow
            mount_setattr: errno 1, there allow
            move_mount: errno 1, there allow
            open_tree: errno 1, there allow
            pidfd_getfd: errno 1, there allow
            pivot_root: not named, there allow
            readdir: not named, there allow
            reboot: errno 1, there allow
            set_mempolicy: errno 1, there allow
            setns: errno 1, there allow
            sigaction: not named, there allow
            signal: not named, there allow
            sigpending: not named, there allow
            sigsuspend: not named, there allow
            syscall: not named, there allow
            syslog: errno 1, there allow
            timerfd: not named, there allow
            umount2: errno 1, there allow
            umount: errno 1, there allow
            unshare: errno 1, there allow
            vmsplice: allow, there errno 1"]],
    );
}
