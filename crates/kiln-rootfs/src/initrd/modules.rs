//! Which modules a kernel has, and what has to be loaded before each.

use std::collections::{BTreeMap, BTreeSet};

/// What `modules.dep` and `modules.builtin` say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModuleIndex {
    /// A module's file, and the files before it, by its name.
    modules: BTreeMap<String, Vec<String>>,
    built_in: BTreeSet<String>,
}

impl ModuleIndex {
    /// Reads the two files, as `depmod` writes them.
    pub fn parse(dependencies: &str, built_in: &str) -> Self {
        let lines = dependencies.lines().filter_map(|line| line.split_once(':'));
        let modules = lines.map(|(file, needed)| {
            // The last of them is needed first.
            let mut files: Vec<String> = needed
                .split_ascii_whitespace()
                .rev()
                .map(str::to_owned)
                .collect();
            files.push(file.to_owned());
            (name(file), files)
        });
        Self {
            modules: modules.collect(),
            built_in: built_in.lines().map(name).collect(),
        }
    }

    /// The files to be loaded for a module, in order: none for what is built in. `None` where the
    /// kernel does not have it.
    pub fn files_of(&self, module: &str) -> Option<Vec<String>> {
        if self.built_in.contains(module) {
            return Some(Vec::new());
        }
        self.modules.get(module).cloned()
    }
}

/// A module's name, as the kernel has it: `kernel/drivers/md/dm-mod.ko.xz` is `dm_mod`.
fn name(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    let name = name.split_once(".ko").map_or(name, |(name, _)| name);
    name.replace('-', "_")
}
