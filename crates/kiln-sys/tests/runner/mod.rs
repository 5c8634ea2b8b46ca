//! A test harness whose tests are processes: each is run by starting the test binary again, so that it
//! has one thread and may enter namespaces. Speaks enough of libtest's command line for `cargo test`
//! and nextest.

use std::path::Path;
use std::process::ExitCode;

use kiln_sys::process::command;

/// A named test.
pub(crate) type Test = (&'static str, fn());

/// Runs what the command line asks for.
pub(crate) fn run(tests: &[Test]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let filter: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-') && *argument != "terse")
        .collect();
    let chosen = tests.iter().filter(|(name, _)| {
        filter.is_empty()
            || filter.iter().any(|part| {
                if has("--exact") {
                    name == part
                } else {
                    name.contains(part.as_str())
                }
            })
    });
    if has("--list") {
        // No test is ever ignored.
        for (name, _) in chosen.filter(|_| !has("--ignored")) {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let chosen: Vec<&Test> = chosen.collect();
    if let ([(_, test)], true) = (chosen.as_slice(), has("--exact")) {
        test();
        return ExitCode::SUCCESS;
    }
    let failed: Vec<&str> = chosen
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !passes(name))
        .collect();
    println!("\n{} run, failed: {failed:?}", chosen.len());
    ExitCode::from(u8::from(!failed.is_empty()))
}

fn passes(name: &str) -> bool {
    let passed = command("/proc/self/exe", Path::new("."))
        .envs(std::env::vars_os())
        .args(["--exact", name])
        .status()
        .unwrap()
        .success();
    println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
    passed
}

/// Says why a test could not be done here.
pub(crate) fn skip(test: &str, missing: &str) {
    eprintln!("skipped: {test}: {missing}");
}

/// Whether this is real root with `CAP_SYS_ADMIN`.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
        && rustix::thread::capabilities(None).is_ok_and(|sets| {
            sets.effective
                .contains(rustix::thread::CapabilitySet::SYS_ADMIN)
        })
}

/// Becomes an ordinary user with this uid and gid for the rest of the test.
pub(crate) fn become_ordinary(uid: u32, gid: u32) {
    use rustix::process::{Gid, Uid};
    rustix::thread::set_thread_groups(&[]).unwrap();
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
    rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
    // Changing the user made `/proc/self` root's; a program started afresh would own its own.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable).unwrap();
}

/// A user of this machine who has subordinate ids: uid and gid.
pub(crate) fn user_with_subordinate_ids() -> Option<(u32, u32)> {
    let subuid = std::fs::read_to_string("/etc/subuid").ok()?;
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let names: Vec<&str> = subuid
        .lines()
        .filter_map(|line| line.split(':').next())
        .collect();
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let uid = fields.get(2)?.parse().ok()?;
        let gid = fields.get(3)?.parse().ok()?;
        (uid != 0 && names.contains(fields.first()?)).then_some((uid, gid))
    })
}
