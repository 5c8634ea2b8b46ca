//! Asking a `docker-credential-…` program.
//!
//! The protocol: the program is run with the argument `get`, reads the server's name from its
//! standard input, and writes a JSON object to its standard output.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use kiln_base::Secret;
use kiln_sys::files;
use serde::Deserialize;

use crate::Credential;

/// How long a helper may take: it may ask a key ring that asks a person.
const TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);
const MAX_OUTPUT: u64 = 64 * 1024;

/// Helpers say this, in one wording or another, when nobody logged in.
const NOT_FOUND: &str = "credentials not found";

/// The user name by which a helper says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// Why a helper gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// A name that is not a plain word.
    #[error("the name is not that of a helper")]
    Name,
    /// No such program in `PATH`.
    #[error("the program is not installed")]
    NotInstalled,
    /// It could not be run.
    #[error("the program could not be run")]
    Run(#[source] io::Error),
    /// It did not end in time.
    #[error("the program did not answer within {} seconds", TIMEOUT.as_secs())]
    Timeout,
    /// It ended with an error. What it wrote is not shown: it may hold a secret.
    #[error("the program ended with an error")]
    Failed,
    /// It wrote something else than a credential.
    #[error("the program's answer is not a credential")]
    Answer,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Asks the helper `name` for the credential of `server`.
pub(crate) fn get(
    name: &str,
    server: &str,
    environment: &[(OsString, OsString)],
) -> Result<Option<Credential>, HelperError> {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(is_word) {
        return Err(HelperError::Name);
    }
    let program =
        find(&format!("docker-credential-{name}"), environment).ok_or(HelperError::NotInstalled)?;
    let (succeeded, output) = run(&program, server, environment)?;
    if !succeeded {
        let said = String::from_utf8_lossy(&output).to_lowercase();
        return if said.contains(NOT_FOUND) {
            Ok(None)
        } else {
            Err(HelperError::Failed)
        };
    }
    let answer: Answer = serde_json::from_slice(&output).map_err(|_| HelperError::Answer)?;
    if answer.secret.is_empty() {
        return Ok(None);
    }
    let secret = Secret::new(answer.secret);
    Ok(Some(if answer.username == TOKEN_USER {
        Credential::IdentityToken(secret)
    } else {
        Credential::Password {
            user: answer.username,
            password: secret,
        }
    }))
}

fn find(program: &str, environment: &[(OsString, OsString)]) -> Option<PathBuf> {
    let (_, path) = environment
        .iter()
        .find(|(name, _)| name == OsStr::new("PATH"))?;
    std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .find(|candidate| files::exists(candidate))
}

fn run(
    program: &Path,
    server: &str,
    environment: &[(OsString, OsString)],
) -> Result<(bool, Vec<u8>), HelperError> {
    let mut child = kiln_sys::process::command(program, Path::new("/"))
        .arg("get")
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(HelperError::Run)?;
    let output = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(output) = output {
            output.take(MAX_OUTPUT).read_to_end(&mut bytes)?;
        }
        Ok::<_, io::Error>(bytes)
    });
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not read its input has answered already.
        let _ = writeln!(input, "{server}");
    }
    let succeeded = wait(&mut child)?;
    let output = reader.join().map_err(|_| HelperError::Answer)?;
    Ok((succeeded, output.map_err(HelperError::Run)?))
}

fn wait(child: &mut Child) -> Result<bool, HelperError> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(status) = child.try_wait().map_err(HelperError::Run)? {
            return Ok(status.success());
        }
        if Instant::now() >= deadline {
            child.kill().map_err(HelperError::Run)?;
            child.wait().map_err(HelperError::Run)?;
            return Err(HelperError::Timeout);
        }
        std::thread::sleep(POLL);
    }
}
