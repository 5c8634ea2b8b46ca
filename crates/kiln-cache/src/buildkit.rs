//! BuildKit's own caches: which of their results is a step's of kiln.
//!
//! BuildKit keys a step by a digest of its definition (`CacheMap`), and finds its record by that
//! digest and the records of its inputs. So kiln computes the digest that BuildKit would have for
//! the same line of a Dockerfile, and walks from record to record as BuildKit does:
//!
//! ```text
//! image ──> exec ──> file <── content of the selected files
//! ```
//!
//! A [`Step`] is a plain description; whoever builds fills it in as `dockerfile2llb` lowers the
//! line. A step that is described differently from how BuildKit had it is not found, and runs:
//! nothing here can make a wrong result be taken for a right one as long as the description names
//! all that decides the step's output.
//!
//! Deliberately absent: steps whose keys depend on what only a BuildKit daemon knows (git and HTTP
//! sources, sessions), and copies with patterns (`--exclude`, `--parents`), which are never found.

mod content;
mod exec;
mod file;
mod glob;
mod json;

use std::collections::BTreeSet;

use kiln_oci::{Digest, chain_ids};

use crate::import::Imported;
use crate::plan::Loaded;
use crate::record::Layer;

pub use content::{ContentTree, EntryKind, FileHeader, Selected, content_digests};
pub use exec::{CacheSharing, Exec, Mount, MountKind, Network};
pub use file::{CopyAction, FileAction, FileOp, MkdirAction, MkfileAction, Owner, UserName};

/// A platform, as BuildKit's digests name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BkPlatform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`.
    pub architecture: String,
    /// `v7`; empty where the platform has none when normalised.
    pub variant: String,
}

/// An image that a stage stands on. BuildKit knows it by its manifest and, as long as that has
/// never been seen, by its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BkImage {
    /// The manifest of the image itself, not that of an index that led to it.
    pub manifest: Option<Digest>,
    /// The digests of its uncompressed layers, from its configuration.
    pub diff_ids: Vec<Digest>,
    /// What was asked for.
    pub platform: BkPlatform,
}

/// A step, as BuildKit has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `FROM`.
    Image(BkImage),
    /// `RUN`.
    Exec(Box<Exec>, BkPlatform),
    /// `COPY`, `ADD` and `WORKDIR`.
    File(FileOp),
    /// `COPY --link`: the copy onto nothing, merged with what was there. So many inputs.
    Merge(usize),
}

/// What a cache may have for an input of a step: an earlier step's records, the content of what
/// the step takes from it, or both.
#[derive(Debug, Clone, Default)]
pub struct StepInput<'a> {
    /// The records of the input's own step.
    pub records: Option<&'a Records>,
    /// [`content_digests`] of the files that the step takes from the input, where it takes some.
    pub content: Vec<Digest>,
    /// Which paths of the input the step takes: the sources of a copy, the source of a mount. Empty
    /// for what the step stands on in a copy.
    pub selected: Vec<String>,
}

/// Records of a cache that are one step's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records(BTreeSet<(usize, usize)>);

impl Records {
    /// Whether the cache has never seen the step.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the records of the same step in another form.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }
}

/// The digests that BuildKit has for a step's definition, the newest version's first. Versions
/// differ in what they put into them.
fn definitions(step: &Step) -> Vec<Digest> {
    match step {
        Step::Image(image) => {
            let manifest = image.manifest.as_ref();
            let manifest = manifest.map(|digest| json::manifest(digest, &image.platform));
            let layers = chain_ids(&image.diff_ids).pop();
            let keys = manifest.into_iter().chain(layers);
            keys.map(|key| Digest::sha256(format!("buildkit.source.v0:{key}").as_bytes()))
                .collect()
        }
        Step::Exec(exec, platform) => exec::digests(exec, platform),
        Step::File(file) => file::digests(file),
        Step::Merge(inputs) => vec![json::merge(*inputs)],
    }
}

/// The digest of a record: of a definition and the number of its output.
fn record_digest(definition: &Digest, output: i64) -> String {
    Digest::sha256(format!("{definition}@{output}").as_bytes()).to_string()
}

impl Imported<'_> {
    /// Whether BuildKit wrote something into the cache that a step can be found by: a record that
    /// is made from others.
    pub fn has_buildkit_records(&self) -> bool {
        let records = |loaded: &Loaded| {
            let mut records = loaded.config.records().iter();
            records.any(|record| !record.inputs.is_empty())
        };
        self.caches().iter().any(records)
    }

    /// The records that are a step's, whose inputs these are.
    pub fn buildkit_records(&self, step: &Step, inputs: &[StepInput<'_>]) -> Records {
        let digests: Vec<String> = definitions(step)
            .iter()
            .map(|digest| record_digest(digest, 0))
            .collect();
        let mut found = BTreeSet::new();
        for (cache, loaded) in self.caches().iter().enumerate() {
            let accepted: Vec<Accepted> = inputs
                .iter()
                .enumerate()
                .map(|(at, input)| Accepted::new(cache, step, at, input))
                .collect();
            let records = loaded.config.records();
            for (index, record) in records.iter().enumerate() {
                let is_it = digests.contains(&record.digest)
                    && record.inputs.len() == accepted.len()
                    && record
                        .inputs
                        .iter()
                        .zip(&accepted)
                        .all(|(links, accepted)| {
                            links.iter().any(|link| {
                                accepted.is_link(
                                    link.link,
                                    &link.selector,
                                    &records[link.link].digest,
                                )
                            })
                        });
                if is_it {
                    found.insert((cache, index));
                }
            }
        }
        Records(found)
    }

    /// The layers of the newest result under these records that the cache has in full.
    pub fn buildkit_layers(&self, records: &Records) -> Option<Vec<Layer>> {
        let found = records.0.iter().filter_map(|(cache, index)| {
            let loaded = self.caches().get(*cache)?;
            let record = loaded.config.records().get(*index)?;
            loaded.result(record)
        });
        found.max_by_key(|layers| layers.last().and_then(|layer| layer.created))
    }
}

/// The records that one input may be.
struct Accepted {
    /// By index, with this selector.
    records: BTreeSet<usize>,
    selectors: Vec<String>,
    /// By digest: what only content decides.
    content: Vec<String>,
}

impl Accepted {
    fn new(cache: usize, step: &Step, at: usize, input: &StepInput<'_>) -> Self {
        let records = input.records.map(|records| &records.0);
        let records = records.into_iter().flatten();
        Self {
            records: records
                .filter(|(of, _)| *of == cache)
                .map(|(_, index)| *index)
                .collect(),
            selectors: selectors(step, at, &input.selected),
            content: input
                .content
                .iter()
                .map(|digest| record_digest(digest, -1))
                .collect(),
        }
    }

    fn is_link(&self, index: usize, selector: &str, digest: &str) -> bool {
        let is_selector = || self.selectors.iter().any(|known| known == selector);
        (self.records.contains(&index) && is_selector())
            || self.content.iter().any(|known| known == digest)
    }
}

/// The digests that versions of BuildKit have for the paths that a step takes of an input.
fn selectors(step: &Step, at: usize, selected: &[String]) -> Vec<String> {
    let digest = |paths: &[&str]| Digest::sha256(paths.join("\0").as_bytes()).to_string();
    match step {
        Step::File(_) if !selected.is_empty() => {
            let mut paths: Vec<&str> = selected.iter().map(String::as_str).collect();
            paths.sort_unstable_by(|a, b| b.cmp(a));
            vec![digest(&paths)]
        }
        Step::Exec(exec, _) => {
            let paths = exec.selected(at);
            let of_all = paths.iter().all(|path| *path == "/");
            // In older versions, as in Docker 20.10, all of an input is no selection.
            let old = of_all.then(String::new);
            let new = (!paths.is_empty()).then(|| digest(&paths));
            new.into_iter().chain(old).collect()
        }
        Step::File(_) | Step::Image(_) | Step::Merge(_) => vec![String::new()],
    }
}
