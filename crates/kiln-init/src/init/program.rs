//! Starting the program.

use std::ffi::CString;
use std::fs;
use std::io::{self, PipeWriter, Read, Write, pipe};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kiln_init::config::{Config, Program};
use kiln_init::report::{Ready, VERSION};
use kiln_init::users::{Accounts, Identity};
use kiln_sys::sandbox::{self, Forked, GroupChange};
use kiln_sys::{machine, pty};

use crate::Failure;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Everything that the child needs, made before it exists.
struct Plan {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    working_dir: PathBuf,
    identity: Identity,
    umask: u32,
}

/// What the child could not do.
#[derive(Clone, Copy)]
enum Stage {
    Directory = 1,
    User = 2,
    Execute = 3,
}

/// Starts the program, and returns when it runs.
pub(crate) fn start(config: &Config) -> Result<Ready, Failure> {
    let plan = plan(config)?;
    let failed = |error: io::Error| Failure::machine(format!("no process: {error}"));
    let (mut read, write) = pipe().map_err(failed)?;
    let pid = match sandbox::fork().map_err(failed)? {
        Forked::Child => become_program(&plan, write),
        Forked::Parent(pid) => pid.as_raw_nonzero().get(),
    };
    drop(write);
    // The pipe closes when the program replaces the child.
    let mut answer = Vec::new();
    read.read_to_end(&mut answer).map_err(failed)?;
    match answer.as_slice() {
        [] => Ok(Ready {
            version: VERSION,
            pid,
            uid: plan.identity.uid,
            gid: plan.identity.gid,
        }),
        [stage, code @ ..] => Err(explain(&plan, *stage, code)),
    }
}

fn plan(config: &Config) -> Result<Plan, Failure> {
    let program = &config.program;
    let read = |path: &str| match fs::read(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::machine(format!("`{path}`: {error}")))
        }
        result => Ok(result.unwrap_or_default()),
    };
    let (passwd, group) = (read("/etc/passwd")?, read("/etc/group")?);
    let accounts = Accounts {
        passwd: &passwd,
        group: &group,
    };
    let mut identity = accounts
        .resolve(&program.user, &program.groups)
        .map_err(|error| Failure::machine(error.to_string()))?;
    // As engines do it: a program that changes its group must not lose what that group is denied.
    identity.groups.push(identity.gid);
    identity.groups.sort_unstable();
    identity.groups.dedup();
    let working_dir = Path::new("/").join(&program.working_dir);
    fs::create_dir_all(&working_dir).map_err(|error| {
        let path = working_dir.display();
        Failure::machine(format!("the working directory `{path}`: {error}"))
    })?;
    let env = environment(config, &identity);
    let name = program.args.first().map_or("", String::as_str);
    let path = find(name, search_path(&env), &working_dir)?;
    Ok(Plan {
        path: c_string(path.as_os_str().as_bytes())?,
        args: c_strings(&program.args)?,
        env: c_strings(&env)?,
        working_dir,
        identity,
        umask: program.umask,
    })
}

/// The environment: what Docker always sets, below what the configuration says.
fn environment(config: &Config, identity: &Identity) -> Vec<String> {
    let Program { env, .. } = &config.program;
    let hostname = config
        .hostname
        .iter()
        .map(|name| format!("HOSTNAME={name}"));
    let defaults = [
        format!("PATH={DEFAULT_PATH}"),
        format!("HOME={}", identity.home),
    ];
    let mut result: Vec<String> = Vec::new();
    for variable in defaults.into_iter().chain(hostname).chain(env.clone()) {
        let Some((name, _)) = variable.split_once('=') else {
            continue;
        };
        let is_same = |known: &String| {
            known
                .split_once('=')
                .is_some_and(|(other, _)| other == name)
        };
        match result.iter().position(is_same) {
            Some(at) => result[at] = variable,
            None => result.push(variable),
        }
    }
    result
}

fn search_path(env: &[String]) -> &str {
    let found = env
        .iter()
        .find_map(|variable| variable.strip_prefix("PATH="));
    found.unwrap_or(DEFAULT_PATH)
}

/// The file that a program's name means.
fn find(name: &str, search_path: &str, working_dir: &Path) -> Result<PathBuf, Failure> {
    let mut refused = None;
    let directories: Vec<&str> = if name.contains('/') {
        vec![""]
    } else {
        search_path.split(':').collect()
    };
    for directory in directories {
        let path = working_dir.join(directory).join(name);
        match fs::metadata(&path) {
            Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => {
                return Ok(path);
            }
            Ok(_) => refused = refused.or(Some(path)),
            Err(_) => {}
        }
    }
    match refused {
        Some(path) => Err(Failure {
            code: 126,
            message: format!("`{}` is not an executable file", path.display()),
        }),
        None if name.contains('/') => Err(missing(format!("`{name}` is not on the disk"))),
        None => Err(missing(format!("`{name}` is in no directory of PATH"))),
    }
}

fn missing(message: String) -> Failure {
    Failure { code: 127, message }
}

/// The child's way to the program. Nothing here may fail without a word.
fn become_program(plan: &Plan, mut answer: PipeWriter) -> ! {
    let (stage, error) = match prepare_child(plan) {
        Err(failed) => failed,
        Ok(()) => (
            Stage::Execute,
            sandbox::exec(&plan.path, &plan.args, &plan.env),
        ),
    };
    let mut message = vec![stage as u8];
    message.extend(error.raw_os_error().unwrap_or(0).to_ne_bytes());
    // If the parent is gone, so is the machine.
    let _ = answer.write_all(&message);
    sandbox::exit_now(125)
}

fn prepare_child(plan: &Plan) -> Result<(), (Stage, io::Error)> {
    // A session of its own with the console as its terminal, where that is one: so that shells have
    // job control, and Ctrl-C reaches what runs.
    let _ = machine::new_session();
    let _ = pty::make_controlling(&io::stdin());
    machine::set_umask(plan.umask);
    std::env::set_current_dir(&plan.working_dir).map_err(|error| (Stage::Directory, error))?;
    let Identity {
        uid, gid, groups, ..
    } = &plan.identity;
    sandbox::become_user((*uid, *gid), groups, GroupChange::Allowed, u64::MAX)
        .map_err(|error| (Stage::User, error))?;
    sandbox::reset_signals();
    Ok(())
}

fn explain(plan: &Plan, stage: u8, code: &[u8]) -> Failure {
    let code = code.try_into().map_or(0, i32::from_ne_bytes);
    let error = io::Error::from_raw_os_error(code);
    let path = Path::new(std::ffi::OsStr::from_bytes(plan.path.as_bytes()));
    if stage == Stage::Directory as u8 {
        let path = plan.working_dir.display();
        return Failure::machine(format!("the working directory `{path}`: {error}"));
    }
    if stage == Stage::User as u8 {
        let user = plan.identity.uid;
        return Failure::machine(format!("becoming user {user}: {error}"));
    }
    let shown = path.display();
    match error.kind() {
        // The file itself was there.
        io::ErrorKind::NotFound => missing(match interpreter(path) {
            Some(interpreter) => {
                format!("the interpreter `{interpreter}` of `{shown}` is not on the disk")
            }
            None => format!("`{shown}` is not on the disk"),
        }),
        _ => Failure {
            code: 126,
            message: format!("`{shown}` can't be executed: {error}"),
        },
    }
}

/// What the kernel would start for this file: the program of its `#!` line, or its ELF loader.
fn interpreter(path: &Path) -> Option<String> {
    let mut head = Vec::new();
    let file = fs::File::open(path).ok()?;
    file.take(4096).read_to_end(&mut head).ok()?;
    kiln_init::interpreter::of(&head)
}

fn c_strings(texts: &[String]) -> Result<Vec<CString>, Failure> {
    texts.iter().map(|text| c_string(text.as_bytes())).collect()
}

fn c_string(bytes: &[u8]) -> Result<CString, Failure> {
    CString::new(bytes)
        .map_err(|_| Failure::machine("an argument or a variable has a zero byte in it"))
}
