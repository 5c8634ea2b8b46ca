//! Opening a store: what is refused, and what a reboot does.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use kiln_base::Timestamp;
use kiln_oci::Digest;
use kiln_store::{Clock, SnapshotId, Store};
use rusqlite::Connection;

use crate::script::{key, put_image, put_named, reference};
use crate::support::{TestStore, add_snapshot, names, open};

fn refusal(test: &TestStore) -> String {
    let error = Store::open(test.dir.path(), Clock::new(|| Timestamp::EPOCH)).unwrap_err();
    error
        .to_string()
        .replace(test.dir.path().to_str().unwrap(), "ROOT")
}

fn sql(test: &TestStore, statement: &str) {
    index(test.dir.path()).execute_batch(statement).unwrap();
}

fn index(root: &Path) -> Connection {
    Connection::open(root.join("kiln.db")).unwrap()
}

#[test]
fn nobody_else_can_look_inside() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("a/b");
    drop(Store::open(&root, Clock::new(|| Timestamp::EPOCH)).unwrap());
    let mode = std::fs::metadata(&root).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_newer_format_is_refused() {
    let test = TestStore::new();
    sql(&test, "PRAGMA user_version = 7");
    assert_eq!(
        refusal(&test),
        "the store `ROOT` has format 7, and this kiln knows formats up to 3"
    );
}

/// `lacks` takes away what the format did not have.
#[track_caller]
fn check_older(format: u32, lacks: &str, folders: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put_named(&store, "app", &["layer"]);
    drop(store);
    let statements = format!(
        "PRAGMA journal_mode = DELETE; PRAGMA page_size = 4096; VACUUM; PRAGMA journal_mode = WAL;
         {lacks} PRAGMA user_version = {format};"
    );
    index(dir.path()).execute_batch(&statements).unwrap();
    for name in folders {
        std::fs::remove_dir_all(dir.path().join(name)).unwrap();
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| open(dir.path()));
        }
    });
    let store = open(dir.path());
    assert!(store.image(&reference("app")).unwrap().is_some());
    assert_eq!(store.cache_mounts().unwrap(), []);
    assert!(store.usage().is_ok());
    store.write_blob(b"new").unwrap();
    store.sync().unwrap();
    assert!(!dir.path().join("creating").exists());
    let pragma = |name| index(dir.path()).pragma_query_value(None, name, |row| row.get(0));
    let found: [i64; 2] = ["user_version", "page_size"].map(|name| pragma(name).unwrap());
    assert_eq!(found, [3, 4096], "an older index keeps its pages");
}

#[test]
fn an_older_format_is_brought_up_to_date() {
    let tables = "DROP TABLE cache_mounts; DROP TABLE builds; DROP TABLE downloads;";
    check_older(1, tables, &["mounts", "builds", "unsynced"]);
    check_older(2, "", &["unsynced"]);
}

#[test]
fn other_programs_files_are_refused() {
    let test = TestStore::new();
    sql(&test, "PRAGMA application_id = 1");
    assert_eq!(refusal(&test), "`ROOT` is not a kiln store");
    for name in ["kiln.db", "kiln.db-wal", "kiln.db-shm"] {
        std::fs::remove_file(test.path(name)).unwrap();
    }
    std::fs::write(
        test.path("kiln.db"),
        "not a database, but long enough to be one".repeat(50),
    )
    .unwrap();
    assert_eq!(refusal(&test), "`ROOT` is not a kiln store");
}

#[test]
fn another_users_store_is_refused() {
    let test = TestStore::new();
    let changed = std::os::unix::fs::chown(test.path("kiln.db"), Some(1234), None);
    if !rustix::process::geteuid().is_root() || changed.is_err() {
        eprintln!("skipped: another_users_store_is_refused: needs root, to change an owner");
        return;
    }
    assert_eq!(
        refusal(&test),
        "the store `ROOT` belongs to user id 1234, and this is user id 0"
    );
}

#[test]
fn a_store_that_cannot_be_written_says_why() {
    if rustix::process::geteuid().is_root() {
        eprintln!("skipped: a_store_that_cannot_be_written_says_why: root may write everywhere");
        return;
    }
    let mut test = TestStore::new();
    test.reopen();
    for name in ["kiln.db-wal", "kiln.db-shm"] {
        std::fs::remove_file(test.path(name)).unwrap();
    }
    let mode = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(test.dir.path(), permissions).unwrap();
    };
    mode(0o500);
    let error = Store::open(test.dir.path(), Clock::new(|| Timestamp::EPOCH)).unwrap_err();
    mode(0o700);
    let message = error.to_string();
    assert!(
        message.starts_with("could not write to the store `"),
        "{message}"
    );
    assert!(error.hint().is_some());
}

/// A log that stayed was read as a whole, and copied back again, by every process that came alone.
#[test]
fn a_log_that_has_grown_is_emptied_by_the_last_that_leaves() {
    let mut test = TestStore::new();
    let log = test.path("kiln.db-wal");
    let length = || log.metadata().unwrap().len();
    let mut number = 0_u32;
    while length() < 1 << 20 {
        test.store.write_blob(&number.to_le_bytes()).unwrap();
        number += 1;
    }
    let other = test.open_again();
    other.write_blob(b"of another process").unwrap();
    test.reopen();
    assert_ne!(length(), 0);
    drop(other);
    assert_eq!(length(), 0);
    assert!(test.store.has_blob(&Digest::sha256(&[0; 4])).unwrap());
}

#[test]
fn many_may_open_a_new_store_at_once() {
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let store = Store::open(dir.path(), Clock::new(|| Timestamp::EPOCH)).unwrap();
                store.write_blob(b"x").unwrap();
            });
        }
    });
    // Whoever saw the directory of a lease that was just ending reaps it, in the background.
    let leases = || names(&dir.path().join("leases"));
    let deadline = Instant::now() + Duration::from_secs(20);
    while !leases().is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(leases(), "");
    assert!(!dir.path().join("creating").exists());
}

#[test]
fn a_reboot_drops_snapshots_that_were_not_synced() {
    let mut test = TestStore::new();
    let [kept, lost, above] = [(); 3].map(|()| SnapshotId::random());
    let chain = SnapshotId::of_chain(&Digest::sha256(b"base"));
    let store = &test.store;
    put_named(store, "app", &["layer"]);
    add_snapshot(store, &kept, None, 1);
    store.cache_put(&key("kept"), Some(&kept), b"").unwrap();
    store.sync().unwrap();
    add_snapshot(store, &lost, Some(&kept), 1);
    store.cache_put(&key("lost"), Some(&lost), b"").unwrap();
    add_snapshot(store, &above, Some(&lost), 1);
    add_snapshot(store, &chain, None, 1);
    test.reopen();
    sql(
        &test,
        "UPDATE meta SET value = 'an earlier boot' WHERE key = 'boot'",
    );

    test.reopen();
    let store = &test.store;
    assert!(store.snapshot(&kept).unwrap().is_some());
    assert!(store.cache_get(&key("kept")).unwrap().is_some());
    assert!(store.image(&reference("app")).unwrap().is_some());
    for gone in [&lost, &above, &chain] {
        assert_eq!(store.snapshot(gone).unwrap(), None);
    }
    assert_eq!(store.cache_get(&key("lost")).unwrap(), None);
    assert_eq!(names(&test.path("snapshots")), "1");
}

#[test]
fn old_results_are_synced_and_survive_a_reboot() {
    let mut test = TestStore::new();
    let age = std::time::Duration::from_mins(5);
    let [old, young] = [(); 2].map(|()| SnapshotId::random());
    add_snapshot(&test.store, &old, None, 1);
    test.set_time(299);
    test.store.sync_if_older(age).unwrap();
    let query = "SELECT sum(synced) FROM snapshots";
    let index = Connection::open(test.path("kiln.db")).unwrap();
    let synced: i64 = index.query_row(query, [], |row| row.get(0)).unwrap();
    assert_eq!(synced, 0);
    test.set_time(302);
    test.reopen();
    test.store.sync_if_older(age).unwrap();
    add_snapshot(&test.store, &young, None, 1);
    test.store.sync_if_older(age).unwrap();
    test.reopen();
    sql(
        &test,
        "UPDATE meta SET value = 'an earlier boot' WHERE key = 'boot'",
    );
    test.reopen();
    assert!(test.store.snapshot(&old).unwrap().is_some());
    assert_eq!(test.store.snapshot(&young).unwrap(), None);
}

/// A build in which nothing changed took 40 ms longer after 10,000 others: it looked at all marks.
#[test]
fn of_many_marks_the_oldest_is_noted() {
    let mut test = TestStore::new();
    let marks = |test: &TestStore, time| {
        test.set_time(time);
        test.store.sync_if_older(Duration::from_mins(5)).unwrap();
        let names = names(&test.path("unsynced"));
        names.split(' ').filter(|name| *name != "since").count()
    };
    for number in 0..100_u32 {
        test.store.write_blob(&number.to_le_bytes()).unwrap();
    }
    assert_eq!(marks(&test, 299), 100);
    let since = std::fs::read_to_string(test.path("unsynced/since")).unwrap();
    assert_eq!(since, "1000000000");
    test.reopen();
    assert_eq!(marks(&test, 302), 0);
    test.store.write_blob(b"young").unwrap();
    assert_eq!(marks(&test, 600), 1);
    assert_eq!(marks(&test, 603), 0);
    // A note of the future, after the clock was set back, says nothing.
    std::fs::write(test.path("unsynced/since"), "9000000000000").unwrap();
    test.store.write_blob(b"old").unwrap();
    assert_eq!(marks(&test, 904), 0);
}

#[test]
fn a_reboot_drops_rows_whose_directory_is_gone() {
    let mut test = TestStore::new();
    let [below, above] = [(); 2].map(|()| SnapshotId::random());
    let snapshot = add_snapshot(&test.store, &below, None, 1);
    add_snapshot(&test.store, &above, Some(&below), 1);
    test.store.sync().unwrap();
    test.reopen();
    std::fs::remove_dir_all(snapshot.path.parent().unwrap()).unwrap();
    sql(
        &test,
        "UPDATE meta SET value = 'an earlier boot' WHERE key = 'boot'",
    );
    test.reopen();
    assert_eq!(test.store.snapshot(&above).unwrap(), None);
}

/// As if the machine had started again.
fn reboot(test: &mut TestStore) {
    test.reopen();
    sql(
        test,
        "UPDATE meta SET value = 'an earlier boot' WHERE key = 'boot'",
    );
    test.reopen();
}

/// What ext4 leaves of a file that was renamed, and of whose bytes none were written.
fn lose_the_bytes(test: &TestStore, digest: &Digest) {
    let path = test.path(&format!("blobs/sha256/{}", digest.hex()));
    let size = std::fs::metadata(&path).unwrap().len();
    std::fs::write(&path, vec![0; usize::try_from(size).unwrap()]).unwrap();
}

#[test]
fn a_reboot_drops_blobs_that_did_not_reach_the_disk_and_their_images() {
    let mut test = TestStore::new();
    let [whole, broken] = ["whole", "broken"].map(|layer| {
        put_named(&test.store, layer, &[layer]);
        Digest::sha256(layer.as_bytes())
    });
    assert_ne!(names(&test.path("unsynced")), "");
    test.reopen();
    lose_the_bytes(&test, &broken);

    reboot(&mut test);
    let store = &test.store;
    assert!(store.has_blob(&whole).unwrap());
    assert!(!store.has_blob(&broken).unwrap());
    assert!(store.image(&reference("whole")).unwrap().is_some());
    assert_eq!(store.image(&reference("broken")).unwrap(), None);
    assert_eq!(names(&test.path("unsynced")), "");
    // And it can be stored again.
    put_image(store, &["broken"]);
    assert!(store.has_blob(&broken).unwrap());
}

/// As an opening leaves it that moves the layer away and dies before its transaction is committed.
#[test]
fn a_reboot_drops_images_whose_marked_layer_is_gone() {
    let mut test = TestStore::new();
    let names_and_layers = [("app", ["shared", "gone"]), ("other", ["shared", "own"])];
    for (name, layers) in names_and_layers {
        put_named(&test.store, name, &layers);
    }
    test.reopen();
    let gone = Digest::sha256(b"gone");
    std::fs::remove_file(test.path(&format!("blobs/sha256/{}", gone.hex()))).unwrap();

    reboot(&mut test);
    assert_eq!(test.store.image(&reference("app")).unwrap(), None);
    assert!(test.store.image(&reference("other")).unwrap().is_some());
    assert_eq!(names(&test.path("unsynced")), "");
}

#[test]
fn marked_blobs_that_were_swept_make_nothing_wrong_after_a_reboot() {
    let mut test = TestStore::new();
    for name in ["kept", "removed"] {
        put_named(&test.store, name, &[name]);
    }
    let removed = test.store.untag(&reference("removed")).unwrap().unwrap();
    test.reopen();
    test.store.sweep().unwrap();
    assert!(!test.store.has_blob(&removed.target.digest).unwrap());
    assert!(names(&test.path("unsynced")).contains(removed.target.digest.hex()));

    reboot(&mut test);
    assert!(test.store.image(&reference("kept")).unwrap().is_some());
    let kept = Digest::sha256(b"kept");
    assert!(test.store.has_blob(&kept).unwrap());
    assert_eq!(names(&test.path("unsynced")), "");
}

/// Whoever comes first compares; the others wait, and find it done.
#[test]
fn many_may_open_a_store_after_a_reboot_at_once() {
    let mut test = TestStore::new();
    for layer in ["whole", "broken"] {
        put_named(&test.store, layer, &[layer]);
    }
    test.reopen();
    lose_the_bytes(&test, &Digest::sha256(b"broken"));
    sql(
        &test,
        "UPDATE meta SET value = 'an earlier boot' WHERE key = 'boot'",
    );
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let store = test.open_again();
                assert!(store.image(&reference("whole")).unwrap().is_some());
                assert_eq!(store.image(&reference("broken")).unwrap(), None);
            });
        }
    });
    assert_eq!(names(&test.path("locks")), "");
    assert_eq!(names(&test.path("unsynced")), "");
}

#[test]
fn a_reboot_drops_images_whose_manifest_did_not_reach_the_disk() {
    let mut test = TestStore::new();
    let target = put_named(&test.store, "app", &["layer"]);
    let name = reference("app");
    let path = format!("blobs/sha256/{}", target.digest.hex());
    std::fs::remove_file(test.path(&path)).unwrap();
    std::fs::remove_dir_all(test.path("unsynced")).unwrap();
    std::fs::create_dir(test.path("unsynced")).unwrap();
    reboot(&mut test);
    assert_eq!(test.store.image(&name).unwrap(), None);
}

#[test]
fn synced_blobs_are_not_read_again_after_a_reboot() {
    let mut test = TestStore::new();
    let digest = test.store.write_blob(b"content").unwrap();
    test.store.sync().unwrap();
    assert_eq!(names(&test.path("unsynced")), "");
    // Nobody looks, so nobody notices.
    lose_the_bytes(&test, &digest);
    reboot(&mut test);
    assert!(test.store.has_blob(&digest).unwrap());
}

#[test]
fn old_blobs_are_synced_without_any_snapshot() {
    let test = TestStore::new();
    let age = std::time::Duration::from_mins(5);
    test.store.write_blob(b"content").unwrap();
    test.set_time(300);
    test.store.sync_if_older(age).unwrap();
    assert_ne!(names(&test.path("unsynced")), "");
    test.set_time(302);
    test.open_again().sync_if_older(age).unwrap();
    assert_eq!(names(&test.path("unsynced")), "");
}

#[test]
fn the_last_handle_copies_a_long_log_back() {
    let mut test = TestStore::new();
    let log = |test: &TestStore| -> i64 {
        let index = Connection::open(test.path("kiln.db")).unwrap();
        let pages = |row: &rusqlite::Row<'_>| Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?);
        let query = "PRAGMA wal_checkpoint(NOOP)";
        index.query_row(query, [], pages).unwrap()
    };
    let other = test.open_again();
    other.write_blob(b"keeps a lease").unwrap();
    for number in 0..200 {
        add_snapshot(&test.store, &SnapshotId::random(), None, number);
    }
    let before = log(&test);
    assert!(before > 1024, "{before} pages");
    test.reopen();
    assert!(log(&test) >= before);
    drop(other);
    assert_eq!(log(&test), 0);
}

#[test]
fn the_lease_ends_with_the_handle() {
    let mut test = TestStore::new();
    let writer = test.store.blob_writer().unwrap();
    assert_eq!(names(&test.path("leases")), names(&test.path("tmp")));
    assert_ne!(names(&test.path("leases")), "");
    drop(writer);
    test.reopen();
    assert_eq!(
        (names(&test.path("leases")), names(&test.path("tmp"))),
        Default::default()
    );
}
