//! Programs that the host needs, the Debian packages that hold them, and why they are needed.

use std::collections::BTreeSet;

use crate::run::{self, Outcome};

/// A program, the package that brings it, and what for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    /// Looked up on `PATH`, or an absolute path that has to exist.
    pub(crate) program: &'static str,
    /// The Debian package.
    pub(crate) package: &'static str,
    /// One clause that says what for.
    pub(crate) why: &'static str,
}

const fn need(program: &'static str, package: &'static str, why: &'static str) -> Need {
    Need {
        program,
        package,
        why,
    }
}

/// What `cargo xtask quickstart` needs beyond Rust and a C compiler.
pub(crate) const QUICKSTART: &[Need] = &[
    need(
        "cc",
        "gcc",
        "compiles the C parts of SQLite and of the compression libraries",
    ),
    need(
        "mmdebstrap",
        "mmdebstrap",
        "makes the base image from Debian's packages",
    ),
    need(
        "/usr/share/keyrings/debian-archive-keyring.gpg",
        "debian-archive-keyring",
        "holds the keys that Debian's packages are signed with",
    ),
    need(
        "newuidmap",
        "uidmap",
        "gives an ordinary user the ids that a Debian image has",
    ),
];

/// What the tests need beyond that. Without one of these, the tests that use it are skipped.
pub(crate) const TESTS: &[Need] = &[
    need(
        "openssl",
        "openssl",
        "makes keys, and checks what kiln signs",
    ),
    need(
        "dockerd",
        "docker.io",
        "loads and runs our images, and builds the same files by BuildKit",
    ),
    need(
        "docker-registry",
        "docker-registry",
        "is the registry that push and pull are tested on",
    ),
    need("podman", "podman", "loads and runs our images"),
    need("runc", "runc", "is the runtime below podman and docker"),
    need(
        "skopeo",
        "skopeo",
        "reads our images as any other client would",
    ),
    need(
        "/bin/busybox",
        "busybox-static",
        "is the whole content of the smallest test base",
    ),
    need(
        "qemu-aarch64-static",
        "qemu-user-static",
        "runs the arm64 programs of an arm64 base",
    ),
    need(
        "curl",
        "curl",
        "asks whether the registries of pip and npm answer",
    ),
    need(
        "setpriv",
        "util-linux",
        "starts a test's programs as an ordinary user",
    ),
    need(
        "ssh-agent",
        "openssh-client",
        "is the agent that RUN --mount=type=ssh asks",
    ),
    need(
        "git",
        "git",
        "serves the repositories that builds fetch from loopback",
    ),
    need("zstd", "zstd", "makes the archives that ADD unpacks"),
    need("tar", "tar", "reads our archives as users do"),
    need("xz", "xz-utils", "makes the archives that ADD unpacks"),
    need("bzip2", "bzip2", "makes the archives that ADD unpacks"),
    need("e2fsck", "e2fsprogs", "checks the ext4 disks that we write"),
    need(
        "losetup",
        "mount",
        "lets the kernel mount the disks that we write",
    ),
    need(
        "fusermount3",
        "fuse3",
        "lets an ordinary user mount a disk by FUSE",
    ),
    need(
        "fsck.erofs",
        "erofs-utils",
        "checks the erofs disks that we write",
    ),
    need(
        "unsquashfs",
        "squashfs-tools",
        "reads the squashfs disks that we write",
    ),
    need(
        "cpio",
        "cpio",
        "unpacks the initial file systems that we write",
    ),
    need(
        "veritysetup",
        "cryptsetup-bin",
        "checks the hash trees of our disks",
    ),
    need(QEMU.0, QEMU.1, "boots the disks that we write"),
    need(KERNEL.0, KERNEL.1, "is the kernel that our disks boot with"),
];

/// The emulator of machines like this one, and its package.
const QEMU: (&str, &str) = if cfg!(target_arch = "aarch64") {
    ("qemu-system-aarch64", "qemu-system-arm")
} else {
    ("qemu-system-x86_64", "qemu-system-x86")
};

/// What the package of Debian's kernel for virtual machines leaves at a place without a version,
/// and the package. It neither needs a bootloader nor installs one.
const KERNEL: (&str, &str) = if cfg!(target_arch = "aarch64") {
    (
        "/usr/share/doc/linux-image-cloud-arm64",
        "linux-image-cloud-arm64",
    )
} else {
    (
        "/usr/share/doc/linux-image-cloud-amd64",
        "linux-image-cloud-amd64",
    )
};

/// What counting instructions needs.
pub(crate) const COUNTS: &[Need] = &[
    need(
        "valgrind",
        "valgrind",
        "counts the instructions of the hot paths",
    ),
    need(
        "taskset",
        "util-linux",
        "keeps what is counted on one processor",
    ),
    need(
        "/bin/busybox",
        "busybox-static",
        "is the program of a build that is counted",
    ),
];

/// What the benchmarks need beyond [`QUICKSTART`]: the peers that Debian has, and what all of them
/// build with. Without one of these, what needs it is left out.
pub(crate) const BENCH: &[Need] = &[
    need(
        "dockerd",
        "docker.io",
        "is Docker, with the BuildKit inside its daemon",
    ),
    need("buildah", "buildah", "is Buildah"),
    need(
        "runc",
        "runc",
        "is the runtime below BuildKit, Docker and Buildah",
    ),
    need(
        "docker-registry",
        "docker-registry",
        "is the registry that all of them push to and pull from",
    ),
    need(
        "/bin/busybox",
        "busybox-static",
        "is the whole content of the smallest base",
    ),
    need("tar", "tar", "unpacks what a disk is made of"),
    need(
        "mkfs.ext4",
        "e2fsprogs",
        "makes and checks the ext4 disks that ours are compared with",
    ),
    need(
        "mkfs.erofs",
        "erofs-utils",
        "makes and checks the erofs disks that ours are compared with",
    ),
    need(
        "mksquashfs",
        "squashfs-tools",
        "makes and checks the squashfs disks that ours are compared with",
    ),
    need(
        "unshare",
        "util-linux",
        "gives Kaniko a root folder of its own, and runs a build's commands without a builder",
    ),
];

/// Installs the packages of `needs` that are missing, or fails with the one line to run.
pub(crate) fn install(needs: &[Need]) -> Outcome {
    let missing: Vec<&Need> = needs.iter().filter(|need| !is_there(need)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("The host lacks:");
    for need in &missing {
        eprintln!(
            "  {} (package {}): {}",
            need.program, need.package, need.why
        );
    }
    let packages: BTreeSet<&str> = missing.iter().map(|need| need.package).collect();
    let line = packages.iter().copied().collect::<Vec<_>>().join(" ");
    let line = format!("apt-get install --yes --no-install-recommends {line}");
    if !run::on_path("apt-get") {
        return Err(
            "these are Debian's package names; install them as this system does".to_owned(),
        );
    }
    if !run::is_root() {
        return Err(format!(
            "packages are missing, and only root may install them\n\nhint: sudo {line}"
        ));
    }
    apt_get(&["update"])?;
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(packages);
    apt_get(&arguments).map_err(|message| format!("{message}\n\nhint: {line}"))
}

/// Whether the program is on this host.
pub(crate) fn is_there(need: &Need) -> bool {
    if need.program.starts_with('/') {
        return std::path::Path::new(need.program).exists();
    }
    run::on_path(need.program)
}

fn apt_get(arguments: &[&str]) -> Outcome {
    let mut command = run::command("apt-get");
    command
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    run::run(&mut command)
}
