//! Targets and groups, and how what several places say of one target becomes one.

use std::collections::BTreeMap;

use crate::entry::{Entry, Policy, Resources, Secret, Ssh};

/// A target: everything that decides one build. Unset is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The name, of letters, digits, `_` and `-`.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Annotations, as `--annotation` takes them.
    pub annotations: Vec<String>,
    /// Attestations.
    pub attest: Vec<Entry>,
    /// The build context: a directory, a URL, or text of `--build-context`. A resolved target has one.
    pub context: Option<String>,
    /// Named contexts; `target:NAME` is the result of another target, and `cwd://` the working directory.
    pub contexts: BTreeMap<String, String>,
    /// The Dockerfile within the context. A resolved target has one.
    pub dockerfile: Option<String>,
    /// The text of the Dockerfile, which goes before its name.
    pub dockerfile_inline: Option<String>,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Names of the image.
    pub tags: Option<Vec<String>>,
    /// Caches to read.
    pub cache_from: Vec<Entry>,
    /// Caches to write.
    pub cache_to: Option<Vec<Entry>>,
    /// The stage to build.
    pub target: Option<String>,
    /// Secrets.
    pub secrets: Vec<Secret>,
    /// SSH agents and keys.
    pub ssh: Vec<Ssh>,
    /// Platforms.
    pub platforms: Option<Vec<String>>,
    /// Where the result goes.
    pub outputs: Option<Vec<Entry>>,
    /// Ask registries for newer images.
    pub pull: Option<bool>,
    /// Ignore the cache.
    pub no_cache: Option<bool>,
    /// `default`, `host` or `none`.
    pub network: Option<String>,
    /// Stages whose cache is ignored.
    pub no_cache_filter: Vec<String>,
    /// Size of `/dev/shm`, such as `64m`.
    pub shm_size: Option<String>,
    /// Limits, as `--ulimit` takes them.
    pub ulimits: Vec<String>,
    /// Limits of the steps.
    pub resources: Option<Resources>,
    /// What to do instead of a build: `build`, `check`, `outline`, `targets`.
    pub call: Option<String>,
    /// Entitlements that it asks for.
    pub entitlements: Vec<String>,
    /// Lines of `/etc/hosts`: name and address.
    pub extra_hosts: BTreeMap<String, String>,
    /// How sources are judged.
    pub policy: Vec<Policy>,
    /// Built only because another target's context names it: its output is the cache alone.
    pub linked: bool,
    /// Targets whose attributes it takes over; empty once resolved.
    pub(crate) inherits: Vec<String>,
    /// The directory that stands for a context that is not set.
    pub(crate) default_base: Option<String>,
}

/// A group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// The name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Targets and groups.
    pub targets: Vec<String>,
}

impl Target {
    /// What `other` says goes before or is added to what is here.
    pub(crate) fn merge(&mut self, other: Self) {
        let set = |own: &mut Option<String>, new: Option<String>| {
            if new.is_some() {
                *own = new;
            }
        };
        set(&mut self.default_base, other.default_base);
        set(&mut self.context, other.context);
        set(&mut self.dockerfile, other.dockerfile);
        set(&mut self.dockerfile_inline, other.dockerfile_inline);
        set(&mut self.target, other.target);
        set(&mut self.call, other.call);
        set(&mut self.network, other.network);
        set(&mut self.shm_size, other.shm_size);
        self.args.extend(other.args);
        self.contexts.extend(other.contexts);
        self.labels.extend(other.labels);
        self.extra_hosts.extend(other.extra_hosts);
        // These replace what was there.
        self.tags = other.tags.or(self.tags.take());
        self.platforms = other.platforms.or(self.platforms.take());
        self.cache_to = other.cache_to.or(self.cache_to.take());
        self.outputs = other.outputs.or(self.outputs.take());
        self.pull = other.pull.or(self.pull);
        self.no_cache = other.no_cache.or(self.no_cache);
        // These are added.
        self.annotations.extend(other.annotations);
        self.policy.extend(other.policy);
        self.no_cache_filter.extend(other.no_cache_filter);
        self.ulimits.extend(other.ulimits);
        self.entitlements.extend(other.entitlements);
        self.inherits.extend(other.inherits);
        self.attest.extend(other.attest);
        last_of_each(&mut self.attest, |entry| entry.kind.clone());
        self.secrets.extend(other.secrets);
        last_of_each(&mut self.secrets, |secret| secret.id.clone());
        self.ssh.extend(other.ssh);
        last_of_each(&mut self.ssh, |ssh| ssh.id.clone());
        self.cache_from.extend(other.cache_from);
        without_duplicates(&mut self.cache_from);
        if let Some(resources) = other.resources {
            self.resources.get_or_insert_default().merge(resources);
        }
        if !other.description.is_empty() {
            self.description = other.description;
        }
    }

    /// Drops duplicates and empty texts.
    pub(crate) fn normalize(&mut self) {
        if self.network.as_deref() == Some("host") {
            self.entitlements.push("network.host".to_owned());
        }
        let lists = [
            &mut self.annotations,
            &mut self.no_cache_filter,
            &mut self.ulimits,
            &mut self.entitlements,
        ];
        for list in lists
            .into_iter()
            .chain(&mut self.tags)
            .chain(&mut self.platforms)
        {
            first_of_each(list);
        }
        last_of_each(&mut self.attest, |entry| entry.kind.clone());
        last_of_each(&mut self.secrets, |secret| secret.id.clone());
        last_of_each(&mut self.ssh, |ssh| ssh.id.clone());
        without_duplicates(&mut self.cache_from);
        self.cache_to
            .iter_mut()
            .chain(&mut self.outputs)
            .for_each(without_duplicates);
        self.contexts.retain(|_, context| !context.is_empty());
    }
}

/// Keeps each text once, where it stands first, and no empty one.
pub(crate) fn first_of_each(list: &mut Vec<String>) {
    let mut seen = std::collections::BTreeSet::new();
    list.retain(|text| !text.is_empty() && seen.insert(text.clone()));
}

/// Keeps the last item of each key, where the first one stands.
fn last_of_each<T>(list: &mut Vec<T>, key: impl Fn(&T) -> String) {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut kept: Vec<T> = Vec::with_capacity(list.len());
    for item in list.drain(..) {
        match places.get(&key(&item)) {
            Some(&at) => kept[at] = item,
            None => {
                places.insert(key(&item), kept.len());
                kept.push(item);
            }
        }
    }
    *list = kept;
}

/// Keeps the first of equal entries; the last entry of the list takes the place of a dropped one,
/// which is the order that buildx prints.
pub(crate) fn without_duplicates(list: &mut Vec<Entry>) {
    for at in (0..list.len().saturating_sub(1)).rev() {
        if let Some(same) = (at + 1..list.len()).find(|&other| list[other] == list[at]) {
            list.swap_remove(same);
        }
    }
}
