//! `kiln imagetools`: images and indexes in registries.

use std::fmt::Write as _;
use std::process::ExitCode;

use kiln_base::CancelToken;
use kiln_engine::{CreateRequest, ImagetoolsError, Inspected};
use kiln_oci::{Descriptor, Document, Platform, Reference};
use serde_json::{Map, Value, json};

use super::diff::shown;
use super::{Invocation, metadata};
use crate::args::{ImagetoolsArgs, ImagetoolsCommand, ImagetoolsCreateArgs};
use crate::error::CliError;
use crate::interrupt;
use crate::settings::{parse_annotation, parse_name};
use crate::terminal::{print, print_bytes, tell};

/// A descriptor in a file is not longer than this, in bytes.
const MOST_DESCRIPTOR: u64 = 1 << 20;

pub(super) fn imagetools(
    args: &ImagetoolsArgs,
    invocation: &Invocation,
) -> Result<ExitCode, CliError> {
    match &args.command {
        ImagetoolsCommand::Inspect { name, raw, format } => {
            let engine = invocation.open_engine()?;
            let cancel = CancelToken::new();
            let _watch = interrupt::watch(cancel.clone(), tell);
            let found = engine.imagetools_inspect(name, &cancel)?;
            if *raw {
                print_bytes(&found.bytes)?;
            } else {
                print(&formatted(&familiar(name), &found, format.as_deref())?)?;
            }
        }
        ImagetoolsCommand::Create(args) => create(args, invocation)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The name in full, where it is one.
fn familiar(name: &str) -> String {
    let parsed = name.parse::<Reference>();
    parsed.map_or_else(|_| name.to_owned(), |name| name.to_string())
}

fn formatted(name: &str, found: &Inspected, format: Option<&str>) -> Result<String, CliError> {
    let Some(format) = format else {
        return Ok(text(name, found));
    };
    let words: String = format.split_whitespace().collect();
    let document = match words.as_str() {
        "json" | "{{json.}}" => json!({
            "name": name,
            "manifest": manifest_json(found),
            "image": image_json(found),
        }),
        "{{json.Name}}" => name.into(),
        "{{json.Manifest}}" => manifest_json(found),
        "{{json.Image}}" => image_json(found),
        "{{.Name}}" => return Ok(format!("{name}\n")),
        "{{.Manifest.Digest}}" => return Ok(format!("{}\n", found.descriptor.digest)),
        "{{.Manifest.MediaType}}" => return Ok(format!("{}\n", found.descriptor.media_type)),
        _ => {
            return Err(CliError::usage(format!(
                "`{format}` is a template that kiln can't fill in"
            ))
            .hint("`--format json` prints all there is; take what you need with `jq`"));
        }
    };
    Ok(format!("{document:#}\n"))
}

fn text(name: &str, found: &Inspected) -> String {
    let mut text = String::new();
    let mut put = |indent: &str, name: &str, value: &str| {
        _ = writeln!(text, "{indent}{:<12}{}", format!("{name}:"), shown(value));
    };
    put("", "Name", name);
    put("", "MediaType", found.descriptor.media_type.as_str());
    put("", "Digest", &found.descriptor.digest.to_string());
    match &found.document {
        Document::Manifest(manifest) => {
            if let Some((Some(platform), _)) = found.configs.first() {
                put("", "Platform", &platform.to_string());
            }
            put("", "Layers", &manifest.layers.len().to_string());
        }
        Document::Index(index) => {
            put("", "Manifests", "");
            let repository = name.split('@').next().unwrap_or(name);
            for entry in &index.manifests {
                put("  ", "Name", &format!("{repository}@{}", entry.digest));
                put("  ", "MediaType", entry.media_type.as_str());
                if let Some(platform) = &entry.platform {
                    put("  ", "Platform", &platform.to_string());
                }
                for (key, value) in &entry.annotations {
                    put("    ", key, value);
                }
                put("", "", "");
            }
        }
    }
    let lines = text.lines().map(|line| {
        if line.trim() == ":" {
            ""
        } else {
            line.trim_end()
        }
    });
    lines.collect::<Vec<_>>().join("\n").trim_end().to_owned() + "\n"
}

fn manifest_json(found: &Inspected) -> Value {
    let mut document: Value = serde_json::from_slice(&found.bytes).unwrap_or_default();
    document["mediaType"] = found.descriptor.media_type.as_str().into();
    document["digest"] = found.descriptor.digest.to_string().into();
    document["size"] = found.descriptor.size.into();
    document
}

/// The configuration; of an index, each by its platform.
fn image_json(found: &Inspected) -> Value {
    let parsed = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    match (&found.document, found.configs.as_slice()) {
        (Document::Manifest(_), [(_, config)]) => parsed(config),
        (_, configs) => {
            let by_platform = configs.iter().filter_map(|(platform, config)| {
                Some((platform.as_ref()?.to_string(), parsed(config)))
            });
            Value::Object(by_platform.collect::<Map<_, _>>())
        }
    }
}

fn create(args: &ImagetoolsCreateArgs, invocation: &Invocation) -> Result<(), CliError> {
    let request = request(args, invocation)?;
    let engine = invocation.open_engine()?;
    let cancel = CancelToken::new();
    let _watch = interrupt::watch(cancel.clone(), tell);
    let created = engine.imagetools_combine(&request, &cancel)?;
    if args.dry_run {
        print_bytes(&created.bytes)?;
        return print("\n");
    }
    engine.imagetools_push(&created, &request.tags, &cancel)?;
    for tag in &request.tags {
        tell(&format!(
            "pushed {} as {}\n",
            created.descriptor.digest,
            tag.familiar()
        ));
    }
    if let Some(path) = &args.metadata_file {
        let mut names: Vec<String> = request.tags.iter().map(Reference::name).collect();
        names.sort();
        names.dedup();
        let document = json!({
            "containerimage.descriptor": descriptor_json(&created.descriptor),
            "image.name": names.join(","),
        });
        metadata::write(&invocation.environment.resolve(path), &document)?;
    }
    Ok(())
}

fn descriptor_json(descriptor: &Descriptor) -> Value {
    json!({
        "mediaType": descriptor.media_type.as_str(),
        "digest": descriptor.digest.to_string(),
        "size": descriptor.size,
    })
}

fn request(
    args: &ImagetoolsCreateArgs,
    invocation: &Invocation,
) -> Result<CreateRequest, CliError> {
    let tags: Vec<Reference> = args
        .tags
        .iter()
        .map(|tag| parse_name(tag))
        .collect::<Result<_, _>>()?;
    let mut sources = Vec::new();
    if args.append {
        sources.extend(tags.first().map(ToString::to_string));
    }
    for file in &args.files {
        let path = invocation.environment.resolve(file);
        let bytes = kiln_sys::files::read_limited(path, MOST_DESCRIPTOR)?;
        sources.push(String::from_utf8(bytes).map_err(CliError::usage)?);
    }
    sources.extend(args.sources.iter().cloned());
    let mut annotations = Vec::new();
    for text in &args.annotations {
        annotations.extend(parse_annotation(text).map_err(CliError::usage)?);
    }
    let platforms = args.platforms.iter().map(|text| {
        let parsed = text.parse::<Platform>();
        parsed.map_err(|error| CliError::usage(error).hint(format!("`{text}` was asked for")))
    });
    Ok(CreateRequest {
        tags,
        sources,
        annotations,
        prefer_index: args.prefer_index,
        platforms: platforms.collect::<Result<_, _>>()?,
    })
}

impl From<ImagetoolsError> for CliError {
    fn from(error: ImagetoolsError) -> Self {
        // Whose fault it is, and the exit code, is its cause's.
        match error {
            ImagetoolsError::Source { name, cause } => {
                Self::from(*cause).hint(format!("`{name}` was asked for"))
            }
            ImagetoolsError::Copy {
                digest,
                name,
                cause,
            } => Self::from(*cause).hint(format!("{digest} was being copied to `{name}`")),
            ImagetoolsError::Repository(_)
            | ImagetoolsError::Descriptor(_)
            | ImagetoolsError::Annotation { .. }
            | ImagetoolsError::DockerList
            | ImagetoolsError::Platform(_) => Self::usage(error),
        }
    }
}
