//! Secrets and agents.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use kiln_base::{CancelToken, Secret};
use kiln_exec::{Access, MountKind, SshAgent, StepMount, run};
use kiln_sys::namespace::{Grade, GradeWish};

use crate::runner::skip;
use crate::world::{World, changes, execute};

fn secret(target: &str, content: &[u8], owner: u32, mode: u32) -> StepMount<'static> {
    StepMount {
        target: target.into(),
        kind: MountKind::Secret {
            content: Secret::new(content.to_vec()),
            uid: owner,
            gid: owner,
            mode,
        },
    }
}

pub(crate) fn secrets_are_files_in_memory() {
    let Some(world) = World::new("secrets_are_files_in_memory", GradeWish::Strongest) else {
        return;
    };
    let owner = if world.grade == Grade::RootlessSingle {
        0
    } else {
        1000
    };
    let root = world.root();
    let script = "cat /run/secrets/a; stat -c '%a %u:%g' /run/secrets/a; wc -c < /etc/deep/b; \
        grep -c ' /run/secrets/a ramfs ro,nosuid,nodev,noexec' /proc/self/mounts; \
        echo x > /run/secrets/a";
    let mut spec = world.spec(&root, &["sh", "-c", script]);
    let large = vec![b'x'; 500_000];
    spec.mounts = vec![
        secret("/run/secrets/a", b"hush\n", owner, 0o440),
        secret("/etc/deep/b", &large, 0, 0o400),
    ];
    assert!(!format!("{spec:?}").contains("hush"));
    assert!(!format!("{spec:?}").contains("104, 117"));
    let outcome = execute(&spec).unwrap();
    assert_eq!(
        outcome.stdout,
        format!("hush\n440 {owner}:{owner}\n500000\n1\n")
    );
    assert!(
        outcome.stderr.contains("Read-only file system"),
        "{}",
        outcome.stderr
    );
    assert_eq!(changes(&world), ["etc"]);
}

/// Talks to the step's agent from outside, through the step's root.
fn ask(path: &Path, request: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(path).unwrap();
    let length = u32::try_from(request.len()).unwrap();
    stream.write_all(&length.to_be_bytes()).unwrap();
    stream.write_all(request).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut response = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut response).unwrap();
    response
}

/// The agent's answers to a request for the list and to one for the removal of all keys, and what the
/// step says about its socket.
fn answers(world: &World, agent: SshAgent) -> (Vec<u8>, Vec<u8>, String) {
    let root = world.root();
    let script = "stat -c '%F %a %u:%g' /run/buildkit/ssh_agent.0; sleep 9";
    let mut spec = world.spec(&root, &["sh", "-c", script]);
    spec.mounts = vec![StepMount {
        target: "/run/buildkit/ssh_agent.0".into(),
        kind: MountKind::Agent {
            agent,
            uid: 0,
            gid: 0,
            mode: 0o600,
        },
    }];
    let cancel = CancelToken::new();
    let mut got = None;
    let mut output = |_, text: &[u8]| {
        let children = |of: &str| {
            let children = fs::read_to_string(format!("/proc/{of}/children")).unwrap();
            children.split_whitespace().next().unwrap().to_owned()
        };
        let helper = children("thread-self");
        let program = children(&format!("{helper}/task/{helper}"));
        let socket = format!("/proc/{program}/root/run/buildkit/ssh_agent.0");
        let socket = Path::new(&socket);
        let stated = String::from_utf8_lossy(text).into_owned();
        got = Some((ask(socket, &[11]), ask(socket, &[19]), stated));
        cancel.cancel();
    };
    assert!(run(&spec, &mut output, &cancel).is_err());
    assert_eq!(changes(world), [""; 0]);
    got.unwrap()
}

pub(crate) fn an_agent_answers_and_refuses_changes() {
    let name = "an_agent_answers_and_refuses_changes";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ssh_agent/testkeys/ed");
    let Ok(agent) = SshAgent::keys(&[key]) else {
        return skip(name, "a source tree that this user may read");
    };
    let (list, removal, stated) = answers(&world, agent);
    assert_eq!(list[..5], [12, 0, 0, 0, 1]);
    assert!(list.ends_with(b"ed"));
    assert_eq!(removal, [5]);
    assert_eq!(stated, "socket 600 0:0\n");
}

pub(crate) fn the_users_agent_is_asked_through_a_filter() {
    let name = "the_users_agent_is_asked_through_a_filter";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    let path = world.dir.path().join("agent");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 5];
            // An agent that answers whatever it gets with its request's number.
            while stream.read_exact(&mut request).is_ok() {
                stream.write_all(&[0, 0, 0, 2, 77, request[4]]).unwrap();
            }
        }
    });
    let (list, removal, _) = answers(&world, SshAgent::socket(&path).unwrap());
    assert_eq!((list, removal), (vec![77, 11], vec![5]));
}

pub(crate) fn parts_of_another_root_are_bound() {
    let name = "parts_of_another_root_are_bound";
    let Some(world) = World::new(name, GradeWish::Strongest) else {
        return;
    };
    let other = world.dir.path().join("other");
    for part in ["lower/dir/below", "lowest/dir/lowest"] {
        fs::create_dir_all(other.join(part)).unwrap();
    }
    fs::write(other.join("lower/dir/file"), "content\n").unwrap();
    let overlay = kiln_sys::mount::Overlay {
        lowers: vec![other.join("lower"), other.join("lowest")],
        upper: None,
        userxattr: world.grade.uses_user_xattrs(),
    };
    let place = other.join("place");
    fs::create_dir(&place).unwrap();
    let mount = kiln_sys::mount::attach_at(overlay.mount_detached().unwrap(), &place).unwrap();
    assert!(place.join("dir/file").exists());
    let open = |path: &str, flags| {
        rustix::fs::openat(&mount, path, flags, rustix::fs::Mode::empty()).unwrap()
    };
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let (dir, file) = (open("dir", flags), open("dir/file", flags));
    let bind = |target: &str, source| StepMount {
        target: target.into(),
        kind: MountKind::Bind {
            source,
            access: Access::ReadOnly,
        },
    };
    std::os::unix::fs::symlink("../../../../elsewhere", world.lower().join("link")).unwrap();
    let root = world.root();
    let script = "cat /link/x/file /tmp/mem/one; ls /link/x; touch /link/x/new";
    let mut spec = world.spec(&root, &["sh", "-c", script]);
    spec.mounts = vec![
        bind("/link/x", dir.as_fd()),
        StepMount {
            target: "/tmp/mem".into(),
            kind: MountKind::Tmpfs {
                size: Some(1 << 20),
                mode: 0o755,
            },
        },
        bind("/tmp/mem/one", file.as_fd()),
    ];
    let outcome = execute(&spec).unwrap();
    assert_eq!(
        outcome.stdout, "content\ncontent\nbelow\nfile\nlowest\n",
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("Read-only"), "{}", outcome.stderr);
    assert_eq!(changes(&world), ["tmp"]);
    drop(spec);
    drop((dir, file, mount));
    assert!(!place.join("dir").exists());
}
