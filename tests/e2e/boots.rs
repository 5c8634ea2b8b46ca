//! Real images as disks that machines boot: what each program says, its exit code and its user.
//!
//! The images are made by kiln from Debian's packages, the machines by QEMU with Debian's kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use testkit::{Absent, Kiln, Scratch, Who, find_program};

use crate::base;

/// What the programs of these tests run on, and a user for them.
const BASE: &str = "\
FROM debian:bookworm
RUN apt-get update \\
 && apt-get install --yes --no-install-recommends \\
    nginx-light nodejs python3-minimal systemd-sysv \\
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /usr/share/doc \\
 && groupadd --gid 1500 crew \\
 && useradd --uid 1000 --groups crew --create-home app
";

/// Enough for a busy machine without KVM.
pub(crate) const PATIENCE: &str = "--verify-timeout=300";

/// An image, and what is to be done with it.
pub(crate) struct Image<'a> {
    pub(crate) dockerfile: &'a str,
    /// Files beside the Dockerfile.
    pub(crate) files: &'a [(&'a str, &'a str)],
    /// Words for `kiln rootfs`.
    pub(crate) words: &'a [&'a str],
}

/// A disk that booted.
pub(crate) struct Booted {
    pub(crate) manifest: Value,
    console: String,
}

/// Whether there is what makes machines.
pub(crate) fn find_machine() -> Result<(), Absent> {
    let program = if cfg!(target_arch = "aarch64") {
        "qemu-system-aarch64"
    } else {
        "qemu-system-x86_64"
    };
    find_program(program).map(drop)
}

/// kiln with the base image in its store.
fn kiln() -> Result<Kiln, Absent> {
    static BUILT: OnceLock<()> = OnceLock::new();
    find_machine()?;
    let kiln = base::with_base(Who::Root)?;
    BUILT.get_or_init(|| build(&kiln, "boots-base", BASE, &[]));
    Ok(kiln)
}

#[track_caller]
fn build(kiln: &Kiln, name: &str, dockerfile: &str, files: &[(&str, &str)]) {
    let context = Scratch::folder(&format!("{name}-context"));
    fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    for (name, text) in files {
        fs::write(context.join(name), text).unwrap();
    }
    if dockerfile.contains("COPY busybox") {
        fs::copy("/bin/busybox", context.join("busybox")).unwrap();
    }
    let _ = kiln
        .command()
        .args(["build", "-q", "-t", name])
        .arg(&context)
        .run()
        .ok();
}

/// Where a test's disk is, and its image's name.
fn place() -> (PathBuf, String) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    (
        Scratch::folder(&format!("boots-{number}")),
        format!("boots-app-{number}"),
    )
}

/// Builds the image, makes a disk of it and boots that.
#[track_caller]
fn boot(image: &Image<'_>) -> Result<Booted, Absent> {
    boot_as(image, "ext4")
}

/// The same with a disk of another format.
#[track_caller]
pub(crate) fn boot_as(image: &Image<'_>, extension: &str) -> Result<Booted, Absent> {
    let kiln = if image.dockerfile.starts_with("FROM scratch") {
        find_machine()?;
        find_program("busybox")?;
        Kiln::new(Who::Root, "boots")?
    } else {
        kiln()?
    };
    let (folder, name) = place();
    build(&kiln, &name, image.dockerfile, image.files);
    Ok(boot_disk(
        &kiln,
        &name,
        &folder.join(format!("disk.{extension}")),
        image.words,
    ))
}

#[track_caller]
fn boot_disk(kiln: &Kiln, name: &str, disk: &Path, words: &[&str]) -> Booted {
    let made = kiln
        .command()
        .args(["rootfs", name, "--json", PATIENCE, "-o"]);
    let made = made.arg(disk).args(words).run().ok();
    let manifest = made.json();
    let _ = fs::remove_file(disk);
    Booted {
        console: made.stderr.clone(),
        manifest,
    }
}

/// What a program said, who it was, and how it ended.
#[track_caller]
pub(crate) fn check(booted: &Booted, said: &[&str], ids: [u32; 2], code: i32) {
    let report = &booted.manifest["boot"];
    for text in said {
        assert!(booted.console.contains(text), "{text}: {}", booted.console);
    }
    assert_eq!([&report["uid"], &report["gid"]], ids, "{report}");
    assert_eq!(report["exit_code"], code, "{report}");
}

#[test]
fn a_static_program_boots() {
    base::run("boots::a_static_program_boots", || {
        find_program("busybox")?;
        let booted = boot(&Image {
            dockerfile: "\
FROM scratch
COPY busybox /bin/busybox
USER 1234:5678
WORKDIR /work
ENV GREETING=\"hello  static\"
ENTRYPOINT [\"/bin/busybox\", \"sh\", \"-c\"]
CMD [\"echo $(busybox id -u):$(busybox id -g) $(pwd) \\\"$GREETING\\\"; exit 41\"]
",
            files: &[],
            words: &["--verify=boot,exit=41"],
        })?;
        check(
            &booted,
            &["1234:5678 /work hello  static"],
            [1234, 5678],
            41,
        );
        Ok(())
    });
}

#[test]
fn debian_with_a_shell_script_boots() {
    base::run("boots::debian_with_a_shell_script_boots", || {
        let script = "\
#!/bin/bash
echo \"script: $(id -un) $(id -Gn) in $PWD, $HOME, $GREETING, $#:$2\"
read -r line < /etc/debian_version && echo \"debian ${line%%.*}\"
touch here && ls -l here | cut -d' ' -f3
exit 7
";
        let booted = boot(&Image {
            dockerfile: "\
FROM boots-base
COPY --chmod=755 run.sh /usr/local/bin/run
WORKDIR /srv/app
RUN chown app: .
ENV GREETING=\"hello script\"
USER app
ENTRYPOINT [\"run\"]
CMD [\"one\", \"two words\"]
",
            files: &[("run.sh", script)],
            words: &["--free=8M", "--verify=boot,exit=7"],
        })?;
        let said = "script: app app crew in /srv/app, /home/app, hello script, 2:two words";
        check(&booted, &[said, "debian 12"], [1000, 1000], 7);
        Ok(())
    });
}

#[test]
fn python_boots() {
    base::run("boots::python_boots", || {
        let program = "\
import os, sys
print('python', os.getuid(), sorted(os.getgroups()), os.getcwd(), os.environ['GREETING'])
print('root of', os.environ['HOME'], os.getppid(), file=sys.stderr)
sys.exit(5)
";
        let booted = boot(&Image {
            dockerfile: "\
FROM boots-base
WORKDIR /srv/python
COPY app.py .
ENV GREETING=\"hello python\" PYTHONUNBUFFERED=1
USER app:crew
CMD [\"python3\", \"app.py\"]
",
            files: &[("app.py", program)],
            words: &["--verify=boot,exit=5"],
        })?;
        let said = [
            "python 1000 [1500] /srv/python hello python",
            "root of /home/app 1",
        ];
        check(&booted, &said, [1000, 1500], 5);
        Ok(())
    });
}

#[test]
fn node_boots() {
    base::run("boots::node_boots", || {
        let program = "\
const report = [process.getuid(), process.getgroups().sort().join(), process.cwd(), process.env.GREETING];
console.log('node', report.join(' '));
require('net').createServer().listen(8080, () => process.exit(9));
";
        let booted = boot(&Image {
            dockerfile: "\
FROM boots-base
WORKDIR /srv/node
COPY app.js .
ENV GREETING=\"hello node\"
USER app
ENTRYPOINT [\"node\", \"app.js\"]
",
            files: &[("app.js", program)],
            words: &["--verify=boot,exit=9"],
        })?;
        let said = "node 1000 1000,1500 /srv/node hello node";
        check(&booted, &[said], [1000, 1000], 9);
        Ok(())
    });
}

#[test]
fn nginx_boots_and_answers() {
    base::run("boots::nginx_boots_and_answers", || {
        let kiln = kiln()?;
        let (folder, name) = place();
        let dockerfile = "\
FROM boots-base
COPY ask /usr/local/bin/ask
RUN chmod 755 /usr/local/bin/ask && echo 'hello nginx' > /var/www/html/index.html
EXPOSE 80
STOPSIGNAL SIGQUIT
CMD [\"nginx\", \"-g\", \"daemon off;\"]
";
        let ask = "\
#!/bin/bash
nginx
exec 3<>/dev/tcp/127.0.0.1/80
printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3
cat <&3
for process in /proc/[0-9]*; do
    grep -qs 'nginx: worker' $process/cmdline && echo \"worker: $(stat -c %U $process)\"
done
nginx -s quit
";
        build(&kiln, &name, dockerfile, &[("ask", ask)]);
        let disk = folder.join("disk.ext4");
        let booted = boot_disk(&kiln, &name, &disk, &["--free=8M", "--verify=boot,port=80"]);
        assert_eq!(booted.manifest["boot"]["uid"], 0);
        let asked = ["--free=8M", "--entrypoint=ask", "--verify=boot,exit=0"];
        let booted = boot_disk(&kiln, &name, &disk, &asked);
        let said = ["HTTP/1.1 200 OK", "hello nginx", "worker: www-data"];
        check(&booted, &said, [0, 0], 0);
        Ok(())
    });
}

#[test]
fn systemd_boots_and_starts_the_program() {
    base::run("boots::systemd_boots_and_starts_the_program", || {
        let booted = boot(&Image {
            dockerfile: "\
FROM boots-base
WORKDIR /srv/unit
ENV GREETING=\"hello  $ 100% unit\"
USER app
ENTRYPOINT [\"/bin/sh\", \"-c\"]
CMD [\"echo $(cat /proc/1/comm): $(id -un) $(id -Gn) $(pwd) \\\"$GREETING\\\"; exit 6\"]
",
            files: &[],
            words: &["--free=32M", "--init=systemd", "--verify=boot,exit=6"],
        })?;
        let said = "systemd: app app crew /srv/unit hello  $ 100% unit";
        check(&booted, &[said], [1000, 1000], 6);
        Ok(())
    });
}

#[test]
fn a_custom_init_boots() {
    base::run("boots::a_custom_init_boots", || {
        let (folder, _) = place();
        let script = folder.join("own-init");
        let text = "#!/bin/sh\necho \"own init: process $$ of $(id -un)\"\nexec sleep 1000\n";
        fs::write(&script, text).unwrap();
        let script = format!("--init-script={}", script.display());
        let booted = boot(&Image {
            dockerfile: "FROM boots-base\nCMD [\"nothing\"]\n",
            files: &[],
            words: &[
                "--init=custom",
                "--init-path=/sbin/own-init",
                &script,
                "--verify=boot,output=own init: process 1 of root",
            ],
        })?;
        assert_eq!(booted.manifest["kernel"]["init"], "/sbin/own-init");
        assert_eq!(booted.manifest["boot"]["uid"], Value::Null);
        Ok(())
    });
}

#[test]
fn a_wrong_exit_code_makes_no_disk() {
    base::run("boots::a_wrong_exit_code_makes_no_disk", || {
        let kiln = kiln()?;
        let (folder, name) = place();
        build(
            &kiln,
            &name,
            "FROM boots-base\nCMD [\"sh\", \"-c\", \"exit 3\"]\n",
            &[],
        );
        let made = kiln
            .command()
            .args(["rootfs", &name, PATIENCE, "--verify=boot,exit=0", "-o"]);
        let made = made.arg(folder.join("disk.ext4")).run();
        assert_eq!(made.code, Some(2), "{made}");
        let why = "the program ended with exit code 3, and exit code 0 was asked for";
        assert!(made.to_string().contains(why), "{made}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        Ok(())
    });
}
