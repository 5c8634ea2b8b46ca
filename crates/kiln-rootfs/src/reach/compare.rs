//! What a change of a tree took from a program.

use std::collections::BTreeMap;
use std::fmt;

use super::{Kind, Need, Reach};
use crate::optimise::{Report, Rule};

/// Something that could be found before and can't be found any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// What was needed, and by what.
    pub need: Need,
    /// Where it was, from the root.
    pub was: Vec<u8>,
    /// What took it, if a rule did.
    pub rule: Option<Rule>,
}

/// Why an optimisation is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Losses {
    /// What is lost; never empty, and what was needed first comes first.
    pub lost: Vec<Lost>,
}

/// Compares what a program needs before and after an optimisation. Returns notes about losses that
/// are not proven to matter.
///
/// # Errors
///
/// If the program lost anything that it needs for sure.
pub fn compare(before: &Reach, after: &Reach, report: &Report) -> Result<Vec<String>, Losses> {
    let found: BTreeMap<&Need, bool> = after
        .facts
        .iter()
        .map(|fact| (&fact.need, fact.found.is_some()))
        .collect();
    let mut lost = Vec::new();
    let mut notes = Vec::new();
    for fact in &before.facts {
        let Some(was) = &fact.found else {
            continue;
        };
        if found.get(&fact.need).copied().unwrap_or(false) {
            continue;
        }
        let routes = [was].into_iter().chain(&fact.links);
        let gone = Lost {
            need: fact.need.clone(),
            was: was.clone(),
            rule: routes.into_iter().find_map(|path| report.rule_of(path)),
        };
        if fact.is_proven {
            lost.push(gone);
        } else {
            notes.push(gone);
        }
    }
    for all in [&mut lost, &mut notes] {
        // What is gone with the file that needed it says nothing new.
        if all.iter().any(|gone| gone.rule.is_some()) {
            all.retain(|gone| gone.rule.is_some());
        }
    }
    if lost.is_empty() {
        Ok(notes.iter().map(Lost::to_string).collect())
    } else {
        Err(Losses { lost })
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (by, name) = (self.need.by.escape_ascii(), self.need.name.escape_ascii());
        match self.need.kind {
            Kind::Program => write!(f, "the command's program `{name}`")?,
            Kind::Argument => write!(f, "`{name}`, which the command names,")?,
            Kind::Interpreter => write!(f, "`{name}`, the interpreter of `/{by}`,")?,
            Kind::Library => write!(f, "the library `{name}` of `/{by}`")?,
            Kind::ScriptCommand => write!(f, "`{name}`, which `/{by}` seems to run,")?,
        }
        match self.rule {
            Some(rule) => write!(f, " was removed by the rule `{rule}`")?,
            None => f.write_str(" can't be found any more")?,
        }
        let was = self.was.escape_ascii().to_string();
        if was.as_bytes() == self.need.name.strip_prefix(b"/").unwrap_or(&self.need.name) {
            return Ok(());
        }
        write!(f, " (it was `/{was}`)")
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the optimised image would not start: ")?;
        if let Some(first) = self.lost.first() {
            write!(f, "{first}")?;
        }
        match self.lost.len() {
            0 | 1 => Ok(()),
            more => write!(f, ", and {} more", more - 1),
        }
    }
}

impl std::error::Error for Losses {}
