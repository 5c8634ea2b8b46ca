//! What the instructions before a `RUN` say of its process, where the graph does not tell it as
//! BuildKit has it: the order of variables.
//!
//! BuildKit orders variables by where each was set last; kiln by where they were set first.

use std::collections::BTreeMap;

use kiln_dockerfile::Dockerfile;
use kiln_dockerfile::ast::{ArgDefinition, Command, Instruction};
use kiln_graph::{RunMount, RunOp, Step};

use super::Build;

/// What BuildKit adds behind all others.
const AGENT_VARIABLE: &str = "SSH_AUTH_SOCK";

/// `NAME=value` in BuildKit's order.
pub(super) fn environment(build: Build<'_>, step: &Step, op: &RunOp) -> Vec<String> {
    let mut env: Vec<&(String, String)> = op.env.iter().collect();
    let has_agent = op
        .mounts
        .iter()
        .any(|mount| matches!(mount, RunMount::Ssh { .. }));
    let agent = env.pop_if(|(name, _)| has_agent && name == AGENT_VARIABLE);
    let planned = build.builds.get(step.meta.build);
    if let (Some(planned), Some(span)) = (planned, &step.meta.span) {
        let (file, _) = kiln_dockerfile::parse(&planned.dockerfile.text);
        for name in set_before(&file, span.start, &planned.request.build_args) {
            let place = env.iter().position(|(known, _)| known == name);
            if let Some(place) = place {
                let variable = env.remove(place);
                env.push(variable);
            }
        }
    }
    env.extend(agent);
    env.iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

/// The names that are set on the way to the instruction at `offset`, each as often as it is set.
fn set_before<'f>(
    file: &'f Dockerfile,
    offset: usize,
    build_args: &BTreeMap<String, String>,
) -> Vec<&'f str> {
    let is_set = |definition: &ArgDefinition| {
        let name = &definition.name.value;
        let mut global = file.global_args.iter().flat_map(|args| &args.value);
        definition.default.is_some()
            || build_args.contains_key(name)
            || global.any(|known| known.name.value == *name)
            || name.starts_with("TARGET")
            || name.starts_with("BUILD")
    };
    let mut names = Vec::new();
    for command in commands_before(file, offset) {
        match &command.instruction {
            Instruction::Env(pairs) => names.extend(pairs.iter().map(|pair| pair.key.as_str())),
            Instruction::Arg(definitions) => {
                let set = definitions.iter().filter(|definition| is_set(definition));
                names.extend(set.map(|definition| definition.name.value.as_str()));
            }
            _ => {}
        }
    }
    names
}

/// The instructions on the way to the one at `offset`, those of the stages below first. None for a
/// trigger of a base image: what is before it stands elsewhere.
fn commands_before(file: &Dockerfile, offset: usize) -> Vec<&Command> {
    let holds = |stage: usize| {
        let mut commands = file.stages[stage].commands.iter();
        commands.any(|command| command.span.start == offset)
    };
    let Some(stage) = (0..file.stages.len()).find(|stage| holds(*stage)) else {
        return Vec::new();
    };
    let stages = on_the_way(file, stage).into_iter();
    stages
        .flat_map(|stage| &file.stages[stage].commands)
        .take_while(|command| command.span.start != offset)
        .collect()
}

/// The stages that a stage begins with, the first one first, and itself.
fn on_the_way(file: &Dockerfile, stage: usize) -> Vec<usize> {
    let mut stages = vec![stage];
    let mut at = stage;
    let base = |at: usize| {
        let wanted = &file.stages[at].from.base.value;
        (0..at).rev().find(|earlier| {
            let name = file.stages[*earlier].from.name.as_ref();
            name.is_some_and(|name| name.value.eq_ignore_ascii_case(wanted))
        })
    };
    while let Some(below) = base(at) {
        stages.push(below);
        at = below;
    }
    stages.reverse();
    stages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let (file, _) = kiln_dockerfile::parse(text);
        let offset = text.rfind("RUN").expect("a step");
        let given = BTreeMap::from([("GIVEN".to_owned(), "1".to_owned())]);
        assert_eq!(set_before(&file, offset, &given).join(" "), expected);
    }

    #[test]
    fn variables_are_set_by_the_stage_and_those_below() {
        check("FROM a\nARG A=1 B\nENV A=2 C=3\nRUN x\nENV D=4\n", "A A C");
        check(
            "ARG G=1\nFROM a AS one\nENV A=1\nFROM b\nENV B=1\nFROM One\nARG G\nARG GIVEN\nENV C=1\nRUN x",
            "A G GIVEN C",
        );
        check("FROM a\nARG TARGETARCH\nRUN x", "TARGETARCH");
    }
}
