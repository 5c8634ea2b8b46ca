//! From `-o` words to outputs: which attributes a type knows, and what they come to.
//!
//! An attribute that a type doesn't know, or whose value kiln can't honour, is an error. How layers
//! are packed is one decision for a build, so outputs that ask for different packing are refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kiln_engine::{ArchiveKind, Dest, FileTimes, ImageOptions, LoadTarget, LocalMode, Output};
use kiln_layer::{GzipLevel, LayerCompression, ZstdLevel};
use kiln_oci::{Family, Reference};

use crate::args::{CompressionName, FormatName, OutputSpec, OutputType};

use super::locate::engine_sockets;
use super::{Environment, Settings};

/// Why an output can't be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputsError {
    #[error("the output type `{kind}` has no attribute `{name}`")]
    Unknown { kind: &'static str, name: String },
    #[error("`{name}={value}` is not possible: {reason}")]
    Value {
        name: &'static str,
        value: String,
        reason: &'static str,
    },
    #[error("the output type `{0}` needs `dest=PATH`")]
    NoDest(&'static str),
    #[error("only one output can go to standard output")]
    StdoutTwice,
    #[error("two outputs ask for different compression, media types or file times")]
    Packing,
    #[error("{kind} levels are {range}, not {level}")]
    Level {
        kind: &'static str,
        range: &'static str,
        level: u8,
    },
    #[error("Docker's media types have no zstd layers")]
    ZstdInDocker,
    #[error("`{text}` is not a name for an image")]
    Name {
        text: String,
        #[source]
        cause: kiln_oci::ReferenceError,
    },
    #[error("neither Docker nor Podman runs here: none of their sockets exists")]
    NoEngine,
    #[error("kiln can load images through Unix sockets only, but {0}")]
    RemoteEngine(String),
}

/// How layers and documents are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packing {
    pub(crate) format: Family,
    pub(crate) compression: LayerCompression,
    pub(crate) file_times: FileTimes,
}

/// How layers are to be packed, before the level is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wish {
    format: FormatName,
    compression: CompressionName,
    level: Option<u8>,
    rewrite: bool,
}

/// The outputs of a build and the packing they share.
pub(crate) fn resolve(
    specs: &[OutputSpec],
    rewrite_timestamp: Option<bool>,
    settings: &Settings,
    environment: &Environment,
) -> Result<(Vec<Output>, Packing), OutputsError> {
    let base = Wish {
        format: settings.format,
        compression: settings.compression,
        level: settings.compression_level,
        rewrite: rewrite_timestamp.unwrap_or(true),
    };
    let mut outputs = Vec::new();
    let mut wishes = Vec::new();
    for spec in specs {
        let mut attributes = Attributes::new(spec);
        // Files without an image have no packing of their own.
        if !matches!(
            spec.kind,
            OutputType::Local | OutputType::Tar | OutputType::CacheOnly
        ) {
            wishes.push(attributes.wish(base)?);
        }
        attributes.outputs(environment, &mut outputs)?;
        attributes.finish()?;
    }
    let wish = wishes.first().copied().unwrap_or(base);
    if wishes.iter().any(|other| *other != wish) {
        return Err(OutputsError::Packing);
    }
    if outputs.iter().filter(|output| is_stdout(output)).count() > 1 {
        return Err(OutputsError::StdoutTwice);
    }
    Ok((outputs, wish.packing(settings.gzip_single_member)?))
}

/// Whether an output goes to standard output.
pub(crate) const fn is_stdout(output: &Output) -> bool {
    matches!(
        output,
        Output::Tar {
            dest: Dest::Stdout,
            ..
        } | Output::Archive {
            dest: Dest::Stdout,
            ..
        }
    )
}

impl Wish {
    fn packing(self, single_member: bool) -> Result<Packing, OutputsError> {
        let wrong = |kind, range, level| OutputsError::Level { kind, range, level };
        let compression = match self.compression {
            CompressionName::Uncompressed => LayerCompression::None,
            CompressionName::Gzip => {
                let level = self.level.map_or(Ok(GzipLevel::DEFAULT), |level| {
                    GzipLevel::new(level).ok_or(wrong("gzip", "0 to 9", level))
                })?;
                if single_member {
                    LayerCompression::GzipSingle(level)
                } else {
                    LayerCompression::Gzip(level)
                }
            }
            CompressionName::Zstd if self.format == FormatName::Docker => {
                return Err(OutputsError::ZstdInDocker);
            }
            CompressionName::Zstd => {
                LayerCompression::Zstd(self.level.map_or(Ok(ZstdLevel::DEFAULT), |level| {
                    ZstdLevel::new(level).ok_or(wrong("zstd", "1 to 22", level))
                })?)
            }
        };
        Ok(Packing {
            format: family(self.format),
            compression,
            file_times: if self.rewrite {
                FileTimes::Clamp
            } else {
                FileTimes::Keep
            },
        })
    }
}

/// The engine's word for a family of media types.
pub(crate) const fn family(format: FormatName) -> Family {
    match format {
        FormatName::Oci => Family::Oci,
        FormatName::Docker => Family::Docker,
    }
}

/// The attributes of one output; each is taken once, and none may be left.
struct Attributes {
    kind: OutputType,
    left: BTreeMap<String, String>,
}

impl Attributes {
    fn new(spec: &OutputSpec) -> Self {
        Self {
            kind: spec.kind,
            left: spec.attributes.clone(),
        }
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.left.remove(name)
    }

    fn switch(&mut self, name: &'static str) -> Result<Option<bool>, OutputsError> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => match value.as_str() {
                "" | "true" | "1" => Ok(Some(true)),
                "false" | "0" => Ok(Some(false)),
                _ => Err(OutputsError::Value {
                    name,
                    value,
                    reason: "expected `true` or `false`",
                }),
            },
        }
    }

    /// A switch of which kiln can honour only one position.
    fn fixed(&mut self, name: &'static str, position: bool) -> Result<(), OutputsError> {
        match self.switch(name)? {
            Some(other) if other != position => Err(OutputsError::Value {
                name,
                value: other.to_string(),
                reason: "kiln can't do that yet",
            }),
            _ => Ok(()),
        }
    }

    fn wish(&mut self, base: Wish) -> Result<Wish, OutputsError> {
        let mut wish = base;
        if let Some(value) = self.take("compression") {
            wish.compression = match value.as_str() {
                "gzip" => CompressionName::Gzip,
                "zstd" => CompressionName::Zstd,
                "uncompressed" => CompressionName::Uncompressed,
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
            if wish.compression != base.compression {
                wish.level = None;
            }
        }
        if let Some(value) = self.take("compression-level") {
            wish.level = match value.parse() {
                Ok(level) => Some(level),
                Err(_) => {
                    let (name, reason) = ("compression-level", "expected a number");
                    return Err(OutputsError::Value {
                        name,
                        value,
                        reason,
                    });
                }
            };
        }
        if let Some(oci) = self.switch("oci-mediatypes")? {
            wish.format = if oci {
                FormatName::Oci
            } else {
                FormatName::Docker
            };
        }
        if let Some(rewrite) = self.switch("rewrite-timestamp")? {
            wish.rewrite = rewrite;
        }
        self.fixed("force-compression", false)?;
        Ok(wish)
    }

    fn names(&mut self) -> Result<Vec<Reference>, OutputsError> {
        let text = self.take("name").unwrap_or_default();
        let names = text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        names.map(parse_name).collect()
    }

    fn dest(&mut self, environment: &Environment) -> Option<Dest> {
        let dest = self.take("dest")?;
        Some(match dest.as_str() {
            "-" => Dest::Stdout,
            path => Dest::File(environment.resolve(Path::new(path))),
        })
    }

    fn directory(&mut self, environment: &Environment) -> Result<PathBuf, OutputsError> {
        match self.dest(environment) {
            Some(Dest::File(path)) => Ok(path),
            Some(Dest::Stdout) => Err(OutputsError::Value {
                name: "dest",
                value: "-".to_owned(),
                reason: "a directory can't go to standard output",
            }),
            None => Err(OutputsError::NoDest(self.type_name())),
        }
    }

    fn outputs(
        &mut self,
        environment: &Environment,
        outputs: &mut Vec<Output>,
    ) -> Result<(), OutputsError> {
        match self.kind {
            OutputType::Oci => outputs.push(self.archive(ArchiveKind::Oci, environment)?),
            OutputType::Docker if !self.left.contains_key("dest") => {
                outputs.push(Output::Load {
                    image: ImageOptions::default(),
                    target: load_target(environment)?,
                });
            }
            OutputType::Docker => outputs.push(self.archive(ArchiveKind::Docker, environment)?),
            OutputType::Tar => {
                let dest = self.dest(environment).unwrap_or(Dest::Stdout);
                outputs.push(Output::Tar { dest, split: None });
            }
            OutputType::Local => outputs.push(Output::Local {
                dest: self.directory(environment)?,
                split: None,
                mode: LocalMode::Copy,
            }),
            OutputType::Image => {
                self.fixed("store", true)?;
                outputs.push(Output::Store {
                    image: ImageOptions::default(),
                    unpack: false,
                });
                let names = self.names()?;
                if self.switch("push")? == Some(true) {
                    outputs.push(pushed(names));
                } else if let Some(name) = names.first() {
                    return Err(OutputsError::Value {
                        name: "name",
                        value: name.familiar(),
                        reason: "name the image with `-t`",
                    });
                }
            }
            OutputType::Registry => {
                self.fixed("push", true)?;
                let names = self.names()?;
                outputs.push(pushed(names));
            }
            OutputType::CacheOnly => {
                let (name, value) = ("type", "cacheonly".to_owned());
                let reason = "kiln can't do that yet";
                return Err(OutputsError::Value {
                    name,
                    value,
                    reason,
                });
            }
        }
        Ok(())
    }

    fn archive(
        &mut self,
        kind: ArchiveKind,
        environment: &Environment,
    ) -> Result<Output, OutputsError> {
        let names = self.names()?;
        if self.switch("tar")? == Some(false) {
            let dest = self.directory(environment)?;
            return Ok(Output::Layout {
                image: named(names),
                dest,
            });
        }
        let dest = self.dest(environment).unwrap_or(Dest::Stdout);
        Ok(Output::Archive {
            kind,
            image: named(names),
            dest,
        })
    }

    fn finish(self) -> Result<(), OutputsError> {
        let kind = self.type_name();
        match self.left.into_keys().next() {
            Some(name) => Err(OutputsError::Unknown { kind, name }),
            None => Ok(()),
        }
    }

    const fn type_name(&self) -> &'static str {
        match self.kind {
            OutputType::Oci => "oci",
            OutputType::Docker => "docker",
            OutputType::Tar => "tar",
            OutputType::Local => "local",
            OutputType::Image => "image",
            OutputType::Registry => "registry",
            OutputType::CacheOnly => "cacheonly",
        }
    }
}

fn named(names: Vec<Reference>) -> ImageOptions {
    ImageOptions {
        names,
        ..ImageOptions::default()
    }
}

fn pushed(names: Vec<Reference>) -> Output {
    Output::Push {
        image: named(names),
        by_digest: false,
        insecure: false,
    }
}

/// A name for an image, as `-t` takes it.
pub(crate) fn parse_name(text: &str) -> Result<Reference, OutputsError> {
    text.parse().map_err(|cause| OutputsError::Name {
        text: text.to_owned(),
        cause,
    })
}

/// The socket of the Docker or Podman that runs here.
fn load_target(environment: &Environment) -> Result<LoadTarget, OutputsError> {
    let sockets = engine_sockets(environment).map_err(OutputsError::RemoteEngine)?;
    let existing = sockets
        .into_iter()
        .find(|socket| kiln_sys::files::exists(socket));
    existing
        .map(LoadTarget::Socket)
        .ok_or(OutputsError::NoEngine)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::Layer;
    use super::super::env::tests::user;
    use super::*;

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "`expect!` makes a value")]
    fn check(specs: &[&str], expected: Expect) {
        let environment = user(&[("HOME", "/me"), ("DOCKER_HOST", "tcp://far:2375")]);
        let settings = Settings::resolve(&Layer::default(), BTreeMap::new(), &environment).unwrap();
        let specs: Vec<OutputSpec> = specs.iter().map(|spec| spec.parse().unwrap()).collect();
        let text = match resolve(&specs, None, &settings, &environment) {
            Ok((outputs, packing)) => {
                let outputs = outputs.iter().map(|output| format!("{output:?}\n"));
                outputs.chain([format!("{packing:?}\n")]).collect()
            }
            Err(error) => format!("error: {error}\n"),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn archives_and_files() {
        check(
            &["type=oci,dest=a.tar", "out"],
            expect![[r#"
                Archive { kind: Oci, image: ImageOptions { names: [], format: None, compression: None, force_compression: false, file_times: None, epoch: None, annotations: [], name_canonical: false, dangling_prefix: None, attestation_artifact: false, keep_nondistributable: false }, dest: File("/here/a.tar") }
                Local { dest: "/here/out", split: None, mode: Copy }
                Packing { format: Oci, compression: Gzip(GzipLevel(4)), file_times: Clamp }
            "#]],
        );
        check(
            &["-"],
            expect![[r#"
                Tar { dest: Stdout, split: None }
                Packing { format: Oci, compression: Gzip(GzipLevel(4)), file_times: Clamp }
            "#]],
        );
        check(
            &["type=docker,dest=-,name=a:1"],
            expect![[r#"
                Archive { kind: Docker, image: ImageOptions { names: [Reference { registry: "docker.io", repository: "library/a", tag: Some("1"), digest: None }], format: None, compression: None, force_compression: false, file_times: None, epoch: None, annotations: [], name_canonical: false, dangling_prefix: None, attestation_artifact: false, keep_nondistributable: false }, dest: Stdout }
                Packing { format: Oci, compression: Gzip(GzipLevel(4)), file_times: Clamp }
            "#]],
        );
        check(
            &["type=oci,tar=false,dest=d,compression=zstd,compression-level=9"],
            expect![[r#"
                Layout { image: ImageOptions { names: [], format: None, compression: None, force_compression: false, file_times: None, epoch: None, annotations: [], name_canonical: false, dangling_prefix: None, attestation_artifact: false, keep_nondistributable: false }, dest: "/here/d" }
                Packing { format: Oci, compression: Zstd(ZstdLevel(9)), file_times: Clamp }
            "#]],
        );
    }

    #[test]
    fn the_store_and_registries() {
        check(
            &["type=image"],
            expect![[r#"
            Store
            Packing { format: Oci, compression: Gzip(GzipLevel(4)), file_times: Clamp }
        "#]],
        );
        check(
            &["type=image,push=true,name=r.example/a"],
            expect![[r#"
            Store
            Push { names: [Reference { registry: "r.example", repository: "a", tag: Some("latest"), digest: None }] }
            Packing { format: Oci, compression: Gzip(GzipLevel(4)), file_times: Clamp }
        "#]],
        );
        check(
            &["type=registry,oci-mediatypes=false,rewrite-timestamp=false"],
            expect![[r#"
            Push { names: [] }
            Packing { format: Docker, compression: Gzip(GzipLevel(4)), file_times: Keep }
        "#]],
        );
    }

    #[test]
    fn what_cannot_be_honoured_is_an_error() {
        check(
            &["type=oci,dest=a,zip=1"],
            expect![[r#"
            error: the output type `oci` has no attribute `zip`
        "#]],
        );
        check(
            &["type=local,dest=-"],
            expect![[r#"
            error: `dest=-` is not possible: a directory can't go to standard output
        "#]],
        );
        check(
            &["-", "type=oci"],
            expect![[r#"
            error: only one output can go to standard output
        "#]],
        );
        check(
            &["type=oci,compression=estargz"],
            expect![[r#"
            error: `compression=estargz` is not possible: expected `gzip`, `zstd` or `uncompressed`
        "#]],
        );
        check(
            &["type=oci,force-compression=true"],
            expect![[r#"
            error: `force-compression=true` is not possible: kiln can't do that yet
        "#]],
        );
        check(
            &["type=oci,compression-level=40"],
            expect![[r#"
            error: gzip levels are 0 to 9, not 40
        "#]],
        );
        check(
            &["type=oci,compression=zstd,oci-mediatypes=false"],
            expect![[r#"
            error: Docker's media types have no zstd layers
        "#]],
        );
        check(
            &["type=oci,dest=a", "type=oci,dest=b,compression=zstd"],
            expect![[r#"
            error: two outputs ask for different compression, media types or file times
        "#]],
        );
        check(
            &["type=docker"],
            expect![[r#"
            error: kiln can load images through Unix sockets only, but `DOCKER_HOST` is `tcp://far:2375`
        "#]],
        );
        check(
            &["type=registry,name=A"],
            expect![[r#"
            error: `A` is not a name for an image
        "#]],
        );
        check(
            &["type=cacheonly"],
            expect![[r#"
            error: `type=cacheonly` is not possible: kiln can't do that yet
        "#]],
        );
    }
}
