//! Puts a configuration and layers together to an image: history times, diff ids, manifest.
//!
//! Pure: the same inputs give the same bytes.

use std::collections::BTreeMap;

use kiln_base::Timestamp;
use kiln_image::Image;
use kiln_oci::{Descriptor, Digest, Family, History, ImageConfig};

/// A layer that is ready to be named in a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadyLayer {
    /// The digest of the uncompressed tar stream.
    pub(crate) diff_id: Digest,
    /// The blob.
    pub(crate) blob: Descriptor,
    /// When the step ran; `None` for a layer of the base, whose history says it.
    pub(crate) created: Option<Timestamp>,
}

/// Which times an image's documents carry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// Now, for an image that has no new layer.
    pub(crate) now: Timestamp,
    /// `SOURCE_DATE_EPOCH`: no new time is later.
    pub(crate) epoch: Option<Timestamp>,
}

/// What an image's documents say, beside its configuration and layers.
#[derive(Debug, Clone)]
pub(crate) struct Documents {
    pub(crate) family: Family,
    /// Of the manifest.
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) times: Times,
}

/// Why an image can't be put together.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// A base image whose history does not fit its layers, or a defect here.
    #[error("the history names {history} layers, but there are {layers}")]
    HistoryMismatch {
        /// Entries of the history that are not empty layers.
        history: usize,
        /// Layers.
        layers: usize,
    },
}

/// Makes the image. `base_history` entries of the configuration's history come from the base
/// and stay as they are; `config` has no diff ids yet.
pub(crate) fn assemble(
    config: ImageConfig,
    base_history: usize,
    layers: &[ReadyLayer],
    documents: Documents,
) -> Result<Image, AssembleError> {
    let Documents {
        family,
        annotations,
        times,
    } = documents;
    let (config, base_history) = pad_base_history(config, base_history, layers);
    let history = config
        .history
        .iter()
        .filter(|entry| !entry.empty_layer)
        .count();
    if history != layers.len() {
        return Err(AssembleError::HistoryMismatch {
            history,
            layers: layers.len(),
        });
    }
    let new_layers = layers.iter().filter_map(|layer| layer.created);
    let history = date_history(&config, base_history, new_layers, times);
    let created = match history.get(base_history..).and_then(<[History]>::last) {
        Some(last) => last.created.clone(),
        None => Some(times.now.clamp_to(times.epoch).to_string()),
    };
    let diff_ids = layers.iter().map(|layer| layer.diff_id.clone()).collect();
    let config = ImageConfig {
        created,
        history,
        diff_ids,
        ..config
    };
    let blobs = layers.iter().map(|layer| layer.blob.clone()).collect();
    Ok(Image::new(family, config, blobs, annotations))
}

/// Adds entries for layers of the base that its history leaves out, as the specification allows:
/// from here on there is one entry for each layer.
fn pad_base_history(
    config: ImageConfig,
    base_history: usize,
    layers: &[ReadyLayer],
) -> (ImageConfig, usize) {
    let base_layers = layers
        .iter()
        .take_while(|layer| layer.created.is_none())
        .count();
    let told = config
        .history
        .iter()
        .take(base_history)
        .filter(|entry| !entry.empty_layer)
        .count();
    let missing = base_layers.saturating_sub(told);
    let mut history = config.history.clone();
    let padding = std::iter::repeat_n(History::default(), missing);
    history.splice(base_history..base_history, padding);
    (ImageConfig { history, ..config }, base_history + missing)
}

/// Gives each new entry a time: that of its layer, or of the layer before it. So an image that was
/// found in the cache as a whole has the same bytes as when it was built.
fn date_history(
    config: &ImageConfig,
    base_history: usize,
    mut new_layers: impl Iterator<Item = Timestamp> + Clone,
    times: Times,
) -> Vec<History> {
    let mut current = new_layers.clone().next().unwrap_or(times.now);
    let date = |(index, entry): (usize, &History)| {
        if index < base_history {
            return entry.clone();
        }
        if !entry.empty_layer {
            current = new_layers.next().unwrap_or(current);
        }
        let created = Some(current.clamp_to(times.epoch).to_string());
        History {
            created,
            ..entry.clone()
        }
    };
    config.history.iter().enumerate().map(date).collect()
}

#[cfg(test)]
mod tests {
    use kiln_oci::{Compression, LayerType, MediaType, Platform};

    use super::*;

    fn layer(text: &str, created: Option<i64>) -> ReadyLayer {
        let media_type = MediaType::Layer(LayerType {
            family: Family::Oci,
            compression: Compression::Gzip,
            distributable: true,
        });
        ReadyLayer {
            diff_id: Digest::sha256(text.as_bytes()),
            blob: Descriptor::of(media_type, text.as_bytes()),
            created: created.map(Timestamp::from_seconds),
        }
    }

    fn entry(by: &str, empty_layer: bool) -> History {
        History {
            created_by: Some(by.into()),
            empty_layer,
            ..History::default()
        }
    }

    fn documents(epoch: Option<i64>) -> Documents {
        Documents {
            family: Family::Oci,
            annotations: BTreeMap::new(),
            times: Times {
                now: Timestamp::from_seconds(900),
                epoch: epoch.map(Timestamp::from_seconds),
            },
        }
    }

    fn created(history: Vec<History>, layers: &[ReadyLayer], epoch: Option<i64>) -> Vec<String> {
        let config = ImageConfig {
            history,
            ..ImageConfig::empty(Platform::new("linux", "amd64"))
        };
        let image = assemble(config, 1, layers, documents(epoch)).unwrap();
        let entries = image
            .config()
            .history
            .iter()
            .map(|entry| entry.created.clone());
        entries
            .chain([image.config().created.clone()])
            .map(Option::unwrap_or_default)
            .collect()
    }

    #[test]
    fn an_entry_without_a_layer_has_the_time_of_the_layer_before_it() {
        let history = vec![
            entry("base", false),
            entry("ENV", true),
            entry("RUN", false),
            entry("CMD", true),
        ];
        let layers = [layer("base", None), layer("run", Some(60))];
        let minute = "1970-01-01T00:01:00Z";
        assert_eq!(
            created(history, &layers, None),
            ["", minute, minute, minute, minute]
        );
    }

    #[test]
    fn the_epoch_is_the_latest_time() {
        let history = vec![entry("base", false), entry("a", false), entry("b", false)];
        let layers = [
            layer("base", None),
            layer("a", Some(5)),
            layer("b", Some(60)),
        ];
        let ten = "1970-01-01T00:00:10Z";
        assert_eq!(
            created(history, &layers, Some(10)),
            ["", "1970-01-01T00:00:05Z", ten, ten]
        );
    }

    #[test]
    fn a_base_without_history_gets_one_entry_for_each_layer() {
        let config = ImageConfig {
            history: vec![entry("RUN", false)],
            ..ImageConfig::empty(Platform::new("linux", "amd64"))
        };
        let layers = [layer("base", None), layer("run", Some(60))];
        let image = assemble(config, 0, &layers, documents(None)).unwrap();
        assert_eq!(image.config().history.len(), 2);
        assert_eq!(image.config().history[1].created_by.as_deref(), Some("RUN"));
    }

    #[test]
    fn a_history_that_does_not_fit_is_refused() {
        let history = vec![entry("base", false), entry("RUN", false)];
        let config = ImageConfig {
            history,
            ..ImageConfig::empty(Platform::new("linux", "amd64"))
        };
        let layers = [layer("base", None)];
        assert!(assemble(config, 1, &layers, documents(None)).is_err());
    }
}
