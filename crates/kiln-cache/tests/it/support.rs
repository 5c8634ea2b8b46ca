//! What the tests share.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use kiln_base::{CancelToken, Timestamp};
use kiln_cache::{
    CacheError, CacheSource, CacheTarget, Context, Environment, Exported, Imported, Layer, Record,
    Summary, export, import, parse_from, parse_to,
};
use kiln_image::MemoryBlobs;
use kiln_oci::{Compression, Descriptor, Digest, Family, MediaType};
use kiln_registry::{Client, ClientConfig, CredentialSource, Proxy, RetryPolicy};

/// 2024-01-02T03:04:05Z.
pub(crate) const NOW: i64 = 1_704_164_645;

pub(crate) fn config() -> &'static ClientConfig {
    static CONFIG: OnceLock<ClientConfig> = OnceLock::new();
    CONFIG.get_or_init(|| ClientConfig {
        hosts: BTreeMap::new(),
        credentials: CredentialSource {
            given: Vec::new(),
            files: Vec::new(),
            helper_environment: Vec::new(),
        },
        proxy: Proxy::None,
        retry: RetryPolicy {
            attempts: 3,
            first_wait: Duration::from_millis(1),
            longest_wait: Duration::from_secs(2),
            jitter_seed: 1,
        },
        user_agent: "kiln-test".to_owned(),
    })
}

pub(crate) fn context() -> Context<'static> {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    Context {
        registry: CLIENT.get_or_init(|| Client::new(config().clone())),
        config: config(),
        clock: || Timestamp::from_seconds(NOW),
    }
}

/// What a build made: records in words, and the blobs of their layers.
#[derive(Default)]
pub(crate) struct Build {
    pub(crate) exported: Exported,
    pub(crate) blobs: MemoryBlobs,
}

impl Build {
    /// The same build with a result under some keys; each word is a layer, whose blob is the word.
    pub(crate) fn with(mut self, keys: &[u8], layers: &str) -> Self {
        let layers = layers.split_whitespace().map(|word| self.layer(word));
        let layers: Vec<Layer> = layers.collect();
        self.exported.records.push(Record {
            keys: keys.iter().map(|key| [*key; 32]).collect(),
            layers,
            extra: vec![keys[0]],
            created: Some(Timestamp::from_seconds(NOW - 60)),
        });
        self
    }

    fn layer(&mut self, word: &str) -> Layer {
        layer(word, |media_type, bytes| {
            self.blobs.insert(media_type, bytes)
        })
    }
}

fn layer(word: &str, insert: impl FnOnce(MediaType, &[u8]) -> Descriptor) -> Layer {
    let media_type = MediaType::layer(Family::Oci, Compression::Gzip);
    Layer {
        descriptor: insert(media_type, word.as_bytes()),
        diff_id: Digest::sha256(format!("diff of {word}").as_bytes()),
        created: Some(Timestamp::from_seconds(NOW - 120)),
    }
}

/// The digest of the blob that is this word.
pub(crate) fn blob(word: &str) -> Digest {
    Digest::sha256(word.as_bytes())
}

pub(crate) fn target(text: &str) -> CacheTarget {
    let mut targets = parse_to(text, &Environment::default()).expect("a target");
    assert_eq!(targets.len(), 1);
    targets.remove(0)
}

pub(crate) fn source(text: &str) -> CacheSource {
    let mut sources = parse_from(text, &Environment::default()).expect("a source");
    assert_eq!(sources.len(), 1);
    sources.remove(0)
}

pub(crate) fn write(to: &str, build: &Build) -> Result<Summary, CacheError> {
    let cancel = CancelToken::new();
    export(
        &target(to),
        &build.exported,
        &build.blobs,
        context(),
        &cancel,
    )
}

pub(crate) fn read(from: &str) -> Result<Imported<'static>, CacheError> {
    import(&source(from), context(), &CancelToken::new())
}

/// What is under the first `count` keys: the first key, the words of the layers as they were
/// fetched, or the error.
pub(crate) fn shown(imported: &Imported<'_>, count: u8) -> String {
    let mut text = String::new();
    for key in 1..=count {
        let Some(found) = imported.find(&[key; 32]) else {
            writeln!(text, "{key}: nothing").expect("text");
            continue;
        };
        assert_eq!(found.extra, [found.key[0]]);
        write!(text, "{key}: {}:", found.key[0]).expect("text");
        for layer in &found.layers {
            let mut bytes = Vec::new();
            let fetched = imported.fetch_blob(&layer.descriptor, &mut bytes, &CancelToken::new());
            let word = String::from_utf8_lossy(&bytes).into_owned();
            match fetched {
                Ok(()) => {
                    let diff_id = Digest::sha256(format!("diff of {word}").as_bytes());
                    assert_eq!(layer.diff_id, diff_id);
                    assert_eq!(layer.created, Some(Timestamp::from_seconds(NOW - 120)));
                    write!(text, " {word}").expect("text");
                }
                Err(error) => write!(text, " ({})", chain(&error)).expect("text"),
            }
        }
        text.push('\n');
    }
    text
}

/// An error and its causes, one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        write!(text, ": {cause}").expect("text");
        next = cause.source();
    }
    text
}

/// A build of three steps on a base, and its keys' results as [`shown`] shows them.
pub(crate) fn sample() -> (Build, &'static str) {
    let build = Build::default()
        .with(&[1, 2], "base apt")
        .with(&[3], "base apt src")
        .with(&[4], "base other");
    (
        build,
        "1: 1: base apt\n2: 1: base apt\n3: 3: base apt src\n4: 4: base other\n5: nothing\n",
    )
}
