//! The layers of a root file system, as the engine hands them from step to step.
//!
//! A chain is kept in cache records as small JSON documents: version 1 is a whole chain, version 2
//! names the record with the layers below (see [`crate::chain_record`]).

use kiln_base::Timestamp;
use kiln_oci::{Descriptor, Digest, MediaType};
use kiln_store::{CacheKey, SnapshotId};
use serde_json::{Value, json};

/// The layers of a root, lowest first. Empty for `scratch`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) layers: Vec<ChainLayer>,
}

/// One layer of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChainLayer {
    /// Its files.
    pub(crate) snapshot: SnapshotId,
    /// Where it comes from.
    pub(crate) origin: Origin,
}

/// Where a layer comes from, and so where its blob is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A layer of an image that was there before the build; its blob is known.
    Image(Box<ImageLayer>),
    /// A step of this or an earlier build; its blob is made when an image needs it.
    Step {
        /// When the step ran.
        created: Timestamp,
    },
}

/// A layer of an existing image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageLayer {
    /// The digest of the uncompressed tar stream.
    pub(crate) diff_id: Digest,
    /// The compressed blob.
    pub(crate) blob: Descriptor,
    /// When the step ran that made it, for a step's result that came with an imported cache;
    /// `None` for a layer of an image, whose history says it.
    pub(crate) created: Option<Timestamp>,
}

impl Chain {
    /// This chain with one layer on top.
    pub(crate) fn with(&self, layer: ChainLayer) -> Self {
        // Each step of a build keeps its chain: none has room for more.
        let mut layers = Vec::with_capacity(self.layers.len() + 1);
        layers.extend_from_slice(&self.layers);
        layers.push(layer);
        Self { layers }
    }

    /// This chain with another's layers on top.
    pub(crate) fn with_all(&self, upper: &Self) -> Self {
        let mut layers = self.layers.clone();
        layers.extend_from_slice(&upper.layers);
        Self { layers }
    }

    /// The chain as bytes for a cache record.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        Self::record(None, &self.layers)
    }

    /// Layers as bytes for a cache record, where those below are in the record `below`.
    pub(crate) fn record(below: Option<&CacheKey>, layers: &[ChainLayer]) -> Vec<u8> {
        let layers: Vec<Value> = layers.iter().map(ChainLayer::to_json).collect();
        let document = match below {
            None => json!({ "version": 1, "layers": layers }),
            Some(key) => json!({ "version": 2, "below": key.to_string(), "layers": layers }),
        };
        document.to_string().into_bytes()
    }

    /// The chain from a cache record that has all of it; `None` where another version of kiln wrote
    /// it.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match Self::from_record(bytes)? {
            (None, layers) => Some(Self { layers }),
            (Some(_), _) => None,
        }
    }

    /// The layers of a cache record, and the record with those below them; `None` where another
    /// version of kiln wrote it.
    pub(crate) fn from_record(bytes: &[u8]) -> Option<(Option<CacheKey>, Vec<ChainLayer>)> {
        let document: Value = serde_json::from_slice(bytes).ok()?;
        let below = match document["version"].as_u64()? {
            1 => None,
            2 => Some(CacheKey::parse(document["below"].as_str()?)?),
            _ => return None,
        };
        let layers = document["layers"].as_array()?;
        let layers: Option<Vec<_>> = layers.iter().map(ChainLayer::from_json).collect();
        Some((below, layers?))
    }
}

impl ChainLayer {
    fn to_json(&self) -> Value {
        let snapshot = self.snapshot.as_str();
        match &self.origin {
            Origin::Image(image) => {
                let mut document = json!({
                    "snapshot": snapshot,
                    "diffId": image.diff_id.as_str(),
                    "mediaType": image.blob.media_type.as_str(),
                    "digest": image.blob.digest.as_str(),
                    "size": image.blob.size,
                });
                if let Some(created) = image.created {
                    document["created"] = json!([created.seconds(), created.nanoseconds()]);
                }
                document
            }
            Origin::Step { created } => json!({
                "snapshot": snapshot,
                "seconds": created.seconds(),
                "nanoseconds": created.nanoseconds(),
            }),
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        let snapshot = SnapshotId::parse(value["snapshot"].as_str()?)?;
        let origin = match value.get("seconds") {
            Some(seconds) => {
                let nanoseconds = u32::try_from(value["nanoseconds"].as_u64()?).ok()?;
                Origin::Step {
                    created: Timestamp::new(seconds.as_i64()?, nanoseconds),
                }
            }
            None => {
                let media_type = MediaType::parse(value["mediaType"].as_str()?);
                let digest = value["digest"].as_str()?.parse().ok()?;
                Origin::Image(Box::new(ImageLayer {
                    diff_id: value["diffId"].as_str()?.parse().ok()?,
                    blob: Descriptor::new(media_type, digest, value["size"].as_u64()?),
                    created: match &value["created"] {
                        Value::Null => None,
                        created => Some(Timestamp::new(
                            created[0].as_i64()?,
                            u32::try_from(created[1].as_u64()?).ok()?,
                        )),
                    },
                }))
            }
        };
        Some(Self { snapshot, origin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image_layer(text: &str) -> ChainLayer {
        let diff_id = Digest::sha256(text.as_bytes());
        let media_type = MediaType::parse("application/vnd.oci.image.layer.v1.tar+gzip");
        ChainLayer {
            snapshot: SnapshotId::of_chain(&diff_id),
            origin: Origin::Image(Box::new(ImageLayer {
                blob: Descriptor::new(media_type, diff_id.clone(), 7),
                diff_id,
                created: Some(Timestamp::new(5, 7)),
            })),
        }
    }

    #[test]
    fn a_chain_survives_its_record() {
        let step = ChainLayer {
            snapshot: SnapshotId::random(),
            origin: Origin::Step {
                created: Timestamp::new(-3, 5),
            },
        };
        let chain = Chain::default().with(image_layer("base")).with(step);
        assert_eq!(Chain::from_bytes(&chain.to_bytes()), Some(chain));
    }

    #[test]
    fn the_top_of_a_chain_names_what_is_below() {
        let key = CacheKey([7; 32]);
        let layers = vec![image_layer("top")];
        let record = Chain::record(Some(&key), &layers);
        assert_eq!(Chain::from_bytes(&record), None);
        assert_eq!(Chain::from_record(&record), Some((Some(key), layers)));
    }

    #[test]
    fn a_record_of_another_version_is_not_used() {
        assert_eq!(Chain::from_bytes(br#"{"version":3,"layers":[]}"#), None);
        assert_eq!(Chain::from_bytes(b"no JSON"), None);
    }
}
