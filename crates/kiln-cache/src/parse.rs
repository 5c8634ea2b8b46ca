//! `--cache-from` and `--cache-to`: from their text, and what the environment adds, to decided
//! values. The options are those of buildx and BuildKit.

use std::path::PathBuf;
use std::time::Duration;

use kiln_base::Secret;
use kiln_oci::{Compression, Family, Reference};

use crate::attributes::{Attributes, OptionError, duration, fields, positive};
use crate::options::{
    CacheSource, CacheTarget, CompressionChoice, Environment, Gha, GhaAccess, GhaApi, LocalSource,
    LocalTarget, Mode, RegistrySource, RegistryTarget, S3, S3Credentials, Shape, Target,
};

const SOURCES: &str = "`registry`, `local`, `s3` and `gha`";
const TARGETS: &str = "`registry`, `local`, `inline`, `s3` and `gha`";
const LATEST: &str = "latest";

/// What a `--cache-from` says: `type=…,name=value,…`, or names of images, separated by commas.
pub fn parse_from(text: &str, environment: &Environment) -> Result<Vec<CacheSource>, OptionError> {
    if !text.contains('=') {
        return each_name(text, |reference| {
            CacheSource::Registry(RegistrySource {
                reference,
                insecure: false,
            })
        });
    }
    let mut attributes = Attributes::parse(text)?;
    let source = match attributes.kind.as_str() {
        "registry" => CacheSource::Registry(RegistrySource {
            reference: reference(&mut attributes)?,
            insecure: attributes.boolean("registry.insecure")?.unwrap_or(false),
        }),
        "local" => CacheSource::Local(LocalSource {
            src: PathBuf::from(attributes.need("src", "src")?),
            tag: tag(&mut attributes),
            digest: attributes.read("digest", |text| {
                text.parse()
                    .map_err(|error: kiln_oci::DigestError| error.to_string())
            })?,
        }),
        "s3" => CacheSource::S3(s3(&mut attributes, environment)?),
        "gha" => CacheSource::Gha(gha(&mut attributes, environment)?),
        "inline" => {
            return Err(OptionError::Type(
                "inline".to_owned(),
                "`type=registry,ref=…` to read a cache that is in an image",
            ));
        }
        kind => return Err(OptionError::Type(kind.to_owned(), SOURCES)),
    };
    attributes.finish()?;
    Ok(vec![source])
}

/// What a `--cache-to` says: `type=…,name=value,…`, or names of images, separated by commas.
pub fn parse_to(text: &str, environment: &Environment) -> Result<Vec<CacheTarget>, OptionError> {
    if !text.contains('=') {
        return each_name(text, |reference| CacheTarget {
            target: Target::Registry(RegistryTarget {
                reference,
                insecure: false,
                shape: Shape::ImageManifest,
            }),
            mode: Mode::Min,
            compression: CompressionChoice::default(),
            ignore_error: false,
        });
    }
    let mut attributes = Attributes::parse(text)?;
    let target = match attributes.kind.as_str() {
        "registry" => Target::Registry(RegistryTarget {
            reference: reference(&mut attributes)?,
            insecure: attributes.boolean("registry.insecure")?.unwrap_or(false),
            shape: shape(&mut attributes)?,
        }),
        "local" => Target::Local(LocalTarget {
            dest: PathBuf::from(attributes.need("dest", "dest")?),
            tag: tag(&mut attributes),
            reset: attributes.boolean("reset")?.unwrap_or(false),
            shape: shape(&mut attributes)?,
        }),
        "inline" => Target::Inline,
        "s3" => Target::S3(s3(&mut attributes, environment)?),
        "gha" => Target::Gha(gha(&mut attributes, environment)?),
        kind => return Err(OptionError::Type(kind.to_owned(), TARGETS)),
    };
    let target = CacheTarget {
        mode: mode(&mut attributes, &target)?,
        compression: match target {
            Target::Registry(_) | Target::Local(_) => compression(&mut attributes)?,
            Target::Inline | Target::S3(_) | Target::Gha(_) => CompressionChoice::default(),
        },
        ignore_error: attributes.boolean("ignore-error")?.unwrap_or(false),
        target,
    };
    attributes.finish()?;
    Ok(vec![target])
}

fn each_name<T>(text: &str, make: impl Fn(Reference) -> T) -> Result<Vec<T>, OptionError> {
    let names = fields(text)?;
    names
        .iter()
        .map(|name| Ok(make(parse_reference(name)?)))
        .collect()
}

fn reference(attributes: &mut Attributes) -> Result<Reference, OptionError> {
    parse_reference(&attributes.need("ref", "ref")?)
}

fn parse_reference(name: &str) -> Result<Reference, OptionError> {
    name.parse()
        .map_err(|error: kiln_oci::ReferenceError| OptionError::Value {
            name: "ref".to_owned(),
            value: name.to_owned(),
            problem: error.to_string(),
        })
}

fn tag(attributes: &mut Attributes) -> String {
    let tag = attributes.take("tag").filter(|tag| !tag.is_empty());
    tag.unwrap_or_else(|| LATEST.to_owned())
}

fn mode(attributes: &mut Attributes, target: &Target) -> Result<Mode, OptionError> {
    let mode = attributes.read("mode", |text| match text {
        "min" => Ok(Mode::Min),
        // An image holds its own layers only.
        "max" if *target == Target::Inline => Err("an inline cache has `mode=min` only".to_owned()),
        "max" => Ok(Mode::Max),
        _ => Err("it is neither `min` nor `max`".to_owned()),
    })?;
    Ok(mode.unwrap_or(Mode::Min))
}

fn shape(attributes: &mut Attributes) -> Result<Shape, OptionError> {
    let oci = attributes.boolean("oci-mediatypes")?.unwrap_or(true);
    let manifest = attributes.boolean("image-manifest")?;
    match (manifest.unwrap_or(oci), oci) {
        (true, true) => Ok(Shape::ImageManifest),
        (true, false) => Err(OptionError::Value {
            name: "image-manifest".to_owned(),
            value: "true".to_owned(),
            problem: "it can't be had with `oci-mediatypes=false`".to_owned(),
        }),
        (false, true) => Ok(Shape::Index(Family::Oci)),
        (false, false) => Ok(Shape::Index(Family::Docker)),
    }
}

fn compression(attributes: &mut Attributes) -> Result<CompressionChoice, OptionError> {
    let kind = attributes.read("compression", |text| match text {
        "uncompressed" => Ok(Compression::None),
        "gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        _ => Err("it is none of `uncompressed`, `gzip` and `zstd`".to_owned()),
    })?;
    let highest = match kind {
        Some(Compression::Zstd) => 22,
        _ => 9,
    };
    let level = attributes.read("compression-level", |text| match text.parse() {
        Ok(level) if level <= highest => Ok(level),
        _ => Err(format!("it is not a number from 0 to {highest}")),
    })?;
    // The name alone means yes, as BuildKit has it.
    let force = match attributes.take("force-compression").as_deref() {
        None => false,
        Some("") => true,
        Some(value) => Attributes::parse(&format!("type=x,force-compression={value}"))?
            .boolean("force-compression")?
            .unwrap_or(false),
    };
    Ok(CompressionChoice { kind, level, force })
}

fn s3(attributes: &mut Attributes, environment: &Environment) -> Result<S3, OptionError> {
    let given = |value: Option<String>| value.filter(|value| !value.is_empty());
    let bucket = given(attributes.take("bucket")).or_else(|| environment.get("AWS_BUCKET"));
    let region = given(attributes.take("region"))
        .or_else(|| environment.get("AWS_REGION"))
        .or_else(|| environment.get("AWS_DEFAULT_REGION"));
    let name = attributes.take("name");
    let names: Vec<String> = name
        .iter()
        .flat_map(|name| name.split(';'))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    let endpoint_url = given(attributes.take("endpoint_url"))
        .or_else(|| environment.get("AWS_ENDPOINT_URL_S3"))
        .or_else(|| environment.get("AWS_ENDPOINT_URL"));
    let use_path_style = attributes.boolean("use_path_style")?.unwrap_or(false);
    // No request of kiln's has the header that this takes out of the signature.
    attributes.boolean("disable_accept_encoding")?;
    attributes.read("retry_mode", |text| match text {
        "standard" => Ok(()),
        "adaptive" => Err("kiln has `standard` only".to_owned()),
        _ => Err("it is not `standard`".to_owned()),
    })?;
    Ok(S3 {
        bucket: bucket.ok_or_else(|| attributes.needed("bucket` or `$AWS_BUCKET"))?,
        region: region.ok_or_else(|| attributes.needed("region` or `$AWS_REGION"))?,
        prefix: attributes.take("prefix").unwrap_or_default(),
        blobs_prefix: attributes
            .take("blobs_prefix")
            .unwrap_or_else(|| "blobs/".to_owned()),
        manifests_prefix: attributes
            .take("manifests_prefix")
            .unwrap_or_else(|| "manifests/".to_owned()),
        names: if names.is_empty() {
            vec!["buildkit".to_owned()]
        } else {
            names
        },
        use_path_style: use_path_style && endpoint_url.is_some(),
        endpoint_url,
        touch_refresh: attributes
            .read("touch_refresh", duration)?
            .unwrap_or(Duration::from_hours(24)),
        upload_parallelism: attributes
            .read("upload_parallelism", positive)?
            .map_or(4, |count| count as usize),
        retry_max_attempts: attributes.read("retry_max_attempts", positive)?,
        credentials: s3_credentials(attributes, environment)?,
    })
}

fn s3_credentials(
    attributes: &mut Attributes,
    environment: &Environment,
) -> Result<Option<S3Credentials>, OptionError> {
    let id = attributes.take("access_key_id");
    let key = attributes.take("secret_access_key");
    let token = attributes.take("session_token");
    // A session token of the environment belongs to the keys of the environment.
    let token = match (&id, &key) {
        (Some(_), Some(_)) => token,
        _ => token.or_else(|| environment.get("AWS_SESSION_TOKEN")),
    };
    let id = id.or_else(|| environment.get("AWS_ACCESS_KEY_ID"));
    let key = key.or_else(|| environment.get("AWS_SECRET_ACCESS_KEY"));
    match (id, key) {
        (Some(access_key_id), Some(key)) => Ok(Some(S3Credentials {
            access_key_id,
            secret_access_key: Secret::new(key),
            session_token: token.map(Secret::new),
        })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(attributes.needed("secret_access_key` or `$AWS_SECRET_ACCESS_KEY")),
        (None, Some(_)) => Err(attributes.needed("access_key_id` or `$AWS_ACCESS_KEY_ID")),
    }
}

fn gha(attributes: &mut Attributes, environment: &Environment) -> Result<Gha, OptionError> {
    let given = |value: Option<String>| value.filter(|value| !value.is_empty());
    let version = attributes.read("version", |text| match text {
        "1" => Ok(GhaApi::V1),
        "2" => Ok(GhaApi::V2),
        _ => Err("it is neither `1` nor `2`".to_owned()),
    })?;
    let is_second = environment
        .get("ACTIONS_CACHE_SERVICE_V2")
        .is_some_and(|value| matches!(value.to_lowercase().as_str(), "1" | "t" | "true"));
    let version = version.or(is_second.then_some(GhaApi::V2));
    let token =
        given(attributes.take("token")).or_else(|| environment.get("ACTIONS_RUNTIME_TOKEN"));
    let results = environment.get("ACTIONS_RESULTS_URL");
    let of_second = given(attributes.take("url_v2"))
        .or_else(|| results.clone().filter(|_| version == Some(GhaApi::V2)));
    let of_either = given(attributes.take("url"))
        .or_else(|| environment.get("ACTIONS_CACHE_URL"))
        .or(results);
    let place = match (of_second, of_either) {
        (Some(url), _) if version != Some(GhaApi::V1) => Some((url, GhaApi::V2)),
        (_, Some(url)) => {
            let is_results = url.contains("results-receiver.actions.githubusercontent.com");
            let guess = if is_results { GhaApi::V2 } else { GhaApi::V1 };
            Some((url, version.unwrap_or(guess)))
        }
        _ => None,
    };
    Ok(Gha {
        scope: given(attributes.take("scope")).unwrap_or_else(|| "buildkit".to_owned()),
        access: token.zip(place).map(|(token, (url, api))| GhaAccess {
            url,
            api,
            token: Secret::new(token),
        }),
        timeout: attributes
            .read("timeout", duration)?
            .unwrap_or(Duration::from_mins(10)),
    })
}
