//! The document of a cache: what is read, what is refused, and what survives.

use proptest::prelude::*;

use super::*;

fn blob(index: usize) -> Digest {
    Digest::sha256(&index.to_le_bytes())
}

/// What reading a document gives: it printed again, or the error; `D0` and so on for digests.
#[track_caller]
fn check(document: &str, expected: &str) {
    let mut text = document.to_owned();
    for index in 0..4 {
        text = text.replace(&format!("D{index}"), blob(index).as_str());
    }
    let found = match CacheConfig::from_bytes(text.as_bytes()) {
        Ok(config) => String::from_utf8(config.to_bytes()).expect("text"),
        Err(error) => error.to_string(),
    };
    let found = (0..4).fold(found, |found, index| {
        found.replace(blob(index).as_str(), &format!("D{index}"))
    });
    assert_eq!(found, expected);
}

#[test]
fn a_document_is_printed_as_buildkit_prints_it() {
    let document = concat!(
        r#"{"layers":[{"blob":"D0","parent":-1},{"blob":"D1"}],"#,
        r#""records":[{"digest":"a"},"#,
        r#"{"layers":[{"layer":1,"createdAt":"2024-01-02T03:04:05.5Z"}],"#,
        r#""chains":[{"layers":[0],"createdAt":"0001-01-01T00:00:00Z"}],"#,
        r#""digest":"b","inputs":[[{"selector":"s","link":0}]]}]}"#
    );
    check(document, document);
    check("{}", "{}");
    check(r#"{"layers":null,"records":null}"#, "{}");
}

#[test]
fn indexes_lead_somewhere() {
    check(
        r#"{"layers":[{"blob":"D0","parent":1}]}"#,
        "layer 0 names 1, which is not there",
    );
    check(
        r#"{"layers":[{"blob":"D0","parent":-2}]}"#,
        "layer 0 names -2, which is not there",
    );
    check(
        r#"{"records":[{"digest":"a","layers":[{"layer":9223372036854775807}]}]}"#,
        "record 0 names 9223372036854775807, which is not there",
    );
    check(
        r#"{"records":[{"digest":"a","chains":[{"layers":[0]}]}]}"#,
        "record 0 names 0, which is not there",
    );
    check(
        r#"{"records":[{"digest":"a","inputs":[[{"link":7}]]}]}"#,
        "record 0 names 7, which is not there",
    );
    check(
        r#"{"records":[{"digest":"a","inputs":[null]}]}"#,
        "record 0 has an input without a record",
    );
    check(
        r#"{"layers":[{"blob":"x"}]}"#,
        "layer 0 has no usable digest",
    );
    check("[", "it is not a cache document");
}

#[test]
fn nothing_leads_back_to_itself() {
    check(
        r#"{"layers":[{"blob":"D0"}]}"#,
        "layer 0 leads back to itself",
    );
    check(
        r#"{"layers":[{"blob":"D0","parent":-1},{"blob":"D1","parent":2},{"blob":"D2","parent":1}]}"#,
        "layer 1 leads back to itself",
    );
    check(
        r#"{"records":[{"digest":"a","inputs":[[{"link":1}]]},{"digest":"b","inputs":[[{"link":0}]]}]}"#,
        "record 0 leads back to itself",
    );
}

#[test]
fn a_result_has_a_bounded_number_of_layers() {
    let layers = |count: usize| {
        (0..count).map(|index| CacheLayer {
            blob: blob(index),
            parent: index.checked_sub(1),
            annotations: None,
        })
    };
    assert!(CacheConfig::new(layers(MAX_CHAIN).collect(), Vec::new()).is_ok());
    let error = CacheConfig::new(layers(MAX_CHAIN + 1).collect(), Vec::new());
    assert!(matches!(error, Err(FormatError::TooDeep(_))));
    let reversed = (0..=MAX_CHAIN).map(|index| CacheLayer {
        blob: blob(index),
        parent: (index < MAX_CHAIN).then_some(index + 1),
        annotations: None,
    });
    let error = CacheConfig::new(reversed.collect(), Vec::new());
    assert!(matches!(error, Err(FormatError::TooDeep(_))));
}

#[test]
fn a_mark_of_another_version_is_passed_over() {
    check(
        r#"{"records":[{"digest":"a","kiln":{"version":2,"what":1}}]}"#,
        r#"{"records":[{"digest":"a"}]}"#,
    );
    check(
        r#"{"records":[{"digest":"a","kiln":{"version":1,"key":"x"}}]}"#,
        "record 0 has a damaged `kiln` member",
    );
}

prop_compose! {
    fn configs()(
        parents in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        records in prop::collection::vec(
            (prop::collection::vec(any::<prop::sample::Index>(), 0..3), any::<bool>(), ".{0,4}"),
            0..8,
        ),
    ) -> CacheConfig {
        let layers: Vec<CacheLayer> = parents.iter().enumerate().map(|(at, parent)| CacheLayer {
            blob: blob(at),
            parent: (at > 0).then(|| parent.index(at)),
            annotations: (at % 2 == 0).then(|| LayerAnnotations {
                media_type: MediaType::parse("application/vnd.oci.image.layer.v1.tar"),
                diff_id: Some(blob(at + 100)),
                size: at as u64,
                created: Some(Timestamp::from_seconds(5)),
            }),
        }).collect();
        let records = records.iter().enumerate().map(|(at, (links, has_result, selector))| {
            let link = |link: &prop::sample::Index| Input {
                selector: selector.clone(),
                link: link.index(at),
            };
            let inputs = if at == 0 { Vec::new() } else { links.iter().map(link).collect() };
            let uppermost = layers.len().checked_sub(1).filter(|_| *has_result);
            CacheRecord {
                digest: blob(at).to_string(),
                inputs: if inputs.is_empty() { Vec::new() } else { vec![inputs] },
                results: uppermost.map(|layer| LayerResult { layer, created: None }).into_iter().collect(),
                chains: uppermost.map(|layer| ChainResult { layers: vec![layer, 0], created: None }).into_iter().collect(),
                mark: has_result.then(|| Mark { key: [7; 32], extra: selector.clone().into_bytes() }),
            }
        }).collect();
        CacheConfig::new(layers, records).expect("sound parts")
    }
}

proptest! {
    #[test]
    fn a_document_survives_being_printed(config in configs()) {
        let again = CacheConfig::from_bytes(&config.to_bytes()).expect("we wrote it");
        prop_assert_eq!(&again, &config);
        let blobs: Vec<Digest> = config.layers().iter().map(|layer| layer.blob.clone()).collect();
        let inline = CacheConfig::from_inline(&config.records_to_bytes(), &blobs).expect("we wrote it");
        prop_assert_eq!(inline.records(), config.records());
    }

    #[test]
    fn nothing_that_is_read_panics(text in r#"\{"(layers|records)":\[(\{"(blob|digest|parent|inputs|layers)":(-?[0-9]{1,3}|"x"|\[\[\{"link":[0-9]\}\]\])\},?){0,3}\]\}"#) {
        let _ = CacheConfig::from_bytes(text.as_bytes());
    }
}
