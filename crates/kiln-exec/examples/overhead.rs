//! Measures what a step costs that does nothing: mount the overlay, run `/bin/true` in it, clean up.
//!
//! `overhead [root|rootless|single] [runs]`, with a static busybox at `/bin/busybox`.

use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use kiln_base::CancelToken;
use kiln_exec::{
    Confinement, Control, DEFAULT_HOSTNAME, Executor, MountKind, Network, Stdio, StepMount,
    StepSpec, User, helper_main, hosts_file,
};
use kiln_sys::mount::{Durability, Overlay, Upper};
use kiln_sys::namespace::{GradeWish, enter};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if let [first, descriptor] = arguments.as_slice()
        && first == "__step"
    {
        return helper_main(descriptor);
    }
    let arguments: Vec<_> = arguments.iter().filter_map(|text| text.to_str()).collect();
    let wish = match arguments.first() {
        Some(&"rootless") => GradeWish::Rootless,
        Some(&"single") => GradeWish::SingleId,
        _ => GradeWish::Strongest,
    };
    let runs = arguments.get(1).and_then(|text| text.parse().ok());
    match measure(wish, runs.unwrap_or(200)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "this is a program")]
fn say(text: &str) {
    println!("{text}");
}

fn measure(wish: GradeWish, runs: usize) -> Result<(), Failure> {
    let grade = enter(wish)?;
    let dir = std::env::temp_dir().join(format!("kiln-exec-overhead-{}", std::process::id()));
    for name in ["lower/bin", "lower/etc"] {
        std::fs::create_dir_all(dir.join(name))?;
    }
    std::fs::copy("/bin/busybox", dir.join("lower/bin/true"))?;
    let mut times = Vec::with_capacity(runs);
    let (executor, confinement) = (Executor::new(), Confinement::default());
    for index in 0..runs {
        let base = dir.join(index.to_string());
        std::fs::create_dir_all(base.join("upper"))?;
        std::fs::create_dir_all(base.join("work"))?;
        let overlay = Overlay {
            lowers: vec![dir.join("lower")],
            upper: Some(Upper {
                upper: base.join("upper"),
                work: base.join("work"),
                durability: Durability::Volatile,
            }),
            userxattr: grade.uses_user_xattrs(),
        };
        let start = Instant::now();
        let root = overlay.mount_detached()?;
        let status = executor.run(
            (&step(root.as_fd(), grade), &confinement),
            &mut |_, _| {},
            &CancelToken::new(),
            &Control::new(),
        )?;
        drop(root);
        times.push(start.elapsed());
        if !status.is_success() {
            return Err(status.to_string().into());
        }
    }
    std::fs::remove_dir_all(&dir).or_else(|_| remove_work(&dir, runs))?;
    times.sort();
    let at = |percent: usize| milliseconds(times[(times.len() - 1) * percent / 100]);
    say(&format!(
        "{}: median {:.2} ms, 10 % {:.2} ms, 90 % {:.2} ms",
        grade.name(),
        at(50),
        at(10),
        at(90)
    ));
    Ok(())
}

fn remove_work(dir: &Path, runs: usize) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    for index in 0..runs {
        let work = dir.join(index.to_string()).join("work/work");
        std::fs::set_permissions(work, std::fs::Permissions::from_mode(0o700))?;
    }
    std::fs::remove_dir_all(dir)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn step(root: std::os::fd::BorrowedFd<'_>, grade: kiln_sys::namespace::Grade) -> StepSpec<'_> {
    let file = |target: &str, content: String| StepMount {
        target: target.into(),
        kind: MountKind::File {
            content: content.into_bytes(),
            mode: 0o644,
        },
    };
    StepSpec {
        root,
        grade,
        argv: vec!["/bin/true".into()],
        env: Vec::new(),
        cwd: "/".into(),
        user: User::root(),
        hostname: DEFAULT_HOSTNAME.into(),
        network: Network::Host,
        mounts: vec![
            file("/etc/hosts", hosts_file(DEFAULT_HOSTNAME, &[])),
            file("/etc/resolv.conf", "nameserver 192.0.2.1\n".into()),
        ],
        stdio: Stdio::Captured,
    }
}
