//! What each layer of an image holds and wastes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use kiln_base::CancelToken;
use kiln_image::Image;
use kiln_layer::{BlobFormat, Member, MemberKind, UnpackError, list_layer};
use kiln_oci::Digest;
use kiln_store::StoreError;

use crate::Engine;

/// What an image's layers hold and waste.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayersReport {
    /// The layers, base first.
    pub layers: Vec<LayerReport>,
    /// The largest files that are in the image, largest first.
    pub largest: Vec<LargeFile>,
    /// Bytes of files that a later layer overwrites or removes.
    pub wasted: u64,
    /// Bytes of all files of all layers.
    pub files_size: u64,
    /// How well the layers are used in hundredths of a percent, as `dive` computes it: for each
    /// path its smallest size among all layers, summed up, in relation to the sum of all its sizes.
    /// A removed file counts as one of no size; a removed directory as what was in it.
    pub efficiency: u32,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerReport {
    /// The compressed blob.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The uncompressed layer, where the configuration says it.
    pub diff_id: Option<Digest>,
    /// Bytes of its files.
    pub files_size: u64,
    /// The instruction that made it, as the history has it.
    pub created_by: String,
    /// How many files, directories and links are new.
    pub added: u64,
    /// How many replace one of a layer below.
    pub changed: u64,
    /// How many of the layers below are gone.
    pub removed: u64,
    /// Bytes of its files that a later layer overwrites or removes.
    pub wasted: u64,
}

/// A file of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LargeFile {
    /// Where it is, without a leading slash.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
    /// Which layer it is in, from 0.
    pub layer: usize,
}

/// Why an image's layers could not be looked into.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// A layer is damaged.
    #[error("could not read the layer {digest}")]
    Layer {
        /// Which.
        digest: Digest,
        /// Why.
        #[source]
        cause: UnpackError,
    },
    /// The store does not have a layer.
    #[error("the layer {0} is not in the store")]
    Missing(Digest),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Looks into the layers of an image of the store. `largest` files are told.
    pub fn inspect_layers(
        &self,
        image: &Image,
        largest: usize,
        cancel: &CancelToken,
    ) -> Result<LayersReport, InspectError> {
        let layers = self.list_layers(image, cancel)?;
        let mut report = analyse(&layers, largest);
        let mut history = image
            .config()
            .history
            .iter()
            .filter(|entry| !entry.empty_layer);
        for (index, (report, blob)) in report.layers.iter_mut().zip(image.layers()).enumerate() {
            report.digest = blob.digest.clone();
            report.size = blob.size;
            report.diff_id = image.config().diff_ids.get(index).cloned();
            let entry = history.next();
            report.created_by = entry
                .and_then(|entry| entry.created_by.clone())
                .unwrap_or_default();
        }
        Ok(report)
    }

    /// What is in each layer, base first.
    pub(crate) fn list_layers(
        &self,
        image: &Image,
        cancel: &CancelToken,
    ) -> Result<Vec<Vec<Member>>, InspectError> {
        let blobs = image.layers();
        let slots: Vec<Mutex<Vec<Member>>> = blobs.iter().map(|_| Mutex::default()).collect();
        let next = AtomicUsize::new(0);
        let work = || -> Result<(), InspectError> {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(blob) = blobs.get(index) else {
                    return Ok(());
                };
                let content = self.store.open_blob(&blob.digest)?;
                let content = content.ok_or_else(|| InspectError::Missing(blob.digest.clone()))?;
                let mut members = Vec::new();
                list_layer(content, BlobFormat::Detect, cancel, |member| {
                    members.push(member);
                })
                .map_err(|cause| InspectError::Layer {
                    digest: blob.digest.clone(),
                    cause,
                })?;
                *slots[index].lock().unwrap_or_else(PoisonError::into_inner) = members;
            }
        };
        std::thread::scope(|scope| {
            let threads = self.settings.jobs.get().min(blobs.len());
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads
                .into_iter()
                .try_for_each(|thread| match thread.join() {
                    Ok(result) => result,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
        })?;
        let members = slots.into_iter();
        Ok(members
            .map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner))
            .collect())
    }
}

/// What is at a path while layers are stacked.
struct Known {
    layer: usize,
    size: u64,
    is_dir: bool,
    attributes: (u32, u64, u64),
}

/// What `dive` keeps for a path.
struct Score {
    least: u64,
    sum: u64,
}

struct Stack {
    tree: BTreeMap<PathBuf, Known>,
    scores: BTreeMap<PathBuf, Score>,
    layers: Vec<LayerReport>,
}

fn analyse(layers: &[Vec<Member>], largest: usize) -> LayersReport {
    let mut stack = Stack {
        tree: BTreeMap::new(),
        scores: BTreeMap::new(),
        layers: Vec::new(),
    };
    for (number, members) in layers.iter().enumerate() {
        stack.layers.push(LayerReport {
            digest: Digest::sha256(b""),
            size: 0,
            diff_id: None,
            files_size: 0,
            created_by: String::new(),
            added: 0,
            changed: 0,
            removed: 0,
            wasted: 0,
        });
        for member in members {
            stack.put(number, member);
        }
    }
    let mut files: Vec<LargeFile> = stack
        .tree
        .iter()
        .filter(|(_, known)| known.size > 0)
        .map(|(path, known)| LargeFile {
            path: path.clone(),
            size: known.size,
            layer: known.layer,
        })
        .collect();
    files.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
    files.truncate(largest);
    let least: u128 = stack
        .scores
        .values()
        .map(|score| u128::from(score.least))
        .sum();
    let all: u128 = stack
        .scores
        .values()
        .map(|score| u128::from(score.sum))
        .sum();
    let efficiency = (least * 10_000).checked_div(all).unwrap_or(10_000);
    LayersReport {
        wasted: stack.layers.iter().map(|layer| layer.wasted).sum(),
        files_size: stack.layers.iter().map(|layer| layer.files_size).sum(),
        largest: files,
        efficiency: u32::try_from(efficiency).unwrap_or(10_000),
        layers: stack.layers,
    }
}

impl Stack {
    fn put(&mut self, number: usize, member: &Member) {
        let path = &member.path;
        match &member.kind {
            MemberKind::Whiteout => {
                let is_dir = self.tree.get(path).is_some_and(|known| known.is_dir);
                let size = if is_dir {
                    self.below(path).map(|(_, known)| known.size).sum()
                } else {
                    0
                };
                self.score(path, size);
                self.remove(number, path, true);
            }
            MemberKind::Opaque => self.remove(number, path, false),
            kind => {
                let size = match kind {
                    MemberKind::File { size, .. } => *size,
                    _ => 0,
                };
                let is_dir = matches!(kind, MemberKind::Dir);
                if !is_dir {
                    self.score(path, size);
                }
                let attributes = (member.mode, member.uid, member.gid);
                self.replace(number, path, (is_dir, attributes));
                self.layers[number].files_size += size;
                let known = Known {
                    layer: number,
                    size,
                    is_dir,
                    attributes,
                };
                self.tree.insert(path.clone(), known);
            }
        }
    }

    /// Makes room for an entry, and counts it.
    fn replace(&mut self, number: usize, path: &Path, new: (bool, (u32, u64, u64))) {
        let (is_dir, attributes) = new;
        let Some(known) = self.tree.get(path) else {
            self.layers[number].added += 1;
            return;
        };
        let same_dir = known.is_dir && is_dir && known.attributes == attributes;
        let (layer, size, was_dir) = (known.layer, known.size, known.is_dir);
        if layer == number {
            // Twice in one layer: the second counts.
            self.layers[number].files_size -= size;
            return;
        }
        self.layers[layer].wasted += size;
        if !same_dir {
            self.layers[number].changed += 1;
        }
        if was_dir && !is_dir {
            self.remove(number, path, false);
        }
    }

    fn below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = (&'a PathBuf, &'a Known)> {
        let from = self.tree.range(path.to_path_buf()..);
        from.take_while(move |(below, _)| below.starts_with(path))
    }

    /// Removes what layers below `number` have at the path and below it.
    fn remove(&mut self, number: usize, path: &Path, with_itself: bool) {
        let gone: Vec<PathBuf> = self
            .below(path)
            .filter(|(below, known)| known.layer < number && (with_itself || *below != path))
            .map(|(below, _)| below.clone())
            .collect();
        for path in gone {
            if let Some(known) = self.tree.remove(&path) {
                self.layers[known.layer].wasted += known.size;
                self.layers[number].removed += 1;
            }
        }
    }

    fn score(&mut self, path: &Path, size: u64) {
        let score = self.scores.entry(path.to_path_buf()).or_insert(Score {
            least: u64::MAX,
            sum: 0,
        });
        score.least = score.least.min(size);
        score.sum = score.sum.saturating_add(size);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fmt::Write as _;

    use kiln_sys::fs::FileTime;

    use super::*;

    /// Entries from lines: `d path`, `f path size`, `w path` (whiteout), `o path` (opaque),
    /// `l path target`, `h path target`; then optionally `mode`.
    pub(crate) fn layer(text: &str) -> Vec<Member> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                let argument = words.get(2).copied().unwrap_or_default();
                let kind = match words[0] {
                    "d" => MemberKind::Dir,
                    "f" => MemberKind::File {
                        size: argument.parse().unwrap(),
                        digest: Digest::sha256(argument.as_bytes()),
                    },
                    "w" => MemberKind::Whiteout,
                    "o" => MemberKind::Opaque,
                    "l" => MemberKind::Symlink(argument.into()),
                    "h" => MemberKind::HardLink(argument.into()),
                    other => panic!("{other}"),
                };
                Member {
                    path: words[1].into(),
                    kind,
                    mode: words
                        .get(3)
                        .map_or(0o644, |mode| u32::from_str_radix(mode, 8).unwrap()),
                    uid: 0,
                    gid: 0,
                    mtime: FileTime {
                        seconds: 0,
                        nanoseconds: 0,
                    },
                    xattrs: Vec::new(),
                }
            })
            .collect()
    }

    /// Each layer as `added/changed/removed bytes-wasted`, then the efficiency and the largest.
    #[track_caller]
    fn check(layers: &[&str], expected: &str) {
        let layers: Vec<_> = layers.iter().map(|text| layer(text)).collect();
        let report = analyse(&layers, 2);
        let mut text = String::new();
        for layer in &report.layers {
            let (added, changed, removed) = (layer.added, layer.changed, layer.removed);
            let (size, wasted) = (layer.files_size, layer.wasted);
            _ = write!(text, "+{added} ~{changed} -{removed} {size}-{wasted}; ");
        }
        _ = write!(text, "{}", report.efficiency);
        for file in &report.largest {
            _ = write!(text, " {}={}", file.path.display(), file.size);
        }
        assert_eq!(text, expected);
    }

    #[test]
    fn nothing_is_wasted_by_adding() {
        check(&[], "10000");
        check(
            &["d a\nf a/b 10", "d a\nf a/c 20"],
            "+2 ~0 -0 10-0; +1 ~0 -0 20-0; 10000 a/c=20 a/b=10",
        );
    }

    #[test]
    fn what_is_overwritten_or_removed_is_wasted() {
        check(
            &["d a\nf a/b 10\nf c 5", "f a/b 30", "w c"],
            "+3 ~0 -0 15-15; +0 ~1 -0 30-0; +0 ~0 -1 0-0; 2222 a/b=30",
        );
    }

    #[test]
    fn removed_directories_take_all_with_them() {
        // As in dive, this costs no efficiency.
        check(
            &["d a\nf a/b 10\nd a/c\nf a/c/d 20\nf ab 1", "w a"],
            "+5 ~0 -0 31-30; +0 ~0 -4 0-0; 10000 ab=1",
        );
        check(
            &["d a\nf a/b 10\nf a/c 20", "d a\nf a/b 7\no a"],
            "+3 ~0 -0 30-30; +0 ~1 -1 7-0; 7297 a/b=7",
        );
        check(
            &["d a\nf a/b 10", "f a 3"],
            "+2 ~0 -0 10-10; +0 ~1 -1 3-0; 10000 a=3",
        );
    }

    #[test]
    fn changed_attributes_are_a_change() {
        check(
            &["d a\nd b", "d a - 755\nd b"],
            "+2 ~0 -0 0-0; +0 ~1 -0 0-0; 10000",
        );
    }

    #[test]
    fn twice_in_one_layer_is_once() {
        check(&["f a 10\nf a 20"], "+1 ~0 -0 20-0; 3333 a=20");
    }
}
