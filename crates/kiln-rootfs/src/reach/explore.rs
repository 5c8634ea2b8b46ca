//! The way from a command to all that it needs.

use std::collections::BTreeSet;

use kiln_disk::{Contents, Node, NodeId, Tree};

use super::error::Problem;
use super::loader::Loader;
use super::{Command, Fact, Kind, Need, Reach, ReachError, script};
use crate::elf::{self, Elf};
use crate::paths::{self, Found, Last, LookupError, Reader};

/// Linux's limit of interpreters that are scripts.
const MAX_SCRIPTS: usize = 5;
/// How much of a script is read for its commands.
const MAX_SCRIPT: u64 = 64 << 10;
/// How many needs are followed; real programs have some hundreds.
const MAX_FACTS: usize = 20_000;
/// Linux reads so much of a script's first line.
const MAX_FIRST_LINE: u64 = 256;

/// Follows everything. The error is the first that keeps the command from starting.
pub(super) fn explore(
    tree: &Tree,
    contents: &dyn Contents,
    command: &Command,
) -> (Reach, Option<ReachError>) {
    let mut explorer = Explorer {
        tree,
        contents,
        command,
        loader: Loader::new(tree, contents, command),
        reach: Reach::default(),
        seen: BTreeSet::new(),
        run: BTreeSet::new(),
        pending: Vec::new(),
    };
    let error = explorer.start().err();
    explorer.follow_pending();
    (explorer.reach, error)
}

/// A program that something else may start.
struct Pending {
    found: Found,
    is_proven: bool,
}

pub(super) struct Explorer<'a> {
    pub(super) tree: &'a Tree,
    pub(super) contents: &'a dyn Contents,
    pub(super) command: &'a Command,
    loader: Loader<'a>,
    reach: Reach,
    seen: BTreeSet<Need>,
    /// Programs that were followed.
    run: BTreeSet<(Vec<u8>, bool)>,
    pending: Vec<Pending>,
}

impl Explorer<'_> {
    fn start(&mut self) -> Result<(), ReachError> {
        let Some((program, arguments)) = self.command.arguments.split_first() else {
            return Err(ReachError::NoCommand);
        };
        let found = self.find_program(program);
        self.record(b"", Kind::Program, program, found.as_ref().ok(), true);
        let found = found?;
        self.arguments(&found, arguments);
        self.run(&found, 0, true)
    }

    /// Programs and files that arguments name. A shell's `-c` is a script of its own.
    fn arguments(&mut self, program: &Found, arguments: &[Vec<u8>]) {
        let is_shell = script::is_shell(paths::base_name(&program.path));
        let mut is_text = false;
        for argument in arguments {
            if is_shell && is_text {
                self.script_text(&program.path, argument);
                is_text = false;
                continue;
            }
            if argument.starts_with(b"-") {
                is_text = !argument.starts_with(b"--") && argument.ends_with(b"c");
                continue;
            }
            if argument.is_empty() || argument.len() > 4096 {
                continue;
            }
            let directory = &self.command.directory;
            let found = paths::find(self.tree, directory, argument, Last::Follow)
                .ok()
                .filter(|found| found.id != Tree::ROOT)
                .or_else(|| self.find_program(argument).ok());
            let Some(found) = found else {
                continue;
            };
            self.record(b"", Kind::Argument, argument, Some(&found), true);
            self.push(found, true);
        }
    }

    fn follow_pending(&mut self) {
        while let Some(pending) = self.pending.pop() {
            if self.reach.facts.len() > MAX_FACTS {
                self.reach
                    .notes
                    .push("not all that scripts run was followed".to_owned());
                return;
            }
            if let Err(error) = self.run(&pending.found, 0, pending.is_proven) {
                self.reach.notes.push(error.to_string());
            }
        }
    }

    /// Has a program followed later, if it is one.
    fn push(&mut self, found: Found, is_proven: bool) {
        let inode = self.tree.inode(found.id);
        let is_program = matches!(inode.node, Node::File(_)) && inode.attributes.mode & 0o111 != 0;
        if is_program {
            self.pending.push(Pending { found, is_proven });
        }
    }

    /// As `execvp` finds it.
    fn find_program(&self, name: &[u8]) -> Result<Found, ReachError> {
        let directory = &self.command.directory;
        if name.contains(&b'/') {
            return paths::find(self.tree, directory, name, Last::Follow).map_err(|cause| {
                ReachError::NotFound {
                    name: text(name),
                    cause,
                }
            });
        }
        let path = self.command.path();
        let folders = path.split(|byte| *byte == b':');
        let mut files = folders.filter_map(|folder| {
            let path = paths::join(folder, name);
            let found = paths::find(self.tree, directory, &path, Last::Follow).ok()?;
            let inode = self.tree.inode(found.id);
            let is_program =
                matches!(inode.node, Node::File(_)) && inode.attributes.mode & 0o111 != 0;
            is_program.then_some(found)
        });
        files
            .next()
            .filter(|_| !name.is_empty())
            .ok_or_else(|| ReachError::NotInPath {
                name: text(name),
                path: text(path),
            })
    }

    /// Follows a program, as `execve` would run it.
    fn run(&mut self, found: &Found, depth: usize, is_proven: bool) -> Result<(), ReachError> {
        let path = text(&found.path);
        if depth > MAX_SCRIPTS {
            return Err(ReachError::TooDeep { path });
        }
        let inode = self.tree.inode(found.id);
        if !matches!(inode.node, Node::File(_)) {
            return Err(ReachError::NotAFile { path });
        }
        let mode = inode.attributes.mode;
        if mode & 0o111 == 0 {
            return Err(ReachError::NotExecutable { path, mode });
        }
        let read = |cause| ReachError::Read {
            path: path.clone(),
            cause,
        };
        let reader = Reader::open(self.tree, self.contents, found.id).map_err(read)?;
        let head = reader.head(MAX_FIRST_LINE).map_err(read)?;
        if head.starts_with(elf::MAGIC) {
            let elf = elf::read(&reader).map_err(|cause| ReachError::Broken {
                path: path.clone(),
                cause,
            })?;
            return elf.map_or(Ok(()), |elf| self.run_elf(found, elf, is_proven));
        }
        match script::first_line(&head) {
            // A script that something runs again was followed; one that is its own interpreter is not
            // done with before the limit.
            Some(_) if depth == 0 && self.was_run(found, is_proven) => Ok(()),
            Some(line) => {
                let line = line.to_vec();
                self.run_script(found, &line, depth, is_proven)
            }
            None => Err(ReachError::UnknownFormat { path }),
        }
    }

    /// Whether a program was followed before; from now on it was.
    fn was_run(&mut self, found: &Found, is_proven: bool) -> bool {
        !self.run.insert((found.path.clone(), is_proven))
    }

    fn run_elf(&mut self, found: &Found, elf: Elf, is_proven: bool) -> Result<(), ReachError> {
        let wanted = self.command.platform.normalized().architecture;
        if let Some(architecture) = elf.target.architecture()
            && architecture != wanted
            // A processor of 64 bits runs programs of 32, too.
            && !matches!((architecture, wanted.as_str()), ("386", "amd64") | ("arm", "arm64"))
        {
            return Err(ReachError::Architecture {
                path: text(&found.path),
                found: elf.target,
                wanted,
            });
        }
        let Some(name) = elf.interpreter.clone() else {
            return Ok(());
        };
        if self.was_run(found, is_proven) {
            return Ok(());
        }
        let interpreter = self.interpreter(found, &name, is_proven)?;
        self.check_loader(found, &name, &interpreter, &elf)?;
        let mut missing = None;
        for (need, library) in self.loader.load(found, elf, &interpreter) {
            if library.is_none() && missing.is_none() {
                missing = Some((text(&need.by), text(&need.name)));
            }
            self.record_need(need, library.as_ref(), is_proven);
        }
        match missing {
            Some((path, library)) => Err(ReachError::NoLibrary { path, library }),
            None => Ok(()),
        }
    }

    fn interpreter(
        &mut self,
        found: &Found,
        name: &[u8],
        is_proven: bool,
    ) -> Result<Found, ReachError> {
        let directory = &self.command.directory;
        let interpreter = paths::find(self.tree, directory, name, Last::Follow);
        let there = interpreter.as_ref().ok();
        self.record(&found.path, Kind::Interpreter, name, there, is_proven);
        interpreter.map_err(|cause: LookupError| ReachError::NoInterpreter {
            path: text(&found.path),
            interpreter: text(name),
            cause,
        })
    }

    /// What loads an ELF file must be one itself, and for the same processor.
    fn check_loader(
        &self,
        found: &Found,
        name: &[u8],
        loader: &Found,
        elf: &Elf,
    ) -> Result<(), ReachError> {
        let problem = match self.read_elf(loader.id) {
            _ if !matches!(self.tree.inode(loader.id).node, Node::File(_)) => Problem::NotAFile,
            // Linux asks no such bit of a loader's file, but of every program it does.
            _ if self.tree.inode(loader.id).attributes.mode & 0o111 == 0 => Problem::NotExecutable,
            Ok(Some(other)) if other.target == elf.target => return Ok(()),
            Ok(Some(other)) => Problem::Architecture(other.target),
            Ok(None) => Problem::NotElf,
            Err(()) => Problem::Broken,
        };
        Err(ReachError::BadInterpreter {
            path: text(&found.path),
            interpreter: text(name),
            problem,
        })
    }

    fn read_elf(&self, id: NodeId) -> Result<Option<Elf>, ()> {
        let reader = Reader::open(self.tree, self.contents, id).map_err(|_| ())?;
        elf::read(&reader).map_err(|_| ())
    }

    fn run_script(
        &mut self,
        found: &Found,
        line: &[u8],
        depth: usize,
        is_proven: bool,
    ) -> Result<(), ReachError> {
        let (name, argument) = script::interpreter(line);
        if name.is_empty() {
            return Err(ReachError::UnknownFormat {
                path: text(&found.path),
            });
        }
        let interpreter = self.interpreter(found, name, is_proven)?;
        self.run(&interpreter, depth + 1, is_proven)?;
        let mut runs = paths::base_name(name).to_vec();
        if runs == b"env"
            && let Some(program) = script::program_of_env(argument)
        {
            let real = self.find_program(program);
            let there = real.as_ref().ok();
            self.record(&found.path, Kind::Interpreter, program, there, is_proven);
            let Ok(real) = real else {
                return Err(ReachError::NoProgramOfEnv {
                    path: text(&found.path),
                    program: text(program),
                });
            };
            self.run(&real, depth + 1, is_proven)?;
            runs = paths::base_name(program).to_vec();
        }
        if script::is_shell(&runs) {
            let reader = Reader::open(self.tree, self.contents, found.id).ok();
            let head = reader.and_then(|reader| reader.head(MAX_SCRIPT).ok());
            self.script_text(&found.path, &head.unwrap_or_default());
        }
        Ok(())
    }

    /// Notes what a shell script seems to run, where that is there.
    fn script_text(&mut self, by: &[u8], script: &[u8]) {
        for name in script::commands(script) {
            if let Ok(found) = self.find_program(&name) {
                self.record(by, Kind::ScriptCommand, &name, Some(&found), false);
                self.push(found, false);
            }
        }
    }

    fn record(
        &mut self,
        by: &[u8],
        kind: Kind,
        name: &[u8],
        found: Option<&Found>,
        is_proven: bool,
    ) {
        let need = Need {
            by: by.to_vec(),
            kind,
            name: name.to_vec(),
        };
        self.record_need(need, found, is_proven);
    }

    fn record_need(&mut self, need: Need, found: Option<&Found>, is_proven: bool) {
        if !self.seen.insert(need.clone()) {
            // What a script seems to run may turn out to be needed for sure.
            if is_proven
                && let Some(known) = self.reach.facts.iter_mut().find(|fact| fact.need == need)
            {
                known.is_proven = true;
            }
            return;
        }
        self.reach.facts.push(Fact {
            need,
            found: found.map(|found| found.path.clone()),
            links: found.map(|found| found.links.clone()).unwrap_or_default(),
            is_proven,
        });
    }
}

/// Bytes as an error shows them.
fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
