//! How one output's image is written: the attributes that every image exporter of BuildKit has.

use kiln_base::Timestamp;
use kiln_engine::{FileTimes, ImageOptions};
use kiln_layer::{GzipLevel, LayerCompression, ZstdLevel};
use kiln_oci::Reference;

use super::attributes::Attributes;
use super::{OutputsError, Packing, Settings, family, parse_name};
use crate::args::{CompressionName, FormatName};

/// The set of rules that kiln writes images by, by BuildKit's number.
const RULES: &str = "30";

/// How layers are to be packed, before the level is checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    format: FormatName,
    compression: CompressionName,
    level: Option<u8>,
    single_member: bool,
    rewrite: bool,
}

impl Wish {
    /// What the settings and the flags for the whole build ask for.
    pub(super) fn of(settings: &Settings, rewrite_timestamp: Option<bool>) -> Self {
        Self {
            format: settings.format,
            compression: settings.compression,
            level: settings.compression_level,
            single_member: settings.gzip_single_member,
            rewrite: rewrite_timestamp.unwrap_or(true),
        }
    }

    pub(super) fn packing(self) -> Result<Packing, OutputsError> {
        Ok(Packing {
            format: family(self.format),
            compression: self.layer_compression()?,
            file_times: file_times(self.rewrite),
        })
    }

    fn layer_compression(self) -> Result<LayerCompression, OutputsError> {
        let wrong = |kind, range, level| OutputsError::Level { kind, range, level };
        Ok(match self.compression {
            CompressionName::Uncompressed => LayerCompression::None,
            CompressionName::Gzip => {
                let default = if self.single_member {
                    GzipLevel::DEFAULT_SINGLE
                } else {
                    GzipLevel::DEFAULT
                };
                let level = self.level.map_or(Ok(default), |level| {
                    GzipLevel::new(level).ok_or(wrong("gzip", "0 to 9", level))
                })?;
                if self.single_member {
                    LayerCompression::GzipSingle(level)
                } else {
                    LayerCompression::Gzip(level)
                }
            }
            CompressionName::Zstd if self.format == FormatName::Docker => {
                return Err(OutputsError::ZstdInDocker);
            }
            CompressionName::Zstd => LayerCompression::Zstd(match self.level {
                // Zstandard's own word for its default.
                None | Some(0) => ZstdLevel::DEFAULT,
                Some(level) => ZstdLevel::new(level).ok_or(wrong("zstd", "1 to 22", level))?,
            }),
        })
    }
}

const fn file_times(rewrite: bool) -> FileTimes {
    if rewrite {
        FileTimes::Clamp
    } else {
        FileTimes::Keep
    }
}

impl Attributes {
    /// Takes what says how the image is written.
    pub(super) fn image_options(&mut self, base: Wish) -> Result<ImageOptions, OutputsError> {
        self.only(
            "compatibility-version",
            RULES,
            "kiln writes images by the newest rules only, which are 30",
        )?;
        self.only(
            "attestation-inline",
            "true",
            "attestations are always part of the image",
        )?;
        self.only(
            "danging-name-empty-only",
            "true",
            "an image that has a name gets no other one",
        )?;
        let names = self.names()?;
        let oci = self.switch("oci-mediatypes")?;
        let mut wish = base;
        if let Some(oci) = oci {
            wish.format = if oci {
                FormatName::Oci
            } else {
                FormatName::Docker
            };
        }
        let says_compression = self.compression(&mut wish)?;
        // Also where the settings' compression does not fit the output's media types.
        let compression = wish.layer_compression()?;
        Ok(ImageOptions {
            names,
            format: oci.map(|_| family(wish.format)),
            compression: says_compression.then_some(compression),
            force_compression: self.switch("force-compression")?.unwrap_or(false),
            file_times: self.switch("rewrite-timestamp")?.map(file_times),
            epoch: self.epoch()?,
            annotations: self.annotations()?,
            name_canonical: self.switch("name-canonical")?.unwrap_or(false),
            dangling_prefix: self
                .take("dangling-name-prefix")
                .filter(|prefix| !prefix.is_empty()),
            attestation_artifact: self.switch("oci-artifact")?.unwrap_or(false),
            keep_nondistributable: self.switch("prefer-nondist-layers")?.unwrap_or(false),
        })
    }

    /// `compression` and `compression-level`; whether either is there.
    fn compression(&mut self, wish: &mut Wish) -> Result<bool, OutputsError> {
        let kind = self.take("compression");
        let level = self.take("compression-level");
        let says_something = kind.is_some() || level.is_some();
        if let Some(value) = kind {
            let compression = match value.as_str() {
                "gzip" => CompressionName::Gzip,
                "zstd" => CompressionName::Zstd,
                "uncompressed" => CompressionName::Uncompressed,
                "estargz" => return Err(OutputsError::Estargz),
                _ => {
                    let reason = "expected `gzip`, `zstd` or `uncompressed`";
                    return Err(OutputsError::Value {
                        name: "compression",
                        value,
                        reason,
                    });
                }
            };
            // A level that was meant for another compressor is not this one's.
            if compression != wish.compression {
                wish.level = None;
            }
            wish.compression = compression;
        }
        if let Some(value) = level {
            let Ok(level) = value.parse() else {
                return Err(OutputsError::Value {
                    name: "compression-level",
                    value,
                    reason: "expected a number",
                });
            };
            wish.level = Some(level);
        }
        Ok(says_something)
    }

    fn epoch(&mut self) -> Result<Option<Timestamp>, OutputsError> {
        let value = self.take("source-date-epoch").unwrap_or_default();
        if value.is_empty() {
            return Ok(None);
        }
        match value.parse() {
            Ok(seconds) => Ok(Some(Timestamp::from_seconds(seconds))),
            Err(_) => Err(OutputsError::Value {
                name: "source-date-epoch",
                value,
                reason: "expected a number of seconds",
            }),
        }
    }

    fn names(&mut self) -> Result<Vec<Reference>, OutputsError> {
        let text = self.take("name").unwrap_or_default();
        let names = text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        names.map(parse_name).collect()
    }
}
