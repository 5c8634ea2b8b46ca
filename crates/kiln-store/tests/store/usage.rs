//! How much space there is said to be, against what `du` says.

use std::path::Path;

use kiln_store::{SnapshotId, Space, Usage};
use kiln_sys::process::command;

use crate::script::{put_image, put_named};
use crate::support::{TestStore, add_snapshot};

fn du(root: &Path) -> Space {
    let ask = |how: &str| -> u64 {
        let mut du = command("du", root);
        let output = du
            .args(["-s", "--block-size=1", how, "."])
            .env("PATH", "/usr/bin:/bin");
        let output = String::from_utf8(output.output().unwrap().stdout).unwrap();
        output.split_whitespace().next().unwrap().parse().unwrap()
    };
    Space {
        apparent: ask("--apparent-size"),
        disk: ask("--no-dereference"),
    }
}

#[track_caller]
fn check(test: &TestStore) -> Usage {
    let store = test.open_again();
    // The first measuring writes down what it finds, which changes the index.
    store.usage().unwrap();
    let usage = store.usage().unwrap();
    assert_eq!(usage.total(), du(test.dir.path()));
    usage
}

#[test]
fn an_empty_store_is_all_overhead() {
    let usage = check(&TestStore::new());
    assert_eq!(usage.total(), usage.overhead);
    assert_eq!(usage.images, []);
}

#[test]
fn the_sum_of_all_kinds_is_what_du_says() {
    let test = TestStore::new();
    let store = &test.store;
    let long = "long layer ".repeat(1000);
    for (name, layers) in [("one", ["base", "one"]), ("two", ["base", &long])] {
        put_named(store, name, &layers);
    }
    store.write_blob(b"garbage").unwrap();
    let active = store.begin_snapshot().unwrap();
    std::fs::create_dir_all(active.upper().join("some/dir")).unwrap();
    std::fs::write(active.upper().join("some/dir/file"), vec![7; 100_000]).unwrap();
    std::fs::hard_link(
        active.upper().join("some/dir/file"),
        active.upper().join("link"),
    )
    .unwrap();
    std::os::unix::fs::symlink("/etc/passwd", active.upper().join("symlink")).unwrap();
    active.commit(&SnapshotId::random(), None).unwrap();
    let unfinished = store.begin_snapshot().unwrap();
    std::fs::write(unfinished.upper().join("file"), vec![7; 5000]).unwrap();
    let _unfinished_blob = store.blob_writer().unwrap();
    std::fs::create_dir(test.path("logs")).unwrap();
    std::fs::write(test.path("logs/one"), vec![7; 5000]).unwrap();
    let start = kiln_store::BuildStart::default();
    let limits = kiln_store::HistoryLimits::default();
    let _recording = store.begin_build(&start, limits).unwrap();
    let key = kiln_store::CacheMountKey {
        namespace: String::new(),
        id: "a".to_owned(),
        scope: Vec::new(),
    };
    let owner = kiln_store::CacheMountOwner {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mode: 0o755,
    };
    let cancel = kiln_base::CancelToken::new();
    let mount = store
        .open_cache_mount(&key, owner, kiln_store::Sharing::Shared, &cancel)
        .unwrap();
    std::fs::write(mount.dir().join("file"), vec![7; 5000]).unwrap();

    let usage = check(&test);
    assert_eq!((usage.image_blobs.count, usage.snapshots.count), (6, 1));
    assert_eq!((usage.other_blobs.count, usage.in_progress.count), (1, 1));
    let kept = [
        usage.cache_mounts.count,
        usage.build_logs.count,
        usage.logs.count,
    ];
    assert_eq!(kept, [1, 1, 1]);
    let [one, two] = usage.images.try_into().unwrap();
    let sizes = |image: &kiln_store::ImageUsage| image.space.apparent - image.unique.apparent;
    assert_eq!(
        (sizes(&one), sizes(&two)),
        (6, 6),
        "the base and the configuration are shared"
    );
}

#[test]
fn reclaimable_is_what_a_prune_frees() {
    let test = TestStore::new();
    put_named(&test.store, "app", &["named"]);
    let unnamed = put_image(&test.store, &["unnamed"]);
    let created = kiln_base::Timestamp::EPOCH;
    test.store.keep_unnamed(&unnamed, created).unwrap();
    test.store.write_blob(b"garbage").unwrap();
    add_snapshot(&test.store, &SnapshotId::random(), None, 10_000);
    let in_use = test.store.usage().unwrap();
    assert_eq!(in_use.snapshots.reclaimable, Space::default());

    let mut test = test;
    test.reopen();
    let usage = test.store.usage().unwrap();
    let kinds = [
        usage.image_blobs,
        usage.cache_blobs,
        usage.other_blobs,
        usage.snapshots,
    ];
    let reclaimable: Space = kinds.iter().map(|kind| kind.reclaimable).sum();
    let report = test
        .store
        .prune(&kiln_store::PrunePolicy {
            images: kiln_store::PruneImages::Unnamed,
            cache: kiln_store::PruneCache::All,
            older_than: None,
            keep_bytes: None,
        })
        .unwrap();
    assert_eq!(report.freed, reclaimable);
    assert!(report.freed.apparent > 10_000);
}

#[test]
fn a_tree_deeper_than_any_path_is_measured_and_removed() {
    let test = TestStore::new();
    let active = test.store.begin_snapshot().unwrap();
    let name = "d".repeat(200);
    let mut dir = kiln_sys::fs::Dir::open(active.upper()).unwrap();
    for _ in 0..100 {
        dir.mkdir(&name, 0o755).unwrap();
        dir = dir.open_dir(&name).unwrap();
    }
    drop(dir);
    active.commit(&SnapshotId::random(), None).unwrap();
    let usage = check(&test);
    assert!(usage.snapshots.space.apparent > 100 * 100, "{usage:?}");
}
