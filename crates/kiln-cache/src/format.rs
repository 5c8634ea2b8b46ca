//! The document of a cache: `application/vnd.buildkit.cacheconfig.v0`.
//!
//! ```json
//! {"layers":  [{"blob":"sha256:…","parent":-1}, {"blob":"sha256:…"}],
//!  "records": [{"digest":"sha256:…"},
//!              {"digest":"sha256:…","inputs":[[{"selector":"…","link":0}]],
//!               "layers":[{"layer":1,"createdAt":"…"}]}]}
//! ```
//!
//! A layer stands on its parent; a record's result is a layer with all below it, or, in `chains`,
//! a list of layers. A record is found by its digest and the records that its inputs are.
//!
//! The document comes from a stranger: its size is bounded, every index in it leads somewhere, and
//! neither layers nor records lead back to themselves, or they are not read at all.

use kiln_base::Timestamp;
use kiln_oci::{Digest, MediaType};

use crate::record::Key;
use crate::wire;

/// The media type of the document.
pub const MEDIA_TYPE: &str = "application/vnd.buildkit.cacheconfig.v0";
/// The largest document that is read, in bytes.
pub const MAX_SIZE: usize = 16 * 1024 * 1024;
/// How many layers a result may consist of.
pub const MAX_CHAIN: usize = 1024;

/// A cache's document. Every index in it leads somewhere, and nothing leads back to itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheConfig {
    layers: Vec<CacheLayer>,
    records: Vec<CacheRecord>,
}

/// A layer, on its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheLayer {
    /// The blob.
    pub blob: Digest,
    /// The layer below, by its index.
    pub parent: Option<usize>,
    /// What a descriptor says where there is no manifest that lists the layers.
    pub annotations: Option<LayerAnnotations>,
}

/// What is known of a layer besides its blob's digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerAnnotations {
    /// The blob's media type.
    pub media_type: MediaType,
    /// The digest of the uncompressed archive.
    pub diff_id: Option<Digest>,
    /// The blob's size in bytes.
    pub size: u64,
    /// When it was made.
    pub created: Option<Timestamp>,
}

/// A cache key with its results.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheRecord {
    /// The key's own part.
    pub digest: String,
    /// For each input the records that it may be, at least one.
    pub inputs: Vec<Vec<Input>>,
    /// Results that are a layer with all below it.
    pub results: Vec<LayerResult>,
    /// Results that are layers in an order of their own.
    pub chains: Vec<ChainResult>,
    /// What kiln keeps with a record of its own.
    pub mark: Option<Mark>,
}

/// What an input may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Input {
    /// Which part of the input counts; empty for all.
    pub selector: String,
    /// The record, by its index.
    pub link: usize,
}

/// A result: a layer with all below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerResult {
    /// The uppermost layer, by its index.
    pub layer: usize,
    /// When it was made.
    pub created: Option<Timestamp>,
}

/// A result: layers, lowest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainResult {
    /// By their indexes.
    pub layers: Vec<usize>,
    /// When it was made.
    pub created: Option<Timestamp>,
}

/// What kiln keeps with a record of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The first of the keys of the result.
    pub key: Key,
    /// What the engine keeps with the result.
    pub extra: Vec<u8>,
}

/// A document can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// More bytes than documents may have.
    #[error("it has {0} bytes, more than the allowed {MAX_SIZE}")]
    TooLarge(usize),
    /// Not JSON, or not of this form.
    #[error("it is not a cache document")]
    Json(#[source] serde_json::Error),
    /// A layer without a proper digest.
    #[error("layer {0} has no usable digest")]
    LayerDigest(usize),
    /// An index that leads nowhere.
    #[error("{what} {index} names {named}, which is not there")]
    Index {
        /// What has the index: `layer`, `record`.
        what: &'static str,
        /// Which one.
        index: usize,
        /// What it says.
        named: i64,
    },
    /// Layers or records that lead back to themselves.
    #[error("{0} {1} leads back to itself")]
    Loop(&'static str, usize),
    /// A result of too many layers.
    #[error("layer {0} stands on more than {MAX_CHAIN} others")]
    TooDeep(usize),
    /// An input that can be nothing.
    #[error("record {0} has an input without a record")]
    EmptyInput(usize),
    /// kiln's own part of a record is damaged.
    #[error("record {0} has a damaged `kiln` member")]
    Mark(usize),
}

impl CacheConfig {
    /// A document of these parts, where they are sound.
    pub fn new(layers: Vec<CacheLayer>, records: Vec<CacheRecord>) -> Result<Self, FormatError> {
        let config = Self { layers, records };
        config.check_layers()?;
        config.check_indexes()?;
        config.check_loops()?;
        Ok(config)
    }

    /// Reads a document.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        let (layers, records) = wire::read_config(bytes)?;
        Self::new(layers, records)
    }

    /// Reads the records of an inline cache, whose layers are those of the image, each on the one
    /// before.
    pub fn from_inline(records: &[u8], layers: &[Digest]) -> Result<Self, FormatError> {
        let layers = layers.iter().enumerate().map(|(index, blob)| CacheLayer {
            blob: blob.clone(),
            parent: index.checked_sub(1),
            annotations: None,
        });
        Self::new(layers.collect(), wire::read_inline(records)?)
    }

    /// The document as JSON: equal documents give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::print_config(&self.layers, &self.records)
    }

    /// The records alone, for an inline cache.
    pub fn records_to_bytes(&self) -> Vec<u8> {
        wire::print_inline(&self.records)
    }

    /// The layers.
    pub fn layers(&self) -> &[CacheLayer] {
        &self.layers
    }

    /// The records.
    pub fn records(&self) -> &[CacheRecord] {
        &self.records
    }

    /// The layers that a layer's result consists of, lowest first, by their indexes.
    pub fn chain(&self, layer: usize) -> Vec<usize> {
        let above = |index: &usize| self.layers.get(*index).and_then(|layer| layer.parent);
        let mut chain: Vec<usize> = std::iter::successors(Some(layer), above).collect();
        chain.reverse();
        chain
    }

    /// The same document, with what is known of each layer beside it.
    #[must_use]
    pub fn annotated(self, annotate: impl Fn(&Digest) -> Option<LayerAnnotations>) -> Self {
        let layers = self.layers.into_iter().map(|layer| CacheLayer {
            annotations: annotate(&layer.blob),
            ..layer
        });
        Self {
            layers: layers.collect(),
            records: self.records,
        }
    }

    fn check_layers(&self) -> Result<(), FormatError> {
        // How many layers a layer's result has; 0 where it is not known yet.
        let mut depths = vec![0usize; self.layers.len()];
        for start in 0..self.layers.len() {
            let mut path = Vec::new();
            let mut next = Some(start);
            let mut below = 0;
            while let Some(index) = next {
                if depths[index] > 0 {
                    below = depths[index];
                    break;
                }
                if path.contains(&index) {
                    return Err(FormatError::Loop("layer", index));
                }
                if path.len() >= MAX_CHAIN {
                    return Err(FormatError::TooDeep(start));
                }
                path.push(index);
                next = self.layers[index].parent;
                if let Some(parent) = next
                    && parent >= self.layers.len()
                {
                    return Err(wrong_index("layer", index, parent));
                }
            }
            for index in path.into_iter().rev() {
                below += 1;
                if below > MAX_CHAIN {
                    return Err(FormatError::TooDeep(index));
                }
                depths[index] = below;
            }
        }
        Ok(())
    }

    fn check_indexes(&self) -> Result<(), FormatError> {
        for (index, record) in self.records.iter().enumerate() {
            if record.inputs.iter().any(Vec::is_empty) {
                return Err(FormatError::EmptyInput(index));
            }
            let links = record.inputs.iter().flatten().map(|input| input.link);
            let results = record.results.iter().map(|result| result.layer);
            let chained = record.chains.iter().flat_map(|chain| chain.layers.iter());
            let layers = results.chain(chained.copied());
            if record.chains.iter().any(|c| c.layers.len() > MAX_CHAIN) {
                return Err(FormatError::TooDeep(index));
            }
            let outside = links
                .filter(|link| *link >= self.records.len())
                .chain(layers.filter(|layer| *layer >= self.layers.len()))
                .next();
            if let Some(named) = outside {
                return Err(wrong_index("record", index, named));
            }
        }
        Ok(())
    }

    /// Walks from every record to its inputs, without recursion.
    fn check_loops(&self) -> Result<(), FormatError> {
        #[derive(Clone, Copy, PartialEq)]
        enum State {
            New,
            Open,
            Done,
        }
        let links = |index: usize| -> Vec<usize> {
            let inputs = self.records[index].inputs.iter().flatten();
            inputs.map(|input| input.link).collect()
        };
        let mut states = vec![State::New; self.records.len()];
        for start in 0..self.records.len() {
            if states[start] != State::New {
                continue;
            }
            states[start] = State::Open;
            let mut stack = vec![(start, links(start))];
            while let Some((index, left)) = stack.last_mut() {
                let Some(link) = left.pop() else {
                    states[*index] = State::Done;
                    stack.pop();
                    continue;
                };
                match states[link] {
                    State::New => {
                        states[link] = State::Open;
                        stack.push((link, links(link)));
                    }
                    State::Open => return Err(FormatError::Loop("record", link)),
                    State::Done => {}
                }
            }
        }
        Ok(())
    }
}

fn wrong_index(what: &'static str, index: usize, named: usize) -> FormatError {
    FormatError::Index {
        what,
        index,
        named: i64::try_from(named).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
