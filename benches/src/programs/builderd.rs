//! An image as an ext4 the way builderd made one: Docker holds the image and gives its files as an
//! archive, and the distribution's programs make a file system of them.
//!
//! Deliberately absent: the patterns that builderd could remove; kiln is not asked to, either.

use std::path::{Path, PathBuf};

use super::docker::Docker;
use super::{DiskJob, version, which};
use crate::measure::{self, Invocation};

/// Makes the disk `$7` of the image `$5` by way of the folder `$6`, with the client `$1`, `mkfs.ext4`
/// `$2` and `e2fsck` `$3`; `$4` is the init that goes into it. Sizes are builderd's: a fifth more
/// than the files, and not below 100 MiB.
const MAKE: &str = r#"
docker=$1 mkfs=$2 e2fsck=$3 init=$4 image=$5 tree=$6 disk=$7
container=$("$docker" create "$image")
"$docker" inspect --format '{{json .Config}}' "$container" > "$disk.metadata.json"
mkdir "$tree"
"$docker" export "$container" | tar -x -f - -C "$tree"
"$docker" rm "$container"
cp "$init" "$tree/usr/bin/metald-init"
cp "$disk.metadata.json" "$tree/container.cmd"
cp "$disk.metadata.json" "$tree/container.env"
size=$(du -s -B 1 "$tree" | cut -f 1)
size=$((size + size / 5))
[ "$size" -ge 104857600 ] || size=104857600
truncate -s "$size" "$disk"
"$mkfs" -F -d "$tree" "$disk"
"$e2fsck" -f -y "$disk"
chmod 0644 "$disk"
"#;

/// Docker's client, and the programs that come after it.
#[derive(Debug)]
pub(crate) struct Builderd {
    client: Invocation,
    mkfs: PathBuf,
    e2fsck: PathBuf,
    /// What goes onto the disk as its init: a program of about the same size.
    init: PathBuf,
}

impl Builderd {
    /// With the daemon of a Docker, that has to live as long.
    pub(crate) fn find(docker: &Docker) -> Result<Self, String> {
        which("tar")?;
        Ok(Self {
            client: docker.client(),
            mkfs: which("mkfs.ext4")?,
            e2fsck: which("e2fsck")?,
            init: which("busybox")?,
        })
    }

    pub(crate) fn describe(&self) -> (Result<String, String>, String) {
        let docker = version(&self.client.clone().arg("--version"));
        let mkfs = version(&Invocation::new(&self.mkfs).arg("-V"));
        let version = docker.and_then(|docker| Ok(format!("{docker}; {}", mkfs?)));
        let settings = "`docker create`, `docker export | tar -x` with a warm `dockerd`, an init \
                        and the image's configuration added, `mkfs.ext4 -F -d` on a sparse file \
                        of the files' size and a fifth, `e2fsck -f -y`; as root";
        (version, settings.to_owned())
    }

    /// The command that makes an ext4 of an image that the daemon has.
    pub(crate) fn disk(&self, job: &DiskJob<'_>) -> Invocation {
        let words = ["/bin/sh", "-ec", MAKE, "builderd"].map(Into::into);
        let made = Invocation {
            words: words.into(),
            ..self.client.clone()
        };
        made.args(self.client.words.first())
            .arg(&self.mkfs)
            .arg(&self.e2fsck)
            .arg(&self.init)
            .arg(job.image)
            .arg(job.folder.join("tree"))
            .arg(job.path())
    }

    pub(crate) fn reset(&self, scratch: &Path) -> Result<(), String> {
        // What a run that failed has left; images that are in use would stay.
        for what in ["container", "image"] {
            let all: &[&str] = if what == "image" { &["--all"] } else { &[] };
            let prune = self.client.clone().args([what, "prune", "--force"]);
            measure::run(&prune.args(all.iter().copied()), scratch)?;
        }
        Ok(())
    }
}
