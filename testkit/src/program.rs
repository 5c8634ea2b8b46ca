//! Running a program to its end, and saying what is missing where it can't be run.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use kiln_sys::process;

/// Folders in which programs are looked for; the same for every user.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Something that this machine lacks; `Display` says what.
#[derive(Debug, Clone)]
pub struct Absent(pub String);

/// What a program left behind.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The command, as a person would type it.
    pub command: String,
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error, as text.
    pub stderr: String,
}

/// A command under construction, with a small environment of its own.
#[derive(Debug)]
pub struct Program {
    command: Command,
    input: Vec<u8>,
}

/// Prints why a test can't run here, in the form that `cargo xtask test` counts.
#[expect(
    clippy::print_stderr,
    reason = "this is how a test says that it was skipped"
)]
pub fn skip(test: &str, absent: &Absent) {
    eprintln!("skipped: {test}: {absent}");
}

/// Whether this process is root.
pub fn is_root() -> bool {
    Program::new("id").arg("-u").run().text() == "0\n"
}

/// The path of a program.
pub fn find_program(name: &str) -> Result<PathBuf, Absent> {
    let found = std::env::split_paths(PATH).map(|folder| folder.join(name));
    found
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| Absent(format!("`{name}` is not installed")))
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Program {
    /// A command that runs in `/`.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        let found = program.to_str().map(find_program);
        let path = match found {
            Some(Ok(path)) if !program.as_encoded_bytes().contains(&b'/') => path,
            _ => PathBuf::from(program),
        };
        let mut command = process::command(path, Path::new("/"));
        command.env("PATH", PATH).env("LC_ALL", "C.UTF-8");
        command.env(
            "HOME",
            std::env::var_os("HOME").unwrap_or_else(|| "/".into()),
        );
        Self {
            command,
            input: Vec::new(),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, arguments: I) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs in this folder.
    #[must_use]
    pub fn cwd(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Gives the program this on its standard input.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Runs the program to its end.
    #[track_caller]
    pub fn run(mut self) -> Finished {
        let words = std::iter::once(self.command.get_program()).chain(self.command.get_args());
        let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
        let command = words.join(" ");
        let pipes = self.command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = pipes.stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("could not run `{command}`: {error}"));
        let mut stdin = child.stdin.take().expect("it was piped");
        let input = std::mem::take(&mut self.input);
        let writer = std::thread::spawn(move || {
            // A program need not read all of its input.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().expect("the child is ours");
        writer.join().expect("writing does not panic");
        Finished {
            command,
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts the program and leaves it running; both outputs go to the file `log`.
    #[track_caller]
    pub fn start(mut self, log: &Path) -> Child {
        let file = std::fs::File::create(log).expect("the folder is ours");
        // Servers open their standard error by name, and may be another user than this one.
        let everyone = std::fs::Permissions::from_mode(0o666);
        file.set_permissions(everyone).expect("the file is ours");
        let copy = file.try_clone().expect("a file can be duplicated");
        self.command.stdin(Stdio::null()).stdout(file).stderr(copy);
        let program = self.command.get_program().to_owned();
        let child = self.command.spawn();
        child.unwrap_or_else(|error| panic!("could not start `{}`: {error}", program.display()))
    }
}

impl Finished {
    /// Whether it exited with 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Panics with everything it wrote unless it exited with 0.
    #[track_caller]
    #[must_use]
    pub fn ok(self) -> Self {
        assert!(self.success(), "{self}");
        self
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self
            .code
            .map_or_else(|| "a signal".to_owned(), |code| code.to_string());
        let stdout = self.text();
        writeln!(f, "`{}` ended with {code}", self.command)?;
        writeln!(
            f,
            "--- stdout\n{}\n--- stderr\n{}",
            stdout.trim_end(),
            self.stderr.trim_end()
        )
    }
}
