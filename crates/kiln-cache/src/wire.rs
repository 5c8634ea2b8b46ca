//! The JSON forms of a cache's document. Fields that Go's encoder leaves out or prints as `null`
//! are optional here.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kiln_base::Timestamp;
use kiln_oci::MediaType;
use serde::{Deserialize, Serialize};

use crate::format::{
    CacheLayer, CacheRecord, ChainResult, FormatError, Input, LayerAnnotations, LayerResult,
    MAX_SIZE, Mark,
};
use crate::record::{hex, unhex};

/// What Go prints for a time that is not there.
const NO_TIME: &str = "0001-01-01T00:00:00Z";
const MARK_VERSION: u32 = 1;
/// The most bytes that kiln keeps beside a record.
const MAX_EXTRA: usize = 64 * 1024;

#[derive(Serialize, Deserialize, Default)]
struct ConfigWire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layers: Option<Vec<LayerWire>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    records: Option<Vec<RecordWire>>,
}

#[derive(Serialize, Deserialize)]
struct LayerWire {
    #[serde(default)]
    blob: String,
    /// Absent means 0, since that is what Go's encoder leaves out.
    #[serde(default, skip_serializing_if = "is_zero")]
    parent: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<AnnotationsWire>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnnotationsWire {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    media_type: String,
    #[serde(default, rename = "diffID", skip_serializing_if = "String::is_empty")]
    diff_id: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    size: i64,
    #[serde(default)]
    created_at: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct RecordWire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layers: Option<Vec<ResultWire>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chains: Option<Vec<ChainWire>>,
    #[serde(default)]
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inputs: Option<Vec<Option<Vec<InputWire>>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kiln: Option<MarkWire>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResultWire {
    layer: i64,
    #[serde(default)]
    created_at: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChainWire {
    layers: Option<Vec<i64>>,
    #[serde(default)]
    created_at: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct InputWire {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    selector: String,
    #[serde(default)]
    link: i64,
}

/// kiln's own member of a record; BuildKit's reader passes over it.
#[derive(Serialize, Deserialize)]
struct MarkWire {
    version: u32,
    /// The first of the record's keys, in hexadecimal.
    #[serde(default)]
    key: String,
    /// Base64.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    extra: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

pub(crate) fn read_config(
    bytes: &[u8],
) -> Result<(Vec<CacheLayer>, Vec<CacheRecord>), FormatError> {
    let wire: ConfigWire = read(bytes)?;
    let layers = wire.layers.unwrap_or_default();
    let layers = layers.into_iter().enumerate().map(read_layer);
    Ok((
        layers.collect::<Result<_, _>>()?,
        read_records(wire.records.unwrap_or_default())?,
    ))
}

pub(crate) fn read_inline(bytes: &[u8]) -> Result<Vec<CacheRecord>, FormatError> {
    let wire: Option<Vec<RecordWire>> = read(bytes)?;
    read_records(wire.unwrap_or_default())
}

pub(crate) fn print_config(layers: &[CacheLayer], records: &[CacheRecord]) -> Vec<u8> {
    print(&ConfigWire {
        layers: some(layers.iter().map(print_layer).collect()),
        records: some(records.iter().map(print_record).collect()),
    })
}

pub(crate) fn print_inline(records: &[CacheRecord]) -> Vec<u8> {
    print(&records.iter().map(print_record).collect::<Vec<_>>())
}

fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, FormatError> {
    if bytes.len() > MAX_SIZE {
        return Err(FormatError::TooLarge(bytes.len()));
    }
    serde_json::from_slice(bytes).map_err(FormatError::Json)
}

fn print(wire: &impl serde::Serialize) -> Vec<u8> {
    // Maps with keys that are not text, which is all that can fail, don't occur.
    serde_json::to_vec(wire).unwrap_or_default()
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn index(what: &'static str, at: usize, named: i64) -> Result<usize, FormatError> {
    usize::try_from(named).map_err(|_| FormatError::Index {
        what,
        index: at,
        named,
    })
}

fn read_time(text: Option<String>) -> Option<Timestamp> {
    // A time that can't be read is as good as none: it only orders results.
    text.filter(|text| text != NO_TIME)?.parse().ok()
}

fn print_time(time: Option<Timestamp>) -> String {
    time.map_or_else(|| NO_TIME.to_owned(), |time| time.to_string())
}

fn read_layer((at, wire): (usize, LayerWire)) -> Result<CacheLayer, FormatError> {
    let parent = match wire.parent {
        -1 => None,
        parent => Some(index("layer", at, parent)?),
    };
    let annotations = wire.annotations.map(|wire| {
        Ok(LayerAnnotations {
            media_type: MediaType::parse(&wire.media_type),
            diff_id: match wire.diff_id.as_str() {
                "" => None,
                text => Some(text.parse().map_err(|_| FormatError::LayerDigest(at))?),
            },
            size: u64::try_from(wire.size).unwrap_or(0),
            created: read_time(wire.created_at),
        })
    });
    Ok(CacheLayer {
        blob: wire
            .blob
            .parse()
            .map_err(|_| FormatError::LayerDigest(at))?,
        parent,
        annotations: annotations.transpose()?,
    })
}

fn print_layer(layer: &CacheLayer) -> LayerWire {
    let number = |index: usize| i64::try_from(index).unwrap_or(i64::MAX);
    LayerWire {
        blob: layer.blob.to_string(),
        parent: layer.parent.map_or(-1, number),
        annotations: layer
            .annotations
            .as_ref()
            .map(|annotations| AnnotationsWire {
                media_type: annotations.media_type.to_string(),
                diff_id: annotations
                    .diff_id
                    .as_ref()
                    .map_or_else(String::new, ToString::to_string),
                size: i64::try_from(annotations.size).unwrap_or(i64::MAX),
                created_at: Some(print_time(annotations.created)),
            }),
    }
}

fn read_records(wire: Vec<RecordWire>) -> Result<Vec<CacheRecord>, FormatError> {
    wire.into_iter().enumerate().map(read_record).collect()
}

fn read_record((at, wire): (usize, RecordWire)) -> Result<CacheRecord, FormatError> {
    let input = |input: InputWire| {
        Ok(Input {
            selector: input.selector,
            link: index("record", at, input.link)?,
        })
    };
    let inputs = wire.inputs.unwrap_or_default().into_iter().map(|inputs| {
        let inputs = inputs.unwrap_or_default();
        inputs.into_iter().map(input).collect::<Result<_, _>>()
    });
    let results = wire.layers.unwrap_or_default().into_iter().map(|result| {
        Ok(LayerResult {
            layer: index("record", at, result.layer)?,
            created: read_time(result.created_at),
        })
    });
    let chains = wire.chains.unwrap_or_default().into_iter().map(|chain| {
        let layers = chain.layers.unwrap_or_default().into_iter();
        let layers = layers.map(|layer| index("record", at, layer));
        Ok(ChainResult {
            layers: layers.collect::<Result<_, _>>()?,
            created: read_time(chain.created_at),
        })
    });
    Ok(CacheRecord {
        digest: wire.digest,
        inputs: inputs.collect::<Result<_, FormatError>>()?,
        results: results.collect::<Result<_, FormatError>>()?,
        chains: chains.collect::<Result<_, FormatError>>()?,
        mark: read_mark(at, wire.kiln)?,
    })
}

fn print_record(record: &CacheRecord) -> RecordWire {
    let number = |index: usize| i64::try_from(index).unwrap_or(i64::MAX);
    let inputs = record.inputs.iter().map(|inputs| {
        let inputs = inputs.iter().map(|input| InputWire {
            selector: input.selector.clone(),
            link: number(input.link),
        });
        Some(inputs.collect())
    });
    let results = record.results.iter().map(|result| ResultWire {
        layer: number(result.layer),
        created_at: Some(print_time(result.created)),
    });
    let chains = record.chains.iter().map(|chain| ChainWire {
        layers: Some(chain.layers.iter().map(|layer| number(*layer)).collect()),
        created_at: Some(print_time(chain.created)),
    });
    RecordWire {
        layers: some(results.collect()),
        chains: some(chains.collect()),
        digest: record.digest.clone(),
        inputs: some(inputs.collect()),
        kiln: record.mark.as_ref().map(|mark| MarkWire {
            version: MARK_VERSION,
            key: hex(&mark.key),
            extra: BASE64_STANDARD.encode(&mark.extra),
        }),
    }
}

/// A mark of another version is not kiln's to read; the record is then nobody's.
fn read_mark(at: usize, wire: Option<MarkWire>) -> Result<Option<Mark>, FormatError> {
    let Some(wire) = wire.filter(|wire| wire.version == MARK_VERSION) else {
        return Ok(None);
    };
    let key = unhex(&wire.key).ok_or(FormatError::Mark(at))?;
    let extra = BASE64_STANDARD.decode(&wire.extra);
    match extra {
        Ok(extra) if extra.len() <= MAX_EXTRA => Ok(Some(Mark { key, extra })),
        _ => Err(FormatError::Mark(at)),
    }
}
