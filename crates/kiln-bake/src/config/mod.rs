//! What the files say together: variables, functions, groups and targets.

mod block;
mod decode;
mod function;
mod schema;
mod variable;
mod world;

use world::Program;

use crate::input::BakeInput;
use crate::source::{Fault, Outcome, did_you_mean};
use crate::syntax::ast::{Block, Body};
use crate::target::{Group, Target};

/// A variable as `--list variables` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The declared type; empty if there is none.
    pub ty: String,
    /// The value as text; none for null.
    pub value: Option<String>,
}

/// Groups and targets as they are declared, before anything is inherited.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub(crate) groups: Vec<Group>,
    pub(crate) targets: Vec<Target>,
    pub(crate) variables: Vec<Variable>,
    pub(crate) warnings: Vec<Fault>,
}

const KINDS: [&str; 4] = ["target", "group", "variable", "function"];

/// Reads bodies on top of what compose files said.
pub(crate) fn read(
    input: &BakeInput,
    names: &[String],
    bodies: &[(usize, Body)],
    config: &mut Config,
) -> Outcome<()> {
    let program = Program::new(input, bodies)?;
    config.variables = program.all_variables()?;
    program.check_functions()?;
    let blocks: Vec<&Block> = bodies.iter().flat_map(|(_, body)| &body.blocks).collect();
    for block in &blocks {
        if !KINDS.contains(&block.kind.as_str()) {
            return Err(
                Fault::at(block.kind_span, format!("unknown block `{}`", block.kind))
                    .hint(did_you_mean(&block.kind, KINDS)),
            );
        }
    }
    let instances = program.expand(&blocks)?;
    for instance in &instances {
        if instance.kind == "group" {
            let group = program.group(instance)?;
            match config
                .groups
                .iter_mut()
                .find(|other| other.name == group.name)
            {
                Some(other) => *other = group,
                None => config.groups.push(group),
            }
        } else {
            let file = instance.block.kind_span.file;
            let target = program.target(instance, names.get(file).map_or("", String::as_str))?;
            match config
                .targets
                .iter_mut()
                .find(|other| other.name == target.name)
            {
                Some(other) => other.merge(target),
                None => config.targets.push(target),
            }
        }
    }
    config.groups.extend(program.matrix_groups());
    config.warnings = program.warnings.take();
    program.check_attributes()
}
