//! `--sign`, and `kiln rootfs verify`.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use kiln_attest::{KeyError, SigningKey, VerifyingKey};
use kiln_base::Secret;
use kiln_engine::RootfsSign;
use kiln_oci::{Digest, Digester};
use kiln_rootfs::sign::{SignatureError, SignedFile, signed_files};
use serde_json::json;

use super::beside;
use crate::args::RootfsVerifyArgs;
use crate::commands::Invocation;
use crate::error::{Blame, CliError, Exit};
use crate::settings::Environment;
use crate::terminal::print;

/// Key files have a few hundred bytes, and envelopes a few thousand.
const LARGEST: u64 = 1 << 20;
/// How much is read at a time.
const BUFFER: usize = 1 << 20;

/// What a signature of the disk is made with: a file, or a variable as `env:NAME`.
pub(super) fn sign(
    key: &str,
    output: &Path,
    environment: &Environment,
) -> Result<RootfsSign, CliError> {
    let text = read_key(key, environment)?;
    let key = SigningKey::from_pem(&Secret::new(text)).map_err(|error| wrong_key(key, error))?;
    Ok(RootfsSign {
        key: Arc::new(key),
        path: beside(output, "sig"),
    })
}

fn read_key(key: &str, environment: &Environment) -> Result<Vec<u8>, CliError> {
    match key.strip_prefix("env:") {
        Some(name) => match environment.passed_on(name) {
            Some(text) => Ok(text.into_bytes()),
            None => Err(CliError::usage(format!("the variable `{name}` is not set"))),
        },
        None => kiln_sys::files::read_limited(environment.resolve(Path::new(key)), LARGEST)
            .map_err(CliError::usage),
    }
}

fn wrong_key(key: &str, error: KeyError) -> CliError {
    let hint = match error {
        KeyError::Encrypted => {
            "take the passphrase away, into a file that only you can read: `openssl pkey -in KEY \
             -out PLAIN`; or hand the key on by a variable: `env:NAME`"
        }
        KeyError::Private => "the public half is printed by `openssl pkey -in KEY -pubout`",
        KeyError::Public | KeyError::Unknown | KeyError::Damaged => {
            "a key is made by `openssl genpkey -algorithm ed25519 -out KEY`"
        }
    };
    CliError::usage(error)
        .about(format!("could not use the key `{key}`"))
        .hint(hint)
}

/// What became of a file that was signed.
enum Found {
    Same,
    Missing,
}

/// Whether a disk is what somebody signed.
pub(super) fn verify(
    args: &RootfsVerifyArgs,
    invocation: &Invocation,
) -> Result<ExitCode, CliError> {
    let environment = &invocation.environment;
    let disk = environment.resolve(&args.disk);
    let signature = match &args.signature {
        Some(path) => environment.resolve(path),
        None => beside(&disk, "sig"),
    };
    let text = read_key(&args.key, environment)?;
    let key = VerifyingKey::from_pem(&text).map_err(|error| wrong_key(&args.key, error))?;
    let envelope = kiln_sys::files::read_limited(&signature, LARGEST).map_err(CliError::usage)?;
    let signed = signed_files(&envelope, &key).map_err(|error| unproven(&signature, error))?;
    let (first, documents) = signed
        .split_first()
        .ok_or_else(|| different("nothing is signed"))?;
    check(&disk, first)?;
    let disk = &args.disk;
    let mut files = vec![json!({ "file": disk, "digest": first.digest.as_str(), "found": true })];
    let mut text = format!("{}: as it was signed\n", disk.display());
    for document in documents {
        let path = disk.with_file_name(&document.name);
        let place = environment.resolve(&path);
        let found = match path.file_name() {
            Some(name) if *name == *document.name && place.exists() => check(&place, document)?,
            _ => Found::Missing,
        };
        let said = match found {
            Found::Same => "as it was signed",
            Found::Missing => "signed, and not there",
        };
        _ = writeln!(text, "{}: {said}", path.display());
        let found = matches!(found, Found::Same);
        files.push(json!({ "file": path, "digest": document.digest.as_str(), "found": found }));
    }
    if args.json {
        text = format!("{:#}\n", json!({ "key": key.id(), "files": files }));
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn check(path: &Path, signed: &SignedFile) -> Result<Found, CliError> {
    let digest = digest(path)?;
    if digest == signed.digest {
        return Ok(Found::Same);
    }
    let what = format!(
        "`{}` is not what was signed: it is {digest}, and {} was",
        path.display(),
        signed.digest
    );
    Err(different(what)
        .hint("a machine that starts from a disk writes to it, unless it is told not to"))
}

fn digest(path: &Path) -> Result<Digest, CliError> {
    let mut file: File = kiln_sys::files::open(path).map_err(CliError::usage)?;
    let mut digester = Digester::sha256();
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = file.read(&mut buffer).map_err(|error| {
            CliError::new(Blame::Environment, Exit::General, error)
                .about(format!("could not read `{}`", path.display()))
        })?;
        if count == 0 {
            return Ok(digester.finish());
        }
        digester.update(&buffer[..count]);
    }
}

fn unproven(path: &Path, error: SignatureError) -> CliError {
    CliError::new(Blame::User, Exit::Different, error)
        .about(format!("`{}` does not prove anything", path.display()))
}

fn different(what: impl Into<String>) -> CliError {
    CliError::new(Blame::User, Exit::Different, what.into())
}
