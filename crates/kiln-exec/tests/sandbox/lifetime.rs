//! How programs start, end and are ended.

use std::fs;
use std::time::{Duration, Instant};

use kiln_base::CancelToken;
use kiln_exec::{Confinement, Control, ExecError, Executor, ExitStatus, run, run_controlled};
use kiln_sys::namespace::GradeWish;
use kiln_sys::signal::Signal;

use crate::world::{World, execute, mounts};

pub(crate) fn a_program_runs_and_its_output_arrives() {
    let name = "a_program_runs_and_its_output_arrives";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    let before = mounts();
    let outcome = world.sh("echo out; echo err >&2; exit 3");
    assert_eq!(outcome.status, ExitStatus::Code(3));
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("out\n", "err\n")
    );
    assert_eq!(mounts(), before);
    // A signal from inside can't kill the first process of a namespace; one from outside can.
    let control = Control::new();
    let root = world.root();
    let spec = world.spec(
        &root,
        &[
            "sh",
            "-c",
            "trap 'echo caught' TERM; echo; sleep 9 & wait; wait",
        ],
    );
    let mut signals = [Signal::TERM, Signal::KILL].into_iter();
    let mut output = |_, _: &[u8]| {
        if let Some(signal) = signals.next() {
            control.signal(signal);
        }
    };
    let status = run_controlled(&spec, &mut output, &CancelToken::new(), &control).unwrap();
    assert_eq!(status, ExitStatus::Signal(9));
}

/// Programs of one executor come from one fork server: what one of them was given is not the
/// other's, and one that dies takes no other with it.
pub(crate) fn one_executor_runs_many_programs_at_once() {
    let Some(world) = World::new(
        "one_executor_runs_many_programs_at_once",
        GradeWish::Strongest,
    ) else {
        return;
    };
    let executor = Executor::new();
    let run = |script: &str, name: &str| {
        let root = world.root_of_its_own(name);
        let mut spec = world.spec(&root, &["sh", "-c", script]);
        spec.env.push(("NAME".to_owned(), name.to_owned()));
        let mut text = Vec::new();
        let mut output = |_, bytes: &[u8]| text.extend_from_slice(bytes);
        let status = executor.run(
            (&spec, &Confinement::default()),
            &mut output,
            &CancelToken::new(),
            &Control::new(),
        );
        (status.unwrap(), String::from_utf8(text).unwrap())
    };
    assert_eq!(run("exit 3", "first"), (ExitStatus::Code(3), String::new()));
    std::thread::scope(|scope| {
        let programs: Vec<_> = (0..8)
            .map(|index| {
                let run = &run;
                scope.spawn(move || run("echo $NAME; exit ${#NAME}", &"n".repeat(index + 1)))
            })
            .collect();
        for (index, program) in programs.into_iter().enumerate() {
            let (status, text) = program.join().unwrap();
            assert_eq!(status, ExitStatus::Code(i32::try_from(index).unwrap() + 1));
            assert_eq!(text, format!("{}\n", "n".repeat(index + 1)));
        }
    });
}

pub(crate) fn failures_are_told_apart() {
    let Some(world) = World::new("failures_are_told_apart", GradeWish::Strongest) else {
        return;
    };
    fs::write(world.lower().join("bin/text"), "no program").unwrap();
    let root = world.root();
    let fails = |argv: &[&str], cwd: &str| {
        let mut spec = world.spec(&root, argv);
        spec.cwd = cwd.into();
        let error = execute(&spec).map(|outcome| outcome.status).unwrap_err();
        (error.to_string(), error.exit_code(), error.hint().is_some())
    };
    assert_eq!(
        fails(&["nonsense"], "/"),
        (
            "`nonsense` was not found in the image".into(),
            Some(127),
            true
        )
    );
    let root = world.root();
    let fails = |argv: &[&str], cwd: &str| {
        let mut spec = world.spec(&root, argv);
        spec.cwd = cwd.into();
        let error = execute(&spec).map(|outcome| outcome.status).unwrap_err();
        (error.to_string(), error.exit_code(), error.hint().is_some())
    };
    assert_eq!(
        fails(&["text"], "/"),
        ("`/bin/text` could not be executed".into(), Some(126), true)
    );
    let root = world.root();
    let mut spec = world.spec(&root, &["true"]);
    spec.cwd = "/etc/passwd".into();
    let error = execute(&spec).map(|outcome| outcome.status).unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not enter the working directory `/etc/passwd`"
    );
    let root = world.root();
    let error = execute(&world.spec(&root, &[]))
        .map(|outcome| outcome.status)
        .unwrap_err();
    assert!(matches!(error, ExecError::NoCommand));
    let root = world.root();
    let mut spec = world.spec(&root, &["sh", "-c", "pwd"]);
    spec.cwd = "/srv/deep".into();
    assert_eq!(execute(&spec).unwrap().stdout, "/srv/deep\n");
}

pub(crate) fn background_processes_die_with_the_program() {
    let name = "background_processes_die_with_the_program";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    let start = Instant::now();
    world.check("sleep 987 & echo done", "done");
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(processes_named("987"), 0);
}

/// How many processes have `argument` as an argument, in this process's pid namespace.
pub(crate) fn processes_named(argument: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| {
            line.split(|byte| *byte == 0)
                .any(|part| part == argument.as_bytes())
        })
        .count()
}

pub(crate) fn much_output_on_both_streams_does_not_block() {
    let name = "much_output_on_both_streams_does_not_block";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    let outcome = world.sh("yes | head -c 3000000 & yes | head -c 3000000 >&2; wait");
    assert_eq!(
        (outcome.stdout.len(), outcome.stderr.len()),
        (3_000_000, 3_000_000)
    );
}

pub(crate) fn cancelling_kills_everything() {
    let Some(world) = World::new("cancelling_kills_everything", GradeWish::Strongest) else {
        return;
    };
    let before = mounts();
    let root = world.root();
    let script = "(sleep 986 &) ; trap '' TERM INT; echo ready; sleep 986";
    let spec = world.spec(&root, &["sh", "-c", script]);
    let cancel = CancelToken::new();
    let start = Instant::now();
    let result = run(&spec, &mut |_, _| cancel.cancel(), &cancel);
    assert!(matches!(result, Err(ExecError::Cancelled)), "{result:?}");
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(processes_named("986"), 0);
    assert_eq!(mounts(), before);
    assert!(matches!(
        run(&spec, &mut |_, _| {}, &cancel),
        Err(ExecError::Cancelled)
    ));
}

pub(crate) fn killing_kiln_kills_everything() {
    use kiln_sys::sandbox::{Forked, exit_now, fork};
    let name = "killing_kiln_kills_everything";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    let marker = world.upper().join("ready");
    let Forked::Parent(kiln) = fork().unwrap() else {
        let root = world.root();
        let spec = world.spec(&root, &["sh", "-c", "echo > /ready; sleep 985"]);
        let _ = execute(&spec);
        exit_now(0)
    };
    wait_until("the program is running", || {
        marker.exists() && processes_named("985") > 0
    });
    rustix::process::kill_process(kiln, rustix::process::Signal::KILL).unwrap();
    rustix::process::waitpid(Some(kiln), rustix::process::WaitOptions::empty()).unwrap();
    wait_until("the program is dead", || processes_named("985") == 0);
}

#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
