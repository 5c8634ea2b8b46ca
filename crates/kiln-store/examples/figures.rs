//! Prints how long the store's common operations take.
//!
//! `cargo run --release -p kiln-store --example figures [DIRECTORY]`: the directory should be on the
//! disk that stores are on; the default is the system's temporary one.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]
#![expect(clippy::unwrap_used, reason = "nobody depends on it")]

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use kiln_base::Timestamp;
use kiln_oci::{Descriptor, Digest, MediaType};
use kiln_store::{CacheKey, Clock, ContextId, FileStamp, SnapshotId, Store};
use kiln_sys::process::command;

const PROCESSES: usize = 8;
const TRANSACTIONS: usize = 2000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next(), arguments.next()) {
        (Some(verb), Some(root)) if verb == "contend" => contend(Path::new(&root)),
        (place, _) => {
            let place = place.map_or_else(std::env::temp_dir, Into::into);
            let directory = tempfile::tempdir_in(place).unwrap();
            figures(directory.path());
        }
    }
}

fn open(root: &Path) -> Store {
    Store::open(root, Clock::new(|| SystemTime::now().into())).unwrap()
}

fn key(number: usize) -> CacheKey {
    CacheKey(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

/// The best and the middle of several runs of `measured`, each after `prepare`.
fn report<T>(what: &str, mut prepare: impl FnMut() -> T, mut measured: impl FnMut(&mut T)) {
    let mut times: Vec<Duration> = (0..21)
        .map(|_| {
            let mut prepared = prepare();
            let start = Instant::now();
            measured(&mut prepared);
            start.elapsed()
        })
        .collect();
    times.sort();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    let [best, middle, worst] = [times[0], times[10], times[20]].map(milliseconds);
    println!("{what:50} {best:9.3} {middle:9.3} {worst:9.3}");
}

fn figures(root: &Path) {
    println!(
        "{:50} {:>9} {:>9} {:>9}",
        "milliseconds", "best", "median", "worst"
    );
    report(
        "create a store",
        || root.join(SnapshotId::random().as_str()),
        |path| drop(open(path)),
    );
    let root = &root.join("store");
    let store = open(root);
    fill(&store);
    report("open and close", || (), |()| drop(open(root)));
    report(
        "open, take a lease, close",
        || (),
        |()| assert!(open(root).has_blob(&small()).unwrap()),
    );
    report(
        "20 cache_get of a chain of 20, fresh handle",
        || open(root),
        look_up,
    );
    report("the same 20 again", || looked_up(root), look_up);
    report(
        "20 cache_get that miss",
        || open(root),
        |store| {
            for number in 1000..1020 {
                assert!(store.cache_get(&key(number)).unwrap().is_none());
            }
        },
    );
    report(
        "begin and commit an empty snapshot, cache_put",
        || open(root),
        |store| {
            let snapshot = store.begin_snapshot().unwrap();
            let snapshot = snapshot.commit(&SnapshotId::random(), None).unwrap();
            store
                .cache_put(&key(5000), Some(&snapshot.id), b"")
                .unwrap();
        },
    );
    report(
        "write a 1 KiB blob",
        || open(root),
        |store| {
            store
                .write_blob(SnapshotId::random().as_str().repeat(32).as_bytes())
                .unwrap();
        },
    );
    let megabytes = vec![7; 64 << 20];
    report(
        "write a 64 MiB blob",
        || open(root),
        |store| {
            let mut writer = store.blob_writer().unwrap();
            writer
                .write_all(SnapshotId::random().as_str().as_bytes())
                .unwrap();
            writer.write_all(&megabytes).unwrap();
            writer.commit(None).unwrap();
        },
    );
    report(
        "sync with one new snapshot",
        || new_snapshot(root),
        |store| store.sync().unwrap(),
    );
    report("usage", || open(root), |store| drop(store.usage().unwrap()));
    for files in [1_000, 20_000, 100_000] {
        stat_cache(&store, files);
    }
    drop(store);
    contention(root);
}

fn small() -> Digest {
    Digest::sha256(b"small")
}

fn fill(store: &Store) {
    store.write_blob(b"small").unwrap();
    let manifest = Descriptor::of(MediaType::parse("application/json"), b"small");
    let name = "example".parse().unwrap();
    store.tag(&name, &manifest, Timestamp::EPOCH).unwrap();
    let mut parent = None;
    for number in 0..20 {
        let snapshot = store.begin_snapshot().unwrap();
        let id = SnapshotId::random();
        snapshot.commit(&id, parent.as_ref()).unwrap();
        store.cache_put(&key(number), Some(&id), &[7; 200]).unwrap();
        parent = Some(id);
    }
    for number in 2000..4000 {
        store.cache_put(&key(number), None, &[7; 200]).unwrap();
    }
}

/// What a rebuild in which nothing changed does: each record, and all layers of each.
fn look_up(store: &mut Store) {
    let mut chain = Vec::new();
    for number in 0..20 {
        let record = store.cache_get(&key(number)).unwrap().unwrap();
        chain.extend(record.snapshot);
        for id in &chain {
            assert!(store.snapshot(id).unwrap().is_some());
        }
    }
}

fn looked_up(root: &Path) -> Store {
    let mut store = open(root);
    look_up(&mut store);
    store
}

fn new_snapshot(root: &Path) -> Store {
    let store = open(root);
    store
        .begin_snapshot()
        .unwrap()
        .commit(&SnapshotId::random(), None)
        .unwrap();
    store
}

fn stat_cache(store: &Store, files: usize) {
    let context = ContextId::of(&files.to_le_bytes());
    let path = |number: usize| format!("src/package-{}/module/file-{number}.rs", number / 50);
    let paths: Vec<String> = (0..files).map(path).collect();
    let stamp = FileStamp {
        dev: 1,
        ino: 2,
        size: 3,
        mtime: Timestamp::new(4, 5),
        ctime: Timestamp::new(6, 7),
    };
    let cache = store.stat_cache(&context).unwrap();
    for path in &paths {
        cache.put(path.as_bytes(), stamp, [7; 32]);
    }
    let now = Timestamp::from_seconds(1000);
    report(
        &format!("save digests of {files} files"),
        || (),
        |()| store.save_stat_cache(&cache, now).unwrap(),
    );
    report(
        &format!("load digests of {files} files"),
        || (),
        |()| {
            assert_eq!(store.stat_cache(&context).unwrap().len(), files);
        },
    );
    report(
        &format!("find all {files}"),
        || store.stat_cache(&context).unwrap(),
        |cache| {
            assert!(
                paths
                    .iter()
                    .all(|path| cache.get(path.as_bytes(), &stamp).is_some())
            );
        },
    );
}

/// Several processes at once, each making small transactions as fast as it can.
fn contention(root: &Path) {
    let start = Instant::now();
    let children: Vec<_> = (0..PROCESSES)
        .map(|_| {
            let mut child = command(std::env::current_exe().unwrap(), Path::new("/"));
            child
                .arg("contend")
                .arg(root)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut times: Vec<u64> = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap().stdout;
        let output = String::from_utf8(output).unwrap();
        times.extend(output.lines().map(|line| line.parse::<u64>().unwrap()));
    }
    let seconds = start.elapsed().as_secs_f64();
    times.sort_unstable();
    assert_eq!(times.len(), PROCESSES * TRANSACTIONS);
    let at = |thousandth: usize| times[(times.len() - 1) * thousandth / 1000];
    println!(
        "{PROCESSES} processes: {} transactions in {seconds:.2} s; µs: median {}, p99 {}, p99.9 {}, longest {}",
        times.len(),
        at(500),
        at(990),
        at(999),
        at(1000),
    );
}

fn contend(root: &Path) {
    let store = open(root);
    let own = usize::try_from(std::process::id()).unwrap() << 32;
    for number in 0..TRANSACTIONS {
        let start = Instant::now();
        store
            .cache_put(&key(own + number), None, &[7; 100])
            .unwrap();
        println!("{}", start.elapsed().as_micros());
    }
}
