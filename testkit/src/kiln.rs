//! The kiln binary, as root and as an ordinary user.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::{Absent, Finished, Program, Scratch, find_program, is_root};

/// The ordinary user that tests run kiln as when they are root. `cargo xtask test` makes it.
const USER: &str = "kiln-test";

/// As whom kiln runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Root, with a namespace that needs no user mapping.
    Root,
    /// A user with subordinate ids.
    User,
}

/// kiln with a store of its own.
#[derive(Debug, Clone)]
pub struct Kiln {
    who: Who,
    store: PathBuf,
}

impl Who {
    /// `root` or `user`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::User => "user",
        }
    }
}

impl Kiln {
    /// kiln with the store `name`, which is made when it is first used.
    pub fn new(who: Who, name: &str) -> Result<Self, Absent> {
        match (who, is_root()) {
            (Who::Root, false) => return Err(Absent("it needs root".to_owned())),
            (Who::User, true) if !user_exists() => {
                return Err(Absent(format!("there is no user `{USER}` to run as")));
            }
            _ => {}
        }
        if !binary().exists() {
            return Err(Absent(
                "kiln is not built; `cargo build -p kiln`".to_owned(),
            ));
        }
        let home = Scratch::folder(&format!("stores-{}", who.name()));
        if who == Who::User && is_root() {
            let _ = Program::new("chown")
                .args([USER, &home.display().to_string()])
                .run()
                .ok();
        }
        let store = home.join(name);
        Ok(Self { who, store })
    }

    /// As whom it runs.
    pub fn who(&self) -> Who {
        self.who
    }

    /// The store's folder.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// A kiln command on the store; the caller adds the subcommand.
    pub fn command(&self) -> Program {
        let program = if self.who == Who::User && is_root() {
            let switch = ["--reuid", USER, "--regid", USER, "--init-groups", "--"];
            Program::new("setpriv").args(switch).arg(binary())
        } else {
            Program::new(binary())
        };
        program
            .env("HOME", self.store.parent().unwrap_or(Path::new("/")))
            .arg("--root")
            .arg(&self.store)
    }

    /// Runs a kiln command to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.command().args(arguments).run()
    }

    /// Runs a kiln command that has to succeed; gives its standard output.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        self.run(arguments).ok().text()
    }
}

fn user_exists() -> bool {
    find_program("setpriv").is_ok() && Program::new("id").arg(USER).run().success()
}

/// A copy of the binary where every user can run it: the build folder may be in a home of root's.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = std::env::current_exe().expect("a test has a path");
        // target/debug/deps/e2e-… -> target/debug/kiln
        let built = test
            .ancestors()
            .nth(2)
            .expect("it is two folders deep")
            .join("kiln");
        let copy = Scratch::folder("bin").join("kiln");
        if fs::copy(&built, &copy).is_ok() {
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        copy
    })
}
