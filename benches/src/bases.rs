//! Base images in a registry of their own: made once in a run, by kiln, from the distribution's
//! packages and this machine's programs. Their layers are gzip of one member, as registries have
//! them from other builders.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::bench::Folder;
use crate::inputs;
use crate::measure::{Invocation, complain, run};
use crate::programs::{Kiln, Registry};

/// Packages beside the distribution's smallest system, so that the whole has about 180 MB.
const PACKAGES: &str = "perl,ca-certificates";

/// How many layers the large base has above the small one.
const LAYERS: u64 = 5;

/// The bases of a run.
#[derive(Debug)]
pub(crate) struct Bases {
    registry: Registry,
    kiln: Kiln,
    small: OnceCell<Result<String, String>>,
    large: OnceCell<Result<String, String>>,
    /// Their files, by their names.
    trees: RefCell<BTreeMap<String, PathBuf>>,
}

impl Bases {
    /// An empty registry, and a kiln with a store that nobody measures.
    pub(crate) fn start(scratch: &Path) -> Result<Self, String> {
        Ok(Self {
            registry: Registry::start(scratch, "bases")?,
            kiln: Kiln::find(scratch, "kiln-home-bases")?,
            small: OnceCell::new(),
            large: OnceCell::new(),
            trees: RefCell::default(),
        })
    }

    /// The kiln that makes the bases.
    pub(crate) fn kiln(&self) -> &Kiln {
        &self.kiln
    }

    /// Host and port of the registry.
    pub(crate) fn host(&self) -> String {
        self.registry.host()
    }

    /// The name of a Debian system of one layer and about 180 MB.
    pub(crate) fn small(&self, scratch: &Path) -> Result<String, String> {
        let made = self.small.get_or_init(|| self.make_small(scratch));
        made.clone()
    }

    /// The name of an image of six layers and about 1.5 GB, or 220 MB in a quick run.
    pub(crate) fn large(&self, scratch: &Path, quick: bool) -> Result<String, String> {
        let made = self.large.get_or_init(|| self.make_large(scratch, quick));
        made.clone()
    }

    /// The files of one of them in a folder, as root sees them; for reading only.
    pub(crate) fn tree(&self, image: &str, scratch: &Path) -> Result<PathBuf, String> {
        let mut trees = self.trees.borrow_mut();
        if let Some(tree) = trees.get(image) {
            return Ok(tree.clone());
        }
        complain("  unpacking a base");
        let folder = Folder::new(&scratch.join("base-files"))?;
        inputs::write(
            &folder.path().join("Dockerfile"),
            &format!("FROM {image}\n"),
        )?;
        let archive = folder.path().join("files.tar");
        let output = format!("type=tar,dest={}", archive.display());
        let build = self.kiln.invocation().args(["build", "--output", &output]);
        run(&build.arg(folder.path()), scratch)?;
        let tree = scratch.join(format!("base-files-{}", trees.len()));
        fs::create_dir_all(&tree).map_err(|error| format!("`{}`: {error}", tree.display()))?;
        let tar = Invocation::new("tar")
            .args(["-x", "-p", "--numeric-owner", "--xattrs"])
            .args(["--xattrs-include=*", "-f"])
            .arg(archive)
            .arg("-C")
            .arg(&tree);
        run(&tar, scratch)?;
        trees.insert(image.to_owned(), tree.clone());
        Ok(tree)
    }

    fn make_small(&self, scratch: &Path) -> Result<String, String> {
        complain("  making a base from the distribution's packages");
        let kiln = self.kiln.invocation();
        let words = ["bootstrap", "--include", PACKAGES, "debian:bookworm"];
        run(&kiln.args(words), scratch)?;
        let folder = Folder::new(&scratch.join("base-small"))?;
        let dockerfile = "FROM debian:bookworm AS made\nFROM scratch\nCOPY --from=made / /\n\
                          CMD [\"/bin/bash\"]\n";
        inputs::write(&folder.path().join("Dockerfile"), dockerfile)?;
        self.push(&folder, "small", scratch)
    }

    fn make_large(&self, scratch: &Path, quick: bool) -> Result<String, String> {
        let small = self.small(scratch)?;
        complain("  making a large base");
        let folder = Folder::new(&scratch.join("base-large"))?;
        let bytes: u64 = if quick { 8_000_000 } else { 265_000_000 };
        let mut dockerfile = format!("FROM {small}\n");
        for layer in 0..LAYERS {
            let files = folder.path().join(layer.to_string());
            inputs::programs(&files, layer * bytes, bytes)?;
            let _ = writeln!(dockerfile, "COPY {layer} /opt/{layer}");
        }
        inputs::write(&folder.path().join("Dockerfile"), &dockerfile)?;
        self.push(&folder, "large", scratch)
    }

    /// Builds what is in the folder and pushes it; gives its name.
    pub(crate) fn push(
        &self,
        folder: &Folder,
        name: &str,
        scratch: &Path,
    ) -> Result<String, String> {
        let name = format!("{}/{name}:1", self.host());
        let words = ["build", "--gzip-single-member", "--push", "--tag", &name];
        let command = self.kiln.invocation().args(words).arg(folder.path());
        run(&command, scratch)?;
        Ok(name)
    }
}
