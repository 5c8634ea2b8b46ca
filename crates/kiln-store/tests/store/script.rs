//! A small language for what happens to a store, so that tests are text in, text out.
//!
//! ```text
//! at SECONDS                     sets the clock
//! image NAME|- LAYER...          makes an image with these layers (their names are their content)
//! untag NAME
//! chain NAME [on PARENT]         makes a snapshot that is found by its name
//! step NAME [on PARENT]          makes a snapshot that is found by a record
//! flatten NAME SNAPSHOT...       makes one snapshot of several, lowest first
//! record KEY SNAPSHOT|-
//! alias KEY OF
//! get KEY
//! layer SNAPSHOT LAYER           makes a layer from a snapshot
//! blob NAME                      a blob that nothing leads to
//! partial NAME                   the beginning of a blob
//! reopen                         another process comes in this one's place
//! hold KEY                       another process looks up a record and lives on
//! release                        and ends
//! sweep
//! prune [images=unnamed|all] [cache=all] [before=SECONDS] [keep=KIB]
//! show                           prints what there is
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use kiln_base::{CancelToken, Timestamp};
use kiln_oci::{Compression, Descriptor, Digest, Family, Manifest, MediaType, Reference};
use kiln_store::{
    CacheKey, Download, Image, LayerRecord, PruneCache, PruneImages, PrunePolicy, SnapshotId, Store,
};

use crate::support::{TestStore, add_snapshot, names};

/// What one snapshot's file takes.
const SNAPSHOT_BYTES: usize = 64 * 1024;

struct Script {
    test: TestStore,
    held: Option<Store>,
    /// What digests and snapshots are called in the script.
    labels: BTreeMap<String, String>,
    snapshots: BTreeMap<String, SnapshotId>,
    output: String,
}

/// Runs a script and returns what it printed.
pub(crate) fn run(text: &str) -> String {
    let mut script = Script {
        test: TestStore::new(),
        held: None,
        labels: BTreeMap::new(),
        snapshots: BTreeMap::new(),
        output: String::new(),
    };
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [verb, rest @ ..] = words.as_slice() {
            script.command(verb, rest);
        }
    }
    script.output
}

pub(crate) fn reference(name: &str) -> Reference {
    name.parse().unwrap()
}

pub(crate) fn key(name: &str) -> CacheKey {
    CacheKey(
        *Digest::sha256(name.as_bytes())
            .hex()
            .as_bytes()
            .first_chunk()
            .unwrap(),
    )
}

/// Stores an image's blobs and returns the descriptor of its manifest.
pub(crate) fn put_image(store: &Store, layers: &[&str]) -> Descriptor {
    let layer_type = MediaType::layer(Family::Oci, Compression::None);
    let layers = layers.iter().map(|layer| {
        store.write_blob(layer.as_bytes()).unwrap();
        Descriptor::of(layer_type.clone(), layer.as_bytes())
    });
    let layers: Vec<Descriptor> = layers.collect();
    store.write_blob(b"{}").unwrap();
    let config = Descriptor::of(MediaType::Config(Family::Oci), b"{}");
    let manifest = Manifest::new(Family::Oci, config, layers);
    let bytes = manifest.to_bytes();
    store.write_blob(&bytes).unwrap();
    Descriptor::of(manifest.media_type(), &bytes)
}

/// The same with a name.
pub(crate) fn put_named(store: &Store, name: &str, layers: &[&str]) -> Descriptor {
    let target = put_image(store, layers);
    store
        .tag(&reference(name), &target, Timestamp::EPOCH)
        .unwrap();
    target
}

impl Script {
    fn command(&mut self, verb: &str, words: &[&str]) {
        let store = self.test.store.clone();
        match (verb, words) {
            ("at", [seconds]) => self.test.set_time(seconds.parse().unwrap()),
            ("image", [name, layers @ ..]) => self.image(name, layers),
            ("untag", [name]) => {
                store.untag(&reference(name)).unwrap().unwrap();
            }
            ("chain", [name, rest @ ..]) => {
                let id = SnapshotId::of_chain(&Digest::sha256(name.as_bytes()));
                self.snapshot(name, id, rest);
            }
            ("step", [name, rest @ ..]) => self.snapshot(name, SnapshotId::random(), rest),
            ("flatten", [name, layers @ ..]) => {
                let id = SnapshotId::flattened(layers.iter().map(|name| &self.snapshots[*name]));
                self.snapshot(name, id, &["on", layers[layers.len() - 1]]);
            }
            ("record", [name, "-"]) => store.cache_put(&key(name), None, b"").unwrap(),
            ("record", [name, snapshot]) => {
                store
                    .cache_put(&key(name), Some(&self.snapshots[*snapshot]), b"")
                    .unwrap();
            }
            ("alias", [alias, of]) => store.cache_alias(&key(alias), &key(of)).unwrap(),
            ("get", [name]) => {
                let found = self.describe(&store, name);
                writeln!(self.output, "{name}: {found}").unwrap();
            }
            ("layer", [snapshot, layer]) => self.layer(snapshot, layer),
            ("blob", [name]) => {
                let digest = store.write_blob(name.as_bytes()).unwrap();
                self.labels
                    .insert(digest.hex().to_owned(), (*name).to_owned());
            }
            ("partial", [name]) => self.partial(name),
            ("reopen", []) => {
                drop(store);
                self.test.reopen();
            }
            ("hold", [name]) => {
                let held = self.test.open_again();
                held.cache_get(&key(name)).unwrap().unwrap();
                self.held = Some(held);
            }
            ("release", []) => self.held = None,
            ("sweep", []) => {
                let swept = store.sweep().unwrap();
                writeln!(self.output, "swept {} blobs", swept.blobs).unwrap();
            }
            ("prune", words) => self.prune(words),
            ("show", []) => self.show(),
            _ => panic!("`{verb} {}` is no command", words.join(" ")),
        }
    }

    fn image(&mut self, name: &str, layers: &[&str]) {
        let store = &self.test.store;
        let target = put_image(store, layers);
        let created = Timestamp::from_seconds(0);
        if name == "-" {
            store.keep_unnamed(&target, created).unwrap();
        } else {
            store.tag(&reference(name), &target, created).unwrap();
        }
        for layer in layers {
            let digest = Digest::sha256(layer.as_bytes());
            self.labels
                .insert(digest.hex().to_owned(), (*layer).to_owned());
        }
        self.labels
            .insert(Digest::sha256(b"{}").hex().to_owned(), "config".to_owned());
        let label = format!("manifest({})", layers.join(","));
        self.labels.insert(target.digest.hex().to_owned(), label);
    }

    fn snapshot(&mut self, name: &str, id: SnapshotId, rest: &[&str]) {
        let parent = match rest {
            ["on", parent] => Some(&self.snapshots[*parent]),
            _ => None,
        };
        add_snapshot(&self.test.store, &id, parent, SNAPSHOT_BYTES);
        self.snapshots.insert(name.to_owned(), id);
    }

    fn layer(&mut self, snapshot: &str, layer: &str) {
        let store = &self.test.store;
        let digest = store.write_blob(layer.as_bytes()).unwrap();
        self.labels
            .insert(digest.hex().to_owned(), layer.to_owned());
        let record = LayerRecord {
            diff_id: digest,
            descriptor: Descriptor::of(
                MediaType::layer(Family::Oci, Compression::None),
                layer.as_bytes(),
            ),
            uncompressed_size: layer.len() as u64,
        };
        store
            .put_layer(&self.snapshots[snapshot], "test", &record)
            .unwrap();
    }

    fn partial(&mut self, name: &str) {
        let digest = Digest::sha256(name.as_bytes());
        match self
            .test
            .store
            .partial(&digest, &CancelToken::new())
            .unwrap()
        {
            Download::Partial(mut partial) => partial.write_all(&name.as_bytes()[..1]).unwrap(),
            Download::Done => panic!("`{name}` is there"),
        }
        self.labels
            .insert(format!("sha256-{}", digest.hex()), name.to_owned());
    }

    fn prune(&mut self, words: &[&str]) {
        let mut policy = PrunePolicy {
            images: PruneImages::Keep,
            cache: PruneCache::Keep,
            older_than: None,
            keep_bytes: None,
        };
        for word in words {
            match word.split_once('=').unwrap() {
                ("images", "unnamed") => policy.images = PruneImages::Unnamed,
                ("images", "all") => policy.images = PruneImages::All,
                ("cache", "all") => policy.cache = PruneCache::All,
                ("before", seconds) => {
                    let seconds = seconds.parse().unwrap();
                    policy.older_than = Some(Timestamp::from_seconds(seconds));
                }
                ("keep", kib) => policy.keep_bytes = Some(1024 * kib.parse::<u64>().unwrap()),
                _ => panic!("`{word}` is no option"),
            }
        }
        let report = self.test.store.prune(&policy).unwrap();
        let removed = [
            ("images", report.images.len() as u64),
            ("records", report.cache_records),
            ("snapshots", report.snapshots),
            ("blobs", report.blobs),
            ("partials", report.partials),
        ];
        let removed = removed.iter().filter(|(_, count)| *count > 0);
        let removed: Vec<_> = removed
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        writeln!(self.output, "pruned {}", removed.join(", ")).unwrap();
        assert_eq!(removed.is_empty(), report.freed.apparent == 0, "{report:?}");
    }

    fn describe(&self, store: &Store, name: &str) -> String {
        let Some(record) = store.cache_get(&key(name)).unwrap() else {
            return "nothing".to_owned();
        };
        match &record.snapshot {
            Some(id) => self.snapshot_name(id).to_owned(),
            None => "no snapshot".to_owned(),
        }
    }

    fn snapshot_name(&self, wanted: &SnapshotId) -> &str {
        let mut named = self.snapshots.iter().filter(|(_, id)| *id == wanted);
        named.next().map_or("?", |(name, _)| name)
    }

    fn show(&mut self) {
        let store = self.test.open_again();
        let mut text = String::new();
        for image in store.images().unwrap() {
            writeln!(text, "image {}", self.image_line(&image)).unwrap();
        }
        for (name, id) in &self.snapshots {
            if let Some(snapshot) = store.snapshot(id).unwrap() {
                assert!(snapshot.path.join("file").exists());
                writeln!(text, "snapshot {name}").unwrap();
            }
        }
        for directory in ["blobs/sha256", "partial"] {
            let there = names(&self.test.path(directory));
            let mut labels: Vec<_> = there
                .split_whitespace()
                .map(|name| self.labels[name].as_str())
                .collect();
            labels.sort_unstable();
            if !labels.is_empty() {
                writeln!(text, "{directory}: {}", labels.join(" ")).unwrap();
            }
        }
        let rows = store.usage().unwrap().cache_records;
        writeln!(text, "records {rows}").unwrap();
        self.output.push_str(&text);
    }

    fn image_line(&self, image: &Image) -> String {
        let name = image
            .name
            .as_ref()
            .map_or("-".to_owned(), Reference::familiar);
        let label = &self.labels[image.target.digest.hex()];
        format!("{name} {label} @{}", image.updated.seconds())
    }
}
