//! Standard streams and terminals.

use std::path::Path;

use kiln_base::CancelToken;
use kiln_exec::{ExitStatus, Stdio, User, run};
use kiln_sys::namespace::{Grade, GradeWish};

use crate::runner::skip;
use crate::world::{World, execute};

pub(crate) fn streams_can_be_opened_by_name() {
    let name = "streams_can_be_opened_by_name";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    let root = world.root();
    let mut spec = world.spec(
        &root,
        &["sh", "-c", "echo a > /dev/stdout; echo b > /dev/stderr"],
    );
    if world.grade != Grade::RootlessSingle {
        spec.user = User {
            uid: 1234,
            gid: 1234,
            groups: Vec::new(),
            home: "/".into(),
        };
    }
    let outcome = execute(&spec).unwrap();
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("a\n", "b\n")
    );
}

pub(crate) fn a_terminal_is_a_terminal() {
    let Some(world) = World::new("a_terminal_is_a_terminal", GradeWish::Strongest) else {
        return;
    };
    let root = world.root();
    let script = "tty; echo x > /dev/tty; test -t 0 && test -t 1 && test -t 2 && exit 7";
    let mut spec = world.spec(&root, &["sh", "-c", script]);
    spec.stdio = Stdio::Terminal;
    let outcome = execute(&spec).unwrap();
    assert_eq!(outcome.stdout, "/dev/pts/0\r\nx\r\n");
    assert_eq!(outcome.status, ExitStatus::Code(7));
}

pub(crate) fn a_terminal_is_joined_to_ours() {
    let name = "a_terminal_is_joined_to_ours";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    let Ok(pty) = kiln_sys::pty::open_pty(Path::new("/dev/ptmx")) else {
        return skip(name, "`/dev/ptmx`");
    };
    rustix::stdio::dup2_stdin(&pty.terminal).unwrap();
    let size = rustix::termios::Winsize {
        ws_row: 40,
        ws_col: 100,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(&pty.terminal, size).unwrap();
    let mode = || {
        rustix::termios::tcgetattr(&pty.terminal)
            .unwrap()
            .local_modes
    };
    let before = mode();
    let root = world.root();
    let mut spec = world.spec(
        &root,
        &["sh", "-c", "stty size; read line; echo got $line; cat"],
    );
    spec.stdio = Stdio::Terminal;
    let mut text = String::new();
    let mut output = |_, bytes: &[u8]| {
        if text.is_empty() {
            assert_ne!(mode(), before);
            // The last byte is Ctrl-D, the end of the input.
            rustix::io::write(&pty.controller, b"hello\nrest\n\x04").unwrap();
        }
        text.push_str(&String::from_utf8_lossy(bytes));
    };
    let status = run(&spec, &mut output, &CancelToken::new()).unwrap();
    assert_eq!(status, ExitStatus::Code(0));
    assert!(text.starts_with("40 100\r\n"), "{text}");
    assert!(
        text.contains("got hello\r\n") && text.ends_with("rest\r\n"),
        "{text}"
    );
    assert_eq!(mode(), before);
}
