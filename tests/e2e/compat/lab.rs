//! Where a row of the reference is tried: a context, a kiln, and builds of small Dockerfiles.
//!
//! All rows of one kind of user share a store, whose image `base` is busybox and a few users. A
//! check inside the built image is a `RUN` step: when it fails, so does the build.

use std::cell::{Cell, RefCell};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use testkit::{Absent, Finished, FlatImage, Kiln, Program, Scratch, Who, is_root, make_tree};

use super::Outcome;

/// The ordinary user of the tests; `testkit` knows the same name.
const USER: &str = "kiln-test";

const BASE: &str = r#"
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
COPY etc /etc/
"#;

/// What one row's test works with.
#[derive(Debug)]
pub(crate) struct Lab {
    /// kiln with a store that has `base`.
    pub(crate) kiln: Kiln,
    /// The build context.
    pub(crate) context: PathBuf,
    folder: PathBuf,
    slug: String,
    files: Cell<usize>,
    outcome: RefCell<Outcome>,
}

/// A `kiln build` under construction.
#[derive(Debug)]
pub(crate) struct Build<'a> {
    lab: &'a Lab,
    program: Program,
    context: Option<String>,
}

/// kiln with a store that has the image `base`, made when it is first asked for.
fn shared(who: Who) -> Result<Kiln, Absent> {
    static STORES: [OnceLock<Result<Kiln, Absent>>; 2] = [OnceLock::new(), OnceLock::new()];
    let index = usize::from(who == Who::User);
    let store = STORES[index].get_or_init(|| {
        let kiln = Kiln::new(who, "compat")?;
        make_base(&kiln, "base")?;
        Ok(kiln)
    });
    store.clone()
}

/// Builds the image of busybox and a few users in any store.
pub(crate) fn make_base(kiln: &Kiln, name: &str) -> Result<(), Absent> {
    // Rows with a store of their own come here at the same time.
    static BASES: AtomicUsize = AtomicUsize::new(0);
    let number = BASES.fetch_add(1, Ordering::Relaxed);
    let busybox = testkit::find_program("busybox")?;
    let folder = Scratch::folder(&format!("compat-base-{}-{number}", kiln.who().name()));
    make_tree(
        &folder,
        "
        etc/passwd 0644 root:x:0:0::/root:/bin/sh\\napp:x:1000:1001::/home/app:/bin/sh
        etc/group  0644 root:x:0:\\napp:x:1001:\\nextra:x:1500:app
        ",
    );
    fs::copy(busybox, folder.join("busybox")).unwrap();
    fs::write(folder.join("Dockerfile"), BASE).unwrap();
    let _ = kiln
        .command()
        .args(["build", "--tag", name])
        .arg(folder)
        .run()
        .ok();
    Ok(())
}

impl Lab {
    /// A new context for the row `slug`.
    pub(crate) fn new(who: Who, slug: &str) -> Result<Self, Absent> {
        let kiln = shared(who)?;
        let folder = Scratch::folder(&format!("compat-{slug}-{}", who.name()));
        let context = folder.join("context");
        fs::create_dir_all(&context).unwrap();
        fs::set_permissions(&context, Permissions::from_mode(0o755)).unwrap();
        Ok(Self {
            kiln,
            context,
            folder,
            slug: slug.to_owned(),
            files: Cell::new(0),
            outcome: RefCell::new(Outcome::Works),
        })
    }

    /// As whom kiln runs.
    pub(crate) fn who(&self) -> Who {
        self.kiln.who()
    }

    /// A name for images and the like that no other row uses.
    pub(crate) fn slug(&self) -> &str {
        &self.slug
    }

    /// Says that kiln does not have this, and why; the test has to show a clear error.
    pub(crate) fn missing(&self, reason: &str) {
        self.outcome.replace(Outcome::Missing(reason.to_owned()));
    }

    /// Says in what kiln differs from BuildKit here; the test has to show it.
    pub(crate) fn differs(&self, how: &str) {
        self.outcome.replace(Outcome::Differs(how.to_owned()));
    }

    /// What the row came to.
    pub(crate) fn outcome(self) -> Outcome {
        self.outcome.into_inner()
    }

    /// Writes a file of the context, readable by everyone.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        write(&self.context.join(name), content.as_ref(), 0o644);
        self
    }

    /// Makes files of the context from a text; see [`make_tree`].
    pub(crate) fn tree(&self, text: &str) -> &Self {
        make_tree(&self.context, text);
        self
    }

    /// A new folder outside the context that every user can write to.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        path
    }

    /// A new file outside the context, readable by everyone.
    pub(crate) fn outside(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder("outside").join(name);
        write(&path, content.as_ref(), 0o644);
        path
    }

    /// A kiln with an empty store of its own.
    pub(crate) fn fresh(&self, name: &str) -> Kiln {
        let name = format!("compat-{}-{name}", self.slug);
        Kiln::new(self.who(), &name).unwrap_or_else(|absent| panic!("{absent}"))
    }

    /// A program that runs as the user as whom kiln runs.
    pub(crate) fn program(&self, name: &str) -> Program {
        if self.who() == Who::User && is_root() {
            let switch = ["--reuid", USER, "--regid", USER, "--init-groups", "--"];
            Program::new("setpriv").args(switch).arg(name)
        } else {
            Program::new(name)
        }
    }

    /// Gives a folder and what is in it to the user as whom kiln runs.
    pub(crate) fn own(&self, folder: &Path) {
        if self.who() == Who::User && is_root() {
            let owner = format!("{USER}:{USER}");
            let chown = Program::new("chown").args(["-R", &owner]).arg(folder);
            let _ = chown.run().ok();
        }
    }

    /// A build of this Dockerfile with the context. Indentation common to all lines is removed.
    pub(crate) fn build(&self, dockerfile: &str) -> Build<'_> {
        self.build_by(&self.kiln, dockerfile)
    }

    /// The same on another store.
    pub(crate) fn build_by(&self, kiln: &Kiln, dockerfile: &str) -> Build<'_> {
        let number = self.files.get();
        self.files.set(number + 1);
        self.own(&self.context);
        let file = self.outside(&format!("{number}.Dockerfile"), dedent(dockerfile));
        let program = kiln.command().arg("build").arg("--file").arg(file);
        Build {
            lab: self,
            program,
            context: Some(self.context.display().to_string()),
        }
    }

    /// `kiln build` without a Dockerfile of ours: the caller says all.
    pub(crate) fn bare(&self) -> Build<'_> {
        Build {
            lab: self,
            program: self.kiln.command().arg("build"),
            context: None,
        }
    }

    /// An image's configuration.
    #[track_caller]
    pub(crate) fn config_of(&self, image: &str) -> Value {
        self.kiln.run(&["inspect", "--config", image]).ok().json()
    }

    /// An image's manifest or index.
    #[track_caller]
    pub(crate) fn manifest_of(&self, image: &str) -> Value {
        self.kiln.run(&["inspect", "--manifest", image]).ok().json()
    }
}

impl Build<'_> {
    /// Adds an argument.
    pub(crate) fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.program = self.program.arg(argument);
        self
    }

    /// Adds arguments.
    pub(crate) fn args(mut self, arguments: &[&str]) -> Self {
        self.program = self.program.args(arguments);
        self
    }

    /// Sets a variable of kiln's environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.program = self.program.env(name, value);
        self
    }

    /// Gives kiln this on standard input.
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.program = self.program.input(input);
        self
    }

    /// Runs kiln in this folder.
    pub(crate) fn cwd(mut self, folder: &Path) -> Self {
        self.program = self.program.cwd(folder);
        self
    }

    /// Another context than the row's.
    pub(crate) fn context(mut self, context: impl Into<String>) -> Self {
        self.context = Some(context.into());
        self
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run(self) -> Finished {
        let program = match self.context {
            Some(context) => self.program.arg(context),
            None => self.program,
        };
        program.run()
    }

    /// Runs it; it has to succeed.
    #[track_caller]
    pub(crate) fn ok(self) -> Finished {
        self.run().ok()
    }

    /// Runs it; it has to fail, and say all of these.
    #[track_caller]
    pub(crate) fn fails(self, parts: &[&str]) -> Finished {
        let finished = self.run();
        assert!(!finished.success(), "it succeeded: {finished}");
        assert!(finished.code.is_some(), "it crashed: {finished}");
        for part in parts {
            assert!(finished.stderr.contains(part), "no {part:?} in: {finished}");
        }
        finished
    }

    /// Runs it; gives the image's configuration.
    #[track_caller]
    pub(crate) fn config(self) -> Value {
        let lab = self.lab;
        let image = format!("{}-config-{}", lab.slug, lab.files.get());
        let _ = self.args(&["--tag", &image]).ok();
        lab.config_of(&image)
    }

    /// Runs it; gives the image's files.
    #[track_caller]
    pub(crate) fn flat(self) -> FlatImage {
        let built = self.args(&["--output", "type=docker,dest=-"]).ok();
        FlatImage::from_docker_archive(&built.stdout)
    }
}

fn write(path: &Path, content: &[u8], mode: u32) {
    let folder = path.parent().unwrap();
    if !folder.exists() {
        fs::create_dir_all(folder).unwrap();
        fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(path, content).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The text without the indentation that all of its lines have.
pub(crate) fn dedent(text: &str) -> String {
    let text = text.strip_prefix('\n').unwrap_or(text);
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let common = lines.map(indent).min().unwrap_or(0);
    let lines = text.lines();
    let lines = lines.map(|line| line.get(common..).unwrap_or_else(|| line.trim_start()));
    lines.flat_map(|line| [line, "\n"]).collect()
}
