//! Names to targets: patterns, groups, inheritance, overrides and links.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::entitlement::Entitlement;
use crate::entry::Entry;
use crate::input::BakeInput;
use crate::overrides::Overrides;
use crate::path;
use crate::source::{Fault, Outcome, did_you_mean};
use crate::target::{Group, Target, first_of_each};

/// What was asked for, resolved.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    pub(crate) groups: BTreeMap<String, Group>,
    pub(crate) targets: BTreeMap<String, Target>,
    pub(crate) granted: Vec<Entitlement>,
}

/// Policies of one target.
const MAX_POLICIES: usize = 1000;
/// Targets that one inherits.
const MAX_PARENTS: usize = 1000;

struct Resolver<'a> {
    config: &'a Config,
    overrides: Overrides,
    granted: Vec<Entitlement>,
}

/// Targets that inherit or link in a row.
const MAX_DEPTH: usize = 100;

/// Resolves what `input` asks for.
pub(crate) fn resolve(input: &BakeInput, config: &Config) -> Outcome<Resolved> {
    let mut names = Vec::new();
    if input.targets.is_empty() {
        names.push("default".to_owned());
    }
    for target in &input.targets {
        // Names of services may have dots; names of targets can't.
        names.extend(match_names(&target.replace('.', "_"), config)?);
    }
    first_of_each(&mut names);
    let overrides = Overrides::read(input, &config.targets)?;
    let mut resolver = Resolver {
        config,
        overrides,
        granted: Vec::new(),
    };
    let mut answer = Resolved::default();
    for name in &names {
        let (targets, groups) = resolve_group(config, name, &mut BTreeMap::new(), 0)?;
        let missing: Vec<String> = targets
            .into_iter()
            .filter(|target| !answer.targets.contains_key(target))
            .collect();
        for target in missing {
            let found = resolver.target(&target)?;
            answer.targets.insert(target, found);
        }
        for name in groups {
            if let Some(group) = config.groups.iter().find(|group| group.name == name) {
                answer.groups.entry(name).or_insert_with(|| group.clone());
            }
        }
    }
    default_group(&mut answer.groups, &names);
    let requested: Vec<String> = answer.targets.keys().cloned().collect();
    for name in &requested {
        resolver.link(name, &mut answer.targets, &mut Vec::new())?;
    }
    for target in answer.targets.values_mut() {
        finish(target)?;
        // A build is dated by the environment, unless its target says otherwise.
        if let Some(epoch) = input.lookup_environment("SOURCE_DATE_EPOCH") {
            target
                .args
                .entry("SOURCE_DATE_EPOCH".to_owned())
                .or_insert_with(|| epoch.to_owned());
        }
    }
    answer.granted = resolver.granted;
    answer.granted.sort();
    answer.granted.dedup();
    Ok(answer)
}

/// The group of what was asked for.
fn default_group(groups: &mut BTreeMap<String, Group>, names: &[String]) {
    for name in names {
        if name == "default" && groups.contains_key("default") {
            continue;
        }
        let group = groups.entry("default".to_owned()).or_insert_with(|| Group {
            name: "default".to_owned(),
            ..Group::default()
        });
        group.targets.push(name.clone());
    }
    if let Some(group) = groups.get_mut("default") {
        first_of_each(&mut group.targets);
        group.targets.sort();
    }
}

/// What only a build needs to know.
fn finish(target: &mut Target) -> Outcome<()> {
    let context = target.context.as_deref().unwrap_or(".");
    if context == "-" || target.dockerfile.as_deref() == Some("-") {
        return Err(Fault::new(format!(
            "target `{}`: standard input can't be a context or a Dockerfile",
            target.name
        )));
    }
    let local = context.strip_prefix("cwd://").unwrap_or(context);
    let context = if path::is_remote(context) {
        context.to_owned()
    } else {
        path::clean(local)
    };
    target.context = Some(context);
    for platform in target.platforms.iter().flatten() {
        if platform != "local" && platform.parse::<kiln_oci::Platform>().is_err() {
            return Err(Fault::new(format!(
                "target `{}`: `{platform}` is no platform such as `linux/amd64`",
                target.name
            )));
        }
    }
    Ok(())
}

fn match_names(pattern: &str, config: &Config) -> Outcome<Vec<String>> {
    if !pattern.contains(['*', '?', '[', ']']) {
        return Ok(vec![pattern.to_owned()]);
    }
    let groups = config.groups.iter().map(|group| &group.name);
    let all = groups.chain(config.targets.iter().map(|target| &target.name));
    let names: Vec<String> = all.filter(|name| matches(pattern, name)).cloned().collect();
    if names.is_empty() {
        return Err(Fault::new(format!(
            "no target or group matches `{pattern}`"
        )));
    }
    Ok(names)
}

/// Targets of a name or pattern, for overrides.
pub(crate) fn expand_targets(pattern: &str, targets: &[Target]) -> Outcome<Vec<String>> {
    if targets.iter().any(|target| target.name == pattern) {
        return Ok(vec![pattern.to_owned()]);
    }
    let names: Vec<String> = targets
        .iter()
        .map(|target| &target.name)
        .filter(|name| matches(pattern, name))
        .cloned()
        .collect();
    if names.is_empty() {
        let known = targets.iter().map(|target| target.name.as_str());
        return Err(
            Fault::new(format!("`--set`: no target matches `{pattern}`"))
                .hint(did_you_mean(pattern, known)),
        );
    }
    Ok(names)
}

/// Whether a shell pattern matches the whole name.
fn matches(pattern: &str, name: &str) -> bool {
    let mut regex = String::from("^");
    let mut chars = pattern.chars().peekable();
    while let Some(ch) = chars.next() {
        match ch {
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '[' => {
                regex.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    regex.push('^');
                }
                for inner in chars.by_ref() {
                    match inner {
                        ']' => break,
                        '-' => regex.push('-'),
                        other => regex.push_str(&regex::escape(&other.to_string())),
                    }
                }
                regex.push(']');
            }
            other => regex.push_str(&regex::escape(&other.to_string())),
        }
    }
    regex::Regex::new(&(regex + "$")).is_ok_and(|regex| regex.is_match(name))
}

type Members = (Vec<String>, Vec<String>);

/// Targets and groups below a name.
fn resolve_group(
    config: &Config,
    name: &str,
    seen: &mut BTreeMap<String, Members>,
    depth: usize,
) -> Outcome<Members> {
    if let Some(members) = seen.get(name) {
        return Ok(members.clone());
    }
    let Some(group) = config.groups.iter().find(|group| group.name == name) else {
        return Ok((vec![name.to_owned()], Vec::new()));
    };
    if depth > MAX_DEPTH {
        return Err(Fault::new(format!(
            "groups are nested more than {MAX_DEPTH} deep"
        )));
    }
    seen.insert(name.to_owned(), Members::default());
    let (mut targets, mut groups) = (Vec::new(), vec![name.to_owned()]);
    for member in &group.targets {
        let open = seen
            .get(member)
            .is_some_and(|members| members.0.is_empty() && members.1.is_empty());
        if open && config.groups.iter().any(|group| group.name == *member) {
            // A target may have the name of a group that contains it.
            if config.targets.iter().any(|target| target.name == *member) {
                targets.push(member.clone());
                continue;
            }
            return Err(Fault::new(format!(
                "group `{member}` contains itself, through `{name}`"
            )));
        }
        let (inner_targets, inner_groups) = resolve_group(config, member, seen, depth + 1)?;
        targets.extend(inner_targets);
        groups.extend(inner_groups);
    }
    first_of_each(&mut targets);
    first_of_each(&mut groups);
    seen.insert(name.to_owned(), (targets.clone(), groups.clone()));
    Ok((targets, groups))
}

impl Resolver<'_> {
    /// A target with everything that it inherits and that overrides it.
    fn target(&mut self, name: &str) -> Outcome<Target> {
        let found = self.inherit(name, &mut BTreeMap::new(), 0)?;
        let Some(mut target) = found else {
            return Err(Fault::new(format!("target `{name}` inherits itself")));
        };
        target.inherits.clear();
        if target.context.is_none() {
            target.context = Some(
                target
                    .default_base
                    .clone()
                    .unwrap_or_else(|| ".".to_owned()),
            );
        }
        if target.dockerfile.as_deref().unwrap_or_default().is_empty() {
            target.dockerfile = Some("Dockerfile".to_owned());
        }
        Ok(target)
    }

    /// None for a target that is being resolved: a circle ends there.
    fn inherit(
        &mut self,
        name: &str,
        seen: &mut BTreeMap<String, Option<Target>>,
        depth: usize,
    ) -> Outcome<Option<Target>> {
        if let Some(known) = seen.get(name) {
            return Ok(known.clone());
        }
        if depth > MAX_DEPTH {
            return Err(Fault::new(format!(
                "more than {MAX_DEPTH} targets inherit in a row"
            )));
        }
        seen.insert(name.to_owned(), None);
        let config = self.config;
        let Some(own) = config.targets.iter().find(|target| target.name == name) else {
            return Err(unknown(config, name));
        };
        let mut target = Target {
            name: name.to_owned(),
            ..Target::default()
        };
        if own.inherits.len() > MAX_PARENTS {
            return Err(Fault::new(format!(
                "target `{name}` inherits more than {MAX_PARENTS} targets"
            )));
        }
        for parent in &own.inherits {
            if let Some(parent) = self.inherit(parent, seen, depth + 1)? {
                target.merge(parent);
                // What is said twice must not grow with each of many parents.
                target.normalize();
                if target.policy.len() > MAX_POLICIES {
                    return Err(Fault::new(format!(
                        "target `{name}` has more than {MAX_POLICIES} policies"
                    )));
                }
            }
        }
        target.merge(own.clone());
        self.overrides.apply(name, &mut target, &mut self.granted)?;
        target.normalize();
        seen.insert(name.to_owned(), Some(target.clone()));
        Ok(Some(target))
    }

    /// Adds the targets that contexts of `name` name.
    fn link(
        &mut self,
        name: &str,
        targets: &mut BTreeMap<String, Target>,
        path: &mut Vec<String>,
    ) -> Outcome<()> {
        path.push(name.to_owned());
        if path.len() > MAX_DEPTH {
            return Err(Fault::new(format!(
                "more than {MAX_DEPTH} targets use each other in a row"
            )));
        }
        let contexts = targets
            .get(name)
            .map(|target| target.contexts.clone())
            .unwrap_or_default();
        for linked in contexts
            .values()
            .filter_map(|context| context.strip_prefix("target:"))
        {
            if linked == name {
                return Err(Fault::new(format!(
                    "a context of target `{name}` is the target itself"
                )));
            }
            if path.iter().any(|known| known == linked) {
                let path = path.join("` → `");
                return Err(Fault::new(format!(
                    "contexts of targets form a circle: `{path}` → `{linked}`"
                )));
            }
            if !targets.contains_key(linked) {
                let mut target = self.target(linked)?;
                target.outputs = Some(vec![Entry {
                    kind: "cacheonly".to_owned(),
                    attributes: BTreeMap::new(),
                }]);
                target.linked = true;
                targets.insert(linked.to_owned(), target);
            }
            self.link(linked, targets, path)?;
            take_over(name, linked, targets)?;
        }
        path.pop();
        Ok(())
    }
}

/// What a target takes over from one that its contexts name.
fn take_over(name: &str, linked: &str, targets: &mut BTreeMap<String, Target>) -> Outcome<()> {
    let Some(other) = targets.get(linked).cloned() else {
        return Ok(());
    };
    let Some(target) = targets.get_mut(name) else {
        return Ok(());
    };
    target.entitlements.extend(other.entitlements);
    first_of_each(&mut target.entitlements);
    let (own, theirs) = (
        target.platforms.clone().unwrap_or_default(),
        other.platforms.unwrap_or_default(),
    );
    if own.len() > 1 && theirs.len() > 1 && !own.iter().all(|platform| theirs.contains(platform)) {
        return Err(Fault::new(format!(
            "target `{name}` can't use `{linked}`: its platforms {} are not all among {}",
            own.join(", "),
            theirs.join(", ")
        )));
    }
    Ok(())
}

fn unknown(config: &Config, name: &str) -> Fault {
    let targets = config.targets.iter().map(|target| target.name.as_str());
    let known = targets.chain(config.groups.iter().map(|group| group.name.as_str()));
    let known: Vec<&str> = known.filter(|name| !name.starts_with('_')).collect();
    let hint = did_you_mean(name, known.iter().copied()).or_else(|| {
        (!known.is_empty() && known.len() <= 12)
            .then(|| format!("there are `{}`", known.join("`, `")))
    });
    Fault::new(format!("unknown target `{name}`")).hint(hint)
}
