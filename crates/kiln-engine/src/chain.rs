//! The layers of a root file system, as the engine hands them from step to step.
//!
//! A chain is kept in cache records as small JSON documents: version 1 is a whole chain, version 2
//! names the record with the layers below (see [`crate::chain_record`]).

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_base::Timestamp;
use kiln_oci::{Descriptor, Digest, MediaType};
use kiln_store::{CacheKey, SnapshotId};
use serde_json::{Value, json};

/// The layers of a root. Empty for `scratch`.
///
/// Each step of a build has its chain, so chains that begin alike share what is below: a chain is
/// its topmost layer and the chain below it, and a copy of it is one more reference.
#[derive(Clone, Default)]
pub(crate) struct Chain(Option<Arc<Link>>);

/// The topmost layer of a chain, and what is below.
struct Link {
    below: Chain,
    layer: ChainLayer,
    /// How many layers the chain has up to this one.
    length: usize,
    /// Whether all of them were found in the store, where they stay as long as the engine lives.
    found: AtomicBool,
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
        Self(Some(Arc::new(Link {
            below: self.clone(),
            layer,
            length: self.len() + 1,
            found: AtomicBool::new(false),
        })))
    }

    /// This chain with another's layers on top.
    pub(crate) fn with_all(&self, upper: &Self) -> Self {
        let layers = upper.layers().into_iter().cloned();
        layers.fold(self.clone(), |chain, layer| chain.with(layer))
    }

    /// How many layers there are.
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |link| link.length)
    }

    /// Whether there is no layer.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The topmost layer.
    pub(crate) fn top(&self) -> Option<&ChainLayer> {
        self.0.as_ref().map(|link| &link.layer)
    }

    /// The topmost layer, and the chain below it.
    pub(crate) fn split_top(&self) -> Option<(&ChainLayer, &Self)> {
        self.0.as_ref().map(|link| (&link.layer, &link.below))
    }

    /// The lowest layer.
    pub(crate) fn bottom(&self) -> Option<&ChainLayer> {
        self.down().last().and_then(Self::top)
    }

    /// The layers, lowest first.
    pub(crate) fn layers(&self) -> Vec<&ChainLayer> {
        let mut layers: Vec<_> = self.down().filter_map(Self::top).collect();
        layers.reverse();
        layers
    }

    /// The chains up to each of the layers, the shortest first.
    pub(crate) fn prefixes(&self) -> Vec<&Self> {
        let mut chains: Vec<_> = self.down().collect();
        chains.reverse();
        chains
    }

    /// This chain, and what is left when its topmost layers are taken off one by one, as long as
    /// there are some.
    pub(crate) fn down(&self) -> impl Iterator<Item = &Self> {
        let not_empty = |chain: &&Self| !chain.is_empty();
        std::iter::successors(Some(self).filter(not_empty), move |chain| {
            chain.split_top().map(|(_, below)| below).filter(not_empty)
        })
    }

    fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// The names of the layers' snapshots, lowest first.
    pub(crate) fn snapshots(&self) -> Vec<SnapshotId> {
        let layers = self.layers().into_iter();
        layers.map(|layer| layer.snapshot.clone()).collect()
    }

    /// Whether [`Chain::note_found`] was called for this chain or one on top of it that shares it.
    pub(crate) fn is_found(&self) -> bool {
        let link = self.0.as_ref();
        link.is_none_or(|link| link.found.load(Ordering::Relaxed))
    }

    /// Notes that the store has all layers.
    pub(crate) fn note_found(&self) {
        for chain in self.down().take_while(|chain| !chain.is_found()) {
            if let Some(link) = &chain.0 {
                link.found.store(true, Ordering::Relaxed);
            }
        }
    }

    /// The chain as bytes for a cache record.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        Self::record(None, &self.layers())
    }

    /// Layers as bytes for a cache record, where those below are in the record `below`.
    pub(crate) fn record(below: Option<&CacheKey>, layers: &[&ChainLayer]) -> Vec<u8> {
        let layers: Vec<Value> = layers.iter().map(|layer| layer.to_json()).collect();
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
            (None, layers) => Some(layers.into_iter().collect()),
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

/// Layers, lowest first.
impl FromIterator<ChainLayer> for Chain {
    fn from_iter<I: IntoIterator<Item = ChainLayer>>(layers: I) -> Self {
        let layers = layers.into_iter();
        layers.fold(Self::default(), |chain, layer| chain.with(layer))
    }
}

impl PartialEq for Chain {
    fn eq(&self, other: &Self) -> bool {
        if self.len() != other.len() {
            return false;
        }
        for (ours, theirs) in self.down().zip(other.down()) {
            if ours.is_same(theirs) {
                return true;
            }
            if ours.top() != theirs.top() {
                return false;
            }
        }
        true
    }
}

impl Eq for Chain {}

impl Debug for Chain {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.layers()).finish()
    }
}

impl Drop for Chain {
    /// Layer by layer: to drop a long chain within itself would take a stack as long.
    fn drop(&mut self) {
        let mut next = self.0.take();
        while let Some(mut link) = next.and_then(Arc::into_inner) {
            next = link.below.0.take();
        }
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
    fn chains_that_begin_alike_share_what_is_below() {
        let names = |chain: &Chain| -> Vec<SnapshotId> { chain.snapshots() };
        let base: Chain = ["one", "two"].map(image_layer).into_iter().collect();
        let (left, right) = (
            base.with(image_layer("left")),
            base.with(image_layer("right")),
        );
        let snapshot = |text: &str| image_layer(text).snapshot;
        assert_eq!(names(&left), ["one", "two", "left"].map(snapshot));
        assert_eq!(left.bottom(), Some(&image_layer("one")));
        assert_eq!(left.split_top(), Some((&image_layer("left"), &base)));
        assert_eq!(left.prefixes().len(), 3);
        assert_eq!(left.prefixes()[1], &base);
        assert_ne!(left, right);
        let all = left.with_all(&right);
        assert_eq!(
            names(&all),
            ["one", "two", "left", "one", "two", "right"].map(snapshot)
        );
        left.note_found();
        let found = [&left, &base, &right, &all, &Chain::default()].map(Chain::is_found);
        assert_eq!(found, [true, true, false, false, true]);
    }

    #[test]
    fn a_long_chain_is_dropped() {
        let layer = image_layer("layer");
        let chain: Chain = (0..200_000).map(|_| layer.clone()).collect();
        assert_eq!(chain.len(), 200_000);
        drop(chain);
    }

    #[test]
    fn the_top_of_a_chain_names_what_is_below() {
        let key = CacheKey([7; 32]);
        let layers = vec![image_layer("top")];
        let record = Chain::record(Some(&key), &layers.iter().collect::<Vec<_>>());
        assert_eq!(Chain::from_bytes(&record), None);
        assert_eq!(Chain::from_record(&record), Some((Some(key), layers)));
    }

    #[test]
    fn a_record_of_another_version_is_not_used() {
        assert_eq!(Chain::from_bytes(br#"{"version":3,"layers":[]}"#), None);
        assert_eq!(Chain::from_bytes(b"no JSON"), None);
    }
}
