//! Many processes, killed processes, full disks. The other processes are this test program, told
//! by a variable what to do.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kiln_base::{CancelToken, Timestamp};
use kiln_oci::Digest;
use kiln_store::{
    BlobError, CacheKey, Download, PruneCache, PruneImages, PrunePolicy, SnapshotError, SnapshotId,
    Store, StoreError,
};
use kiln_sys::process::command;

use crate::script::{key, put_named, reference};
use crate::support::{add_snapshot, names, open};

const JOB: &str = "KILN_STORE_TEST_JOB";

const NOTHING: PrunePolicy = PrunePolicy {
    images: PruneImages::Keep,
    cache: PruneCache::Keep,
    older_than: None,
    keep_bytes: None,
};

const EVERYTHING: PrunePolicy = PrunePolicy {
    images: PruneImages::All,
    cache: PruneCache::All,
    ..NOTHING
};

/// What the other processes run. Does nothing when it is run as a test.
#[test]
fn other_process() {
    let Ok(job) = std::env::var(JOB) else { return };
    let words: Vec<&str> = job.split(' ').collect();
    match words.as_slice() {
        ["work", root, seed] => work(Path::new(root), seed.parse().unwrap()),
        ["count", root, rounds] => count(Path::new(root), rounds.parse().unwrap()),
        ["fill", root] => fill(Path::new(root)),
        _ => panic!("`{job}` is no job"),
    }
}

fn job(job: &str) -> Command {
    let mut command = command(std::env::current_exe().unwrap(), Path::new("/"));
    command
        .args(["--exact", "processes::other_process", "--nocapture"])
        .env(JOB, job);
    command
}

/// Stores things until it is killed, and says so after each.
fn work(root: &Path, seed: u64) {
    let store = open(root);
    for number in 0.. {
        let name = format!("{seed}-{number}");
        let large = name.repeat(1 + number % 7 * 2000);
        put_named(&store, &format!("image-{name}"), &[&large, "shared"]);
        println!("image {name}");
        let parent = SnapshotId::random();
        add_snapshot(&store, &parent, None, 5000);
        let snapshot = SnapshotId::random();
        add_snapshot(&store, &snapshot, Some(&parent), 5000);
        store
            .cache_put(&key(&name), Some(&snapshot), name.as_bytes())
            .unwrap();
        println!("record {name}");
        let _never_committed = store.begin_snapshot().unwrap();
        let mut download = download(&store, &large).unwrap();
        download
            .write_all(&large.as_bytes()[..large.len() / 2])
            .unwrap();
        println!("partial {name}");
        if number % 5 == 4 {
            store.prune(&NOTHING).unwrap();
        }
    }
}

fn download(store: &Store, seed: &str) -> Option<kiln_store::PartialBlob> {
    let digest = Digest::sha256(format!("download {}", &seed[..seed.len().min(8)]).as_bytes());
    match store.partial(&digest, &CancelToken::new()).unwrap() {
        Download::Partial(partial) => Some(partial),
        Download::Done => None,
    }
}

fn check_promise(store: &Store, promise: &str) {
    match promise.split_once(' ').unwrap() {
        ("image", name) => {
            let image = store.image(&reference(&format!("image-{name}"))).unwrap();
            let image = image.unwrap_or_else(|| panic!("{promise} is lost"));
            let manifest = store
                .read_blob(&image.target.digest, 1 << 20)
                .unwrap()
                .unwrap();
            let manifest = kiln_oci::Manifest::from_bytes(&manifest).unwrap();
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                let bytes = store.read_blob(&blob.digest, 1 << 20).unwrap();
                assert_eq!(bytes.unwrap().len() as u64, blob.size);
            }
        }
        ("record", name) => {
            let record = store.cache_get(&key(name)).unwrap();
            let record = record.unwrap_or_else(|| panic!("{promise} is lost"));
            assert_eq!(record.extra, name.as_bytes());
            let chain = store.snapshot_chain(&record.snapshot.unwrap()).unwrap();
            assert_eq!(chain.len(), 2);
            for snapshot in chain {
                assert_eq!(
                    std::fs::read(snapshot.path.join("file")).unwrap().len(),
                    5000
                );
            }
        }
        ("partial", _) => {}
        _ => panic!("`{promise}` is no promise"),
    }
}

/// Says that it is over, also to threads that would otherwise keep a failed test waiting.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Nothing is there but what belongs there.
fn check_tidy(root: &Path) {
    let store = open(root);
    store.prune(&NOTHING).unwrap();
    drop(store);
    for directory in ["tmp", "leases", "locks"] {
        assert_eq!(names(&root.join(directory)), "", "in {directory}");
    }
    let index = rusqlite::Connection::open(root.join("kiln.db")).unwrap();
    let query = |text| {
        index
            .query_row(text, [], |row| row.get::<_, String>(0))
            .unwrap()
    };
    assert_eq!(query("PRAGMA integrity_check"), "ok");
    assert_eq!(query("SELECT count(*) || '' FROM protected"), "0");
    let mut statement = index.prepare("SELECT number FROM snapshots").unwrap();
    let rows = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    let rows: BTreeSet<String> = rows.map(|row| row.unwrap().to_string()).collect();
    let there = names(&root.join("snapshots"));
    assert_eq!(
        there
            .split_whitespace()
            .map(str::to_owned)
            .collect::<BTreeSet<_>>(),
        rows
    );
}

fn lines_until_killed(child: &mut Child, after: Duration) -> Vec<String> {
    let output = child.stdout.take().unwrap();
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    let lines = BufReader::new(output).lines().map_while(Result::ok);
    let is_promise = |line: &String| {
        ["image ", "record ", "partial "]
            .iter()
            .any(|kind| line.starts_with(kind))
    };
    lines.filter(is_promise).collect()
}

#[test]
fn killing_at_any_moment_loses_nothing_committed() {
    let dir = tempfile::tempdir().unwrap();
    let mut promises = Vec::new();
    for round in 0..30_u64 {
        // Two at a time, so that one goes on while the other one dies.
        let start = |seed| {
            let text = format!("work {} {seed}", dir.path().display());
            job(&text).stdout(Stdio::piped()).spawn().unwrap()
        };
        let mut children = [start(2 * round), start(2 * round + 1)];
        let mut after = Duration::from_micros(17_000 + round * 3_137);
        for child in &mut children {
            promises.extend(lines_until_killed(child, after));
            after = Duration::from_micros(2_000 + round * 911);
        }
        let store = open(dir.path());
        for promise in &promises {
            check_promise(&store, promise);
        }
    }
    assert!(promises.len() > 60, "only {} promises", promises.len());
    check_tidy(dir.path());
    let store = open(dir.path());
    for promise in &promises {
        check_promise(&store, promise);
    }
    drop(store);
    open(dir.path()).prune(&EVERYTHING).unwrap();
    for directory in ["blobs/sha256", "partial", "snapshots"] {
        assert_eq!(names(&dir.path().join(directory)), "", "in {directory}");
    }
}

/// Stores and finds things, each process its own and all of them the same.
fn count(root: &Path, rounds: u32) {
    let own = std::process::id();
    for round in 0..rounds {
        let store = open(root);
        let shared = SnapshotId::of_chain(&Digest::sha256(&round.to_le_bytes()));
        {
            let _lock = store.lock_snapshot(&shared, &CancelToken::new()).unwrap();
            if store.snapshot(&shared).unwrap().is_none() {
                add_snapshot(&store, &shared, None, 100);
            }
        }
        let step = SnapshotId::random();
        add_snapshot(&store, &step, Some(&shared), 100);
        let name = format!("{own}-{round}");
        store
            .cache_put(&key(&name), Some(&step), name.as_bytes())
            .unwrap();
        store
            .cache_alias(&key(&format!("fast {name}")), &key(&name))
            .unwrap();
        let own = format!("own-{name}");
        let target = put_named(&store, &own, &["shared", &name]);
        store
            .tag(&reference("latest"), &target, Timestamp::EPOCH)
            .unwrap();
        assert_eq!(store.snapshot_chain(&step).unwrap().len(), 2);
        for layer in ["shared", &name] {
            assert!(store.has_blob(&Digest::sha256(layer.as_bytes())).unwrap());
        }
        let record = store
            .cache_get(&key(&format!("fast {name}")))
            .unwrap()
            .unwrap();
        assert_eq!(record.extra, name.as_bytes());
    }
}

#[test]
fn eight_processes_and_a_prune_share_a_store() {
    const ROUNDS: u64 = 20;
    let dir = tempfile::tempdir().unwrap();
    let text = format!("count {} {ROUNDS}", dir.path().display());
    let children: Vec<Child> = (0..8)
        .map(|_| job(&text).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = SetOnDrop(&is_done);
        scope.spawn(|| {
            let policy = PrunePolicy {
                images: PruneImages::Unnamed,
                ..NOTHING
            };
            while !is_done.load(Ordering::Relaxed) {
                open(dir.path()).prune(&policy).unwrap();
            }
        });
        for mut child in children {
            let ended = child.wait().unwrap();
            let mut errors = String::new();
            child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut errors)
                .unwrap();
            assert!(ended.success(), "{errors}");
        }
    });
    check_tidy(dir.path());
    let store = open(dir.path());
    let usage = store.usage().unwrap();
    assert_eq!(
        (usage.cache_records, usage.snapshots.count),
        (8 * ROUNDS, 9 * ROUNDS)
    );
    assert_eq!(store.images().unwrap().len() as u64, 8 * ROUNDS + 1);
}

/// What prunes everything all the time takes nothing that somebody holds on to.
#[test]
fn a_prune_of_everything_spares_what_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = SetOnDrop(&is_done);
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                open(dir.path()).prune(&EVERYTHING).unwrap();
            }
        });
        for round in 0..200 {
            let store = open(dir.path());
            let name = format!("layer {round}");
            put_named(&store, "app", &[&name]);
            let snapshot = SnapshotId::random();
            add_snapshot(&store, &snapshot, None, 10);
            store.cache_put(&key(&name), Some(&snapshot), b"").unwrap();
            assert!(store.has_blob(&Digest::sha256(name.as_bytes())).unwrap());
            assert!(store.image(&reference("app")).unwrap().is_some());
            let record = store.cache_get(&key(&name)).unwrap().unwrap();
            let again = store.snapshot(&record.snapshot.unwrap()).unwrap().unwrap();
            assert!(again.path.join("file").exists());
        }
    });
    check_tidy(dir.path());
}

/// Runs on a small file system of its own: fills it up, again and again, in every way.
fn fill(root: &Path) {
    let mounted = command("mount", Path::new("/"))
        .args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"])
        .arg(root)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .status();
    assert!(mounted.unwrap().success());
    let store = open(root);
    put_named(&store, "kept", &["kept"]);
    drop(store);
    let fill: [fn(&Store) -> StoreError; 4] = [
        fill_with_blobs,
        fill_with_snapshots,
        fill_with_records,
        fill_with_partials,
    ];
    for fill in fill {
        let store = open(root);
        let error = fill(&store);
        assert!(error.is_disk_full(), "{error:?}");
        drop(store);
        // Looking something up needs space to protect it; listing and reading do not.
        let store = open(root);
        let [kept] = store.images().unwrap().try_into().unwrap();
        let manifest = store.read_blob(&kept.target.digest, 10_000);
        assert!(manifest.unwrap().is_some());
        let policy = PrunePolicy {
            cache: PruneCache::All,
            ..NOTHING
        };
        store.prune(&policy).unwrap();
        store.write_blob(&vec![1; 2 << 20]).unwrap();
        assert_eq!(store.image(&reference("kept")).unwrap(), Some(kept));
        drop(store);
        open(root).prune(&policy).unwrap();
        assert_eq!(names(&root.join("tmp")), "");
    }
    open(root).prune(&EVERYTHING).unwrap();
    check_tidy(root);
    println!("filled");
}

fn fill_with_blobs(store: &Store) -> StoreError {
    let mut number = 0_u64;
    loop {
        number += 1;
        match store.write_blob(&number.to_le_bytes().repeat(60_000)) {
            Ok(_) => {}
            Err(BlobError::Store(error)) => return error,
            Err(error) => panic!("{error}"),
        }
    }
}

fn fill_with_snapshots(store: &Store) -> StoreError {
    loop {
        let active = match store.begin_snapshot() {
            Ok(active) => active,
            Err(error) => return error,
        };
        let path = active.upper().join("file");
        if let Err(cause) = std::fs::write(&path, vec![1; 600_000]) {
            return StoreError::Io {
                action: "write",
                path,
                cause,
            };
        }
        let id = SnapshotId::random();
        let stored = active.commit(&id, None);
        let stored = stored.and_then(|_| store.cache_put(&key(id.as_str()), Some(&id), b""));
        match stored {
            Ok(()) => {}
            Err(SnapshotError::Store(error)) => return error,
            Err(error) => panic!("{error}"),
        }
    }
}

fn fill_with_records(store: &Store) -> StoreError {
    for number in 0_u32.. {
        let key = CacheKey(
            *Digest::sha256(&number.to_le_bytes())
                .hex()
                .as_bytes()
                .first_chunk()
                .unwrap(),
        );
        match store.cache_put(&key, None, &[7; 10_000]) {
            Ok(()) => {}
            Err(SnapshotError::Store(error)) => return error,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("the disk has an end")
}

fn fill_with_partials(store: &Store) -> StoreError {
    for number in 0_u32.. {
        let mut partial =
            match store.partial(&Digest::sha256(&number.to_le_bytes()), &CancelToken::new()) {
                Ok(Download::Partial(partial)) => partial,
                Ok(Download::Done) => unreachable!("never committed"),
                Err(error) => return error,
            };
        if let Err(cause) = partial.write_all(&vec![1; 900_000]) {
            return StoreError::Io {
                action: "write",
                path: "partial".into(),
                cause,
            };
        }
    }
    unreachable!("the disk has an end")
}

#[test]
fn a_full_disk_fails_the_write_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let can_mount = command("unshare", Path::new("/"))
        .args(["--mount", "--propagation", "private", "true"])
        .env("PATH", "/usr/bin:/bin")
        .stderr(Stdio::null())
        .status();
    if !can_mount.is_ok_and(|status| status.success()) {
        eprintln!(
            "skipped: a_full_disk_fails_the_write_and_nothing_else: needs root and `unshare`"
        );
        return;
    }
    let ended = command("unshare", Path::new("/"))
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "processes::other_process", "--nocapture"])
        .env("PATH", "/usr/bin:/bin")
        .env(JOB, format!("fill {}", dir.path().display()))
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&ended.stdout);
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(
        ended.status.success() && output.contains("filled"),
        "{output}{errors}"
    );
}
