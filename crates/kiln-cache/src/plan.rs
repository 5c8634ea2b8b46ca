//! From records to a document and back.

use std::collections::{BTreeMap, BTreeSet};

use kiln_oci::{Descriptor, Digest, MediaType};

use crate::format::{
    CacheConfig, CacheLayer, CacheRecord, ChainResult, FormatError, LayerAnnotations, LayerResult,
    Mark,
};
use crate::record::{Exported, Found, Key, Layer, Record, hex, unhex};

/// The annotation of a layer's descriptor with the digest of the uncompressed archive.
const UNCOMPRESSED: &str = "containerd.io/uncompressed";
/// The annotation of a layer's descriptor with the time it was made.
const CREATED: &str = "buildkit/createdat";

/// What is to be written: the document, and the layers that it names.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) config: CacheConfig,
    /// Each once, by digest.
    pub(crate) layers: BTreeMap<Digest, Layer>,
}

/// The digest of the record for one of kiln's keys.
pub(crate) fn record_digest(key: &Key) -> String {
    format!("sha256:{}", hex(key))
}

impl Plan {
    /// The document for these records. Equal records, in whatever order, give an equal document.
    pub(crate) fn new(exported: &Exported) -> Result<Self, FormatError> {
        let mut tree = Tree::default();
        for record in &exported.records {
            if !record.keys.is_empty() {
                tree.add(&record.layers);
            }
        }
        let (layers, places) = tree.flatten();
        let place = |record: &Record| {
            let digests: Vec<Digest> = digests(&record.layers);
            places.get(&digests).copied()
        };
        let records = records(&exported.records, |record| {
            let created = record.created;
            place(record).map(|layer| {
                (
                    Some(LayerResult { layer, created }),
                    Option::<ChainResult>::None,
                )
            })
        });
        let mut known = BTreeMap::new();
        for layer in exported.records.iter().flat_map(|record| &record.layers) {
            known
                .entry(layer.descriptor.digest.clone())
                .or_insert_with(|| layer.clone());
        }
        let config = CacheConfig::new(layers, records)?;
        let named: BTreeSet<&Digest> = config.layers().iter().map(|layer| &layer.blob).collect();
        known.retain(|digest, _| named.contains(digest));
        Ok(Self {
            config,
            layers: known,
        })
    }

    /// The records of an inline cache: of the results, those that consist of layers of the image.
    pub(crate) fn inline(
        exported: &Exported,
        image: &[Digest],
    ) -> Result<CacheConfig, FormatError> {
        let layers = image.iter().enumerate().map(|(index, blob)| CacheLayer {
            blob: blob.clone(),
            parent: index.checked_sub(1),
            annotations: None,
        });
        let records = records(&exported.records, |record| {
            let digests = digests(&record.layers);
            let created = record.created;
            if image.starts_with(&digests) {
                let layer = digests.len().checked_sub(1)?;
                return Some((Some(LayerResult { layer, created }), None));
            }
            let position = |digest: &Digest| image.iter().position(|known| known == digest);
            let layers: Option<Vec<usize>> = digests.iter().map(position).collect();
            let chain = ChainResult {
                layers: layers.filter(|layers| !layers.is_empty())?,
                created,
            };
            Some((None, Some(chain)))
        });
        CacheConfig::new(layers.collect(), records)
    }

    /// The document with what descriptors say, for where there is no manifest.
    pub(crate) fn annotated(&self) -> CacheConfig {
        self.config.clone().annotated(|digest| {
            let layer = self.layers.get(digest)?;
            Some(LayerAnnotations {
                media_type: layer.descriptor.media_type.clone(),
                diff_id: Some(layer.diff_id.clone()),
                size: layer.descriptor.size,
                created: layer.created,
            })
        })
    }
}

fn digests(layers: &[Layer]) -> Vec<Digest> {
    let digests = layers.iter().map(|layer| layer.descriptor.digest.clone());
    digests.collect()
}

type Results = (Option<LayerResult>, Option<ChainResult>);

/// One record of the document for each key, by key.
fn records(exported: &[Record], results: impl Fn(&Record) -> Option<Results>) -> Vec<CacheRecord> {
    let mut by_digest = BTreeMap::new();
    for record in exported {
        let Some(first) = record.keys.first() else {
            continue;
        };
        let results = match results(record) {
            Some(results) => results,
            // A result of no layer at all is one, too.
            None if record.layers.is_empty() => (None, None),
            None => continue,
        };
        for key in &record.keys {
            by_digest.insert(
                record_digest(key),
                CacheRecord {
                    digest: record_digest(key),
                    inputs: Vec::new(),
                    results: results.0.into_iter().collect(),
                    chains: results.1.clone().into_iter().collect(),
                    mark: Some(Mark {
                        key: *first,
                        extra: record.extra.clone(),
                    }),
                },
            );
        }
    }
    by_digest.into_values().collect()
}

/// Chains of layers, merged where they begin alike.
#[derive(Default)]
struct Tree(BTreeMap<Digest, Self>);

impl Tree {
    fn add(&mut self, layers: &[Layer]) {
        let mut tree = self;
        for layer in layers {
            tree = tree.0.entry(layer.descriptor.digest.clone()).or_default();
        }
    }

    /// The layers, each after the one below, and where each chain ends.
    fn flatten(&self) -> (Vec<CacheLayer>, BTreeMap<Vec<Digest>, usize>) {
        let mut layers = Vec::new();
        let mut places = BTreeMap::new();
        let mut open = vec![(self, None, Vec::new())];
        while let Some((tree, parent, chain)) = open.pop() {
            for (blob, above) in &tree.0 {
                let index = layers.len();
                layers.push(CacheLayer {
                    blob: blob.clone(),
                    parent,
                    annotations: None,
                });
                let mut chain: Vec<Digest> = chain.clone();
                chain.push(blob.clone());
                places.insert(chain.clone(), index);
                open.push((above, Some(index), chain));
            }
        }
        (layers, places)
    }
}

/// A document that was read, with what is known of its layers.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: CacheConfig,
    /// For each layer of the document; `None` where the cache does not have it.
    layers: Vec<Option<Layer>>,
    records: BTreeMap<Key, usize>,
}

impl Loaded {
    /// A document whose layers `describe` knows. Those it does not know, or whose uncompressed
    /// digest nobody says, make the results that need them unusable, and nothing else.
    pub(crate) fn new(
        config: CacheConfig,
        describe: impl Fn(&CacheLayer) -> Option<Layer>,
    ) -> Self {
        let layers = config.layers().iter().map(describe).collect();
        let keys = config.records().iter().enumerate();
        let records = keys.filter_map(|(index, record)| {
            record.mark.as_ref()?;
            let key = unhex(record.digest.strip_prefix("sha256:")?)?;
            record.inputs.is_empty().then_some((key, index))
        });
        Self {
            records: records.collect(),
            layers,
            config,
        }
    }

    /// A document that describes its layers itself.
    pub(crate) fn annotated(config: CacheConfig) -> Self {
        Self::new(config, |layer| {
            let annotations = layer.annotations.as_ref()?;
            Some(Layer {
                descriptor: Descriptor::new(
                    annotations.media_type.clone(),
                    layer.blob.clone(),
                    annotations.size,
                ),
                diff_id: annotations.diff_id.clone()?,
                created: annotations.created,
            })
        })
    }

    /// What is under one of kiln's keys.
    pub(crate) fn find(&self, key: &Key) -> Option<Found> {
        let record = &self.config.records()[*self.records.get(key)?];
        let mark = record.mark.as_ref()?;
        let layers = if record.results.is_empty() && record.chains.is_empty() {
            Vec::new()
        } else {
            self.result(record)?
        };
        Some(Found {
            key: mark.key,
            layers,
            extra: mark.extra.clone(),
        })
    }

    /// The layers of the newest result of a record that the cache has in full.
    pub(crate) fn result(&self, record: &CacheRecord) -> Option<Vec<Layer>> {
        let results = record.results.iter();
        let results = results.map(|r| (r.created, self.config.chain(r.layer)));
        let chains = record.chains.iter().map(|c| (c.created, c.layers.clone()));
        let mut all: Vec<_> = results.chain(chains).collect();
        all.sort_by_key(|(created, _)| std::cmp::Reverse(*created));
        all.into_iter().find_map(|(_, layers)| {
            let layers = layers.into_iter().map(|index| self.layers[index].clone());
            layers.collect::<Option<Vec<Layer>>>()
        })
    }

    /// How many results of kiln's steps there are.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }
}

/// A layer from a descriptor of a manifest; `None` where its uncompressed digest is not said.
pub(crate) fn layer_of(descriptor: &Descriptor) -> Option<Layer> {
    let annotation = |name: &str| descriptor.annotations.get(name);
    Some(Layer {
        diff_id: annotation(UNCOMPRESSED)?.parse().ok()?,
        created: annotation(CREATED).and_then(|time| time.parse().ok()),
        descriptor: Descriptor::new(
            descriptor.media_type.clone(),
            descriptor.digest.clone(),
            descriptor.size,
        ),
    })
}

/// A layer as a manifest lists it.
pub(crate) fn descriptor_of(layer: &Layer, media_type: MediaType) -> Descriptor {
    let plain = Descriptor::new(
        media_type,
        layer.descriptor.digest.clone(),
        layer.descriptor.size,
    );
    let described = plain.with_annotation(UNCOMPRESSED, layer.diff_id.as_str());
    match layer.created {
        Some(created) => described.with_annotation(CREATED, &created.to_string()),
        None => described,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use kiln_base::Timestamp;
    use kiln_oci::{Compression, Family};

    use super::*;

    /// A layer whose blob is its name.
    pub(crate) fn layer(name: &str) -> Layer {
        Layer {
            descriptor: Descriptor::of(
                MediaType::layer(Family::Oci, Compression::Gzip),
                name.as_bytes(),
            ),
            diff_id: Digest::sha256(format!("diff of {name}").as_bytes()),
            created: Some(Timestamp::from_seconds(1_700_000_000)),
        }
    }

    /// A record under these keys, with a layer for each word.
    pub(crate) fn record(keys: &[u8], layers: &str) -> Record {
        Record {
            keys: keys.iter().map(|key| [*key; 32]).collect(),
            layers: layers.split_whitespace().map(layer).collect(),
            extra: format!("extra of {layers}").into_bytes(),
            created: Some(Timestamp::from_seconds(1_700_000_001)),
        }
    }

    pub(crate) fn exported(records: Vec<Record>) -> Exported {
        Exported {
            records,
            mount_from: Vec::new(),
        }
    }

    fn reread(plan: &Plan) -> Loaded {
        let bytes = plan.annotated().to_bytes();
        Loaded::annotated(CacheConfig::from_bytes(&bytes).expect("we wrote it"))
    }

    #[test]
    fn every_key_finds_its_result_again() {
        let records = vec![
            record(&[1, 2], "base a"),
            record(&[3], "base a b"),
            record(&[4], "base c b"),
            record(&[5], ""),
            record(&[], "base"),
        ];
        let plan = Plan::new(&exported(records.clone())).expect("a plan");
        assert_eq!(plan.layers.len(), 4);
        assert_eq!(plan.config.layers().len(), 5);
        let loaded = reread(&plan);
        assert_eq!(loaded.len(), 5);
        for record in &records {
            for key in &record.keys {
                let found = loaded.find(key).expect("a result");
                assert_eq!(found.key, record.keys[0]);
                assert_eq!(found.layers, record.layers);
                assert_eq!(found.extra, record.extra);
            }
        }
        assert_eq!(loaded.find(&[9; 32]), None);
    }

    #[test]
    fn the_order_of_records_does_not_matter() {
        let mut records = vec![record(&[1], "x a"), record(&[2], "x"), record(&[3], "y a")];
        let first = Plan::new(&exported(records.clone())).expect("a plan");
        records.reverse();
        let second = Plan::new(&exported(records)).expect("a plan");
        assert_eq!(first.config, second.config);
    }

    #[test]
    fn a_result_whose_layer_is_gone_is_not_found() {
        let plan = Plan::new(&exported(vec![record(&[1], "x"), record(&[2], "x y")]));
        let config = plan.expect("a plan").config;
        let gone = layer("y").descriptor.digest;
        let loaded = Loaded::new(config, |known| (known.blob != gone).then(|| layer("x")));
        assert!(loaded.find(&[1; 32]).is_some());
        assert!(loaded.find(&[2; 32]).is_none());
    }

    #[test]
    fn an_inline_cache_has_what_consists_of_the_image_s_layers() {
        let records = vec![
            record(&[1], "x"),
            record(&[2], "x y"),
            record(&[3], "y"),
            record(&[4], "z"),
        ];
        let image: Vec<Digest> = digests(&[layer("x"), layer("y")]);
        let config = Plan::inline(&exported(records), &image).expect("a document");
        let again = CacheConfig::from_inline(&config.records_to_bytes(), &image);
        let loaded = Loaded::new(again.expect("we wrote it"), |known| {
            let names = ["x", "y"].map(layer);
            names
                .into_iter()
                .find(|l| l.descriptor.digest == known.blob)
        });
        let layers = |key: u8| loaded.find(&[key; 32]).map(|found| digests(&found.layers));
        assert_eq!(layers(1), Some(image[..1].to_vec()));
        assert_eq!(layers(2), Some(image.clone()));
        assert_eq!(layers(3), Some(image[1..].to_vec()));
        assert_eq!(layers(4), None);
    }
}
