//! The history of builds, and HTTP validators.

use kiln_oci::Digest;
use kiln_store::{
    BuildFilter, BuildOutcome, BuildStart, BuildStatus, BuildSummary, HistoryLimits, KnownDownload,
    Recording, Store,
};

use crate::support::{TestStore, names};

fn start(name: &str) -> BuildStart {
    BuildStart {
        names: vec![name.to_owned(), "second".to_owned()],
        target: Some("release".to_owned()),
        dockerfile: "Dockerfile".to_owned(),
        context: "/src".to_owned(),
        platforms: vec!["linux/amd64".to_owned()],
    }
}

fn begin(store: &Store, name: &str) -> Recording {
    store
        .begin_build(&start(name), HistoryLimits::default())
        .unwrap()
}

fn summary(outcome: BuildOutcome) -> BuildSummary {
    BuildSummary {
        outcome,
        digest: Some(Digest::sha256(b"image")),
        steps: 5,
        cached: 3,
        warnings: 1,
        error: None,
    }
}

fn listed(store: &Store, filter: &BuildFilter) -> String {
    let builds = store.builds(filter).unwrap();
    let lines = builds
        .iter()
        .map(|build| format!("{} {:?}", build.start.names[0], build.status));
    lines.collect::<Vec<_>>().join(", ")
}

#[test]
fn a_build_is_recorded() {
    let test = TestStore::new();
    test.set_time(10);
    let mut recording = begin(&test.store, "app");
    recording.append(r#"{"event":"started"}"#).unwrap();
    recording.append(r#"{"event":"finished"}"#).unwrap();
    let id = recording.id().to_owned();
    test.set_time(12);
    recording.finish(&summary(BuildOutcome::Completed)).unwrap();

    let store = test.open_again();
    let build = store.build(&id[..8]).unwrap();
    assert_eq!(build.id, id);
    assert_eq!(build.start, start("app"));
    assert_eq!(build.status, BuildStatus::Completed);
    assert_eq!(
        (build.started.seconds(), build.finished.unwrap().seconds()),
        (10, 12)
    );
    assert_eq!((build.steps, build.cached, build.warnings), (5, 3, 1));
    assert_eq!(build.digest, Some(Digest::sha256(b"image")));
    assert_eq!(
        store.build_events(&id).unwrap(),
        [r#"{"event":"started"}"#, r#"{"event":"finished"}"#]
    );
    assert_eq!(
        store.build("zz").unwrap_err().to_string(),
        "there is no build `zz` in the history"
    );
}

#[test]
fn a_build_that_did_not_end_was_interrupted() {
    let test = TestStore::new();
    let mut recording = begin(&test.store, "app");
    let id = recording.id().to_owned();
    for number in 0..5000 {
        recording
            .append(&format!(r#"{{"event":"x","number":{number}}}"#))
            .unwrap();
    }
    let another = test.open_again();
    assert_eq!(listed(&another, &BuildFilter::default()), "app Running");
    assert_eq!(
        another.remove_build(&id).unwrap_err().to_string(),
        format!("the build `{id}` is still running")
    );
    // What was written so far can be read while it runs.
    assert!(another.build_events(&id).unwrap().len() > 1000);
    drop(recording);
    assert_eq!(listed(&another, &BuildFilter::default()), "app Interrupted");
    assert!(another.build_events(&id).unwrap().len() > 1000);
    another.remove_build(&id).unwrap();
    assert_eq!(names(&test.path("builds")), "");
}

#[test]
fn builds_are_listed_latest_first() {
    let test = TestStore::new();
    let store = &test.store;
    for (name, outcome) in [
        ("one", BuildOutcome::Completed),
        ("two", BuildOutcome::Failed),
        ("three", BuildOutcome::Cancelled),
    ] {
        begin(store, name).finish(&summary(outcome)).unwrap();
    }
    let all = BuildFilter::default();
    assert_eq!(
        listed(store, &all),
        "three Cancelled, two Failed, one Completed"
    );
    let failed = BuildFilter {
        status: Some(BuildStatus::Failed),
        ..all.clone()
    };
    assert_eq!(listed(store, &failed), "two Failed");
    let named = BuildFilter {
        name: Some("one".to_owned()),
        ..all.clone()
    };
    assert_eq!(listed(store, &named), "one Completed");
    let latest = BuildFilter {
        limit: Some(1),
        ..all
    };
    assert_eq!(listed(store, &latest), "three Cancelled");
}

#[test]
fn the_oldest_builds_go() {
    let test = TestStore::new();
    let store = &test.store;
    let running = begin(store, "running");
    for name in ["one", "two", "three"] {
        begin(store, name)
            .finish(&summary(BuildOutcome::Completed))
            .unwrap();
    }
    let limits = |builds, bytes| HistoryLimits { builds, bytes };
    assert_eq!(store.trim_builds(limits(2, 1 << 20)).unwrap(), 1);
    let all = BuildFilter::default();
    assert_eq!(
        listed(store, &all),
        "three Completed, two Completed, running Running"
    );
    assert_eq!(store.trim_builds(limits(9, 0)).unwrap(), 2);
    assert_eq!(listed(store, &all), "running Running");
    drop(running);
}

#[test]
fn validators_are_remembered() {
    let test = TestStore::new();
    let known = |etag: &str| KnownDownload {
        etag: Some(etag.to_owned()),
        last_modified: None,
        digest: Digest::sha256(etag.as_bytes()),
        file_name: Some("file.tar".to_owned()),
    };
    let store = &test.store;
    assert_eq!(store.known_download("https://example.org/a").unwrap(), None);
    for etag in ["\"1\"", "\"2\""] {
        store
            .remember_download("https://example.org/a", &known(etag))
            .unwrap();
    }
    let found = test
        .open_again()
        .known_download("https://example.org/a")
        .unwrap();
    assert_eq!(found, Some(known("\"2\"")));
}

#[test]
fn a_build_of_another_store_is_taken_in() {
    let (from, to) = (TestStore::new(), TestStore::new());
    from.set_time(10);
    let mut recording = begin(&from.store, "app");
    recording.append("{}").unwrap();
    recording.finish(&summary(BuildOutcome::Failed)).unwrap();
    let there = from
        .store
        .builds(&BuildFilter::default())
        .unwrap()
        .remove(0);
    let events = from.store.build_events(&there.id).unwrap();
    let id = to.store.import_build(&there, &events).unwrap();
    let here = to.store.build(&id).unwrap();
    assert_eq!(to.store.build_events(&id).unwrap(), ["{}"]);
    assert_ne!(here.id, there.id);
    assert_eq!(
        kiln_store::BuildRecord {
            id: there.id.clone(),
            ..here
        },
        there
    );

    let unfinished = kiln_store::BuildRecord {
        status: BuildStatus::Running,
        finished: None,
        ..there
    };
    let id = to.store.import_build(&unfinished, &[]).unwrap();
    assert_eq!(
        to.store.build(&id).unwrap().status,
        BuildStatus::Interrupted
    );
}
