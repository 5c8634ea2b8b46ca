//! What is kept of digests, what is found again, and what damage does.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicUsize;

use proptest::prelude::*;

use super::table::RECORD;
use super::*;

const NOW: Timestamp = Timestamp::new(1000, 500_000_000);

impl StatCache {
    fn from_bytes(context: ContextId, bytes: &[u8]) -> Self {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        let known = Table::open(Arc::new(file), context).unwrap();
        Self::new(context, known, Box::new(tempfile::tempfile))
    }

    fn to_bytes(&self, scanned: Timestamp) -> Option<Vec<u8>> {
        let fresh = self.fresh();
        let mut bytes = Vec::new();
        self.write(&fresh, scanned, &mut bytes).unwrap();
        fresh.has_news(scanned).then_some(bytes)
    }
}

fn stamp(seconds: i64, nanoseconds: u32) -> FileStamp {
    let mtime = Timestamp::new(seconds, nanoseconds);
    FileStamp {
        dev: 1,
        ino: 2,
        size: 3,
        mtime,
        ctime: mtime,
    }
}

fn empty() -> StatCache {
    StatCache::from_bytes(ContextId([0; 32]), &[])
}

fn saved(cache: &StatCache) -> StatCache {
    let bytes = cache.to_bytes(NOW).unwrap();
    let loaded = StatCache::from_bytes(cache.context, &bytes);
    assert!(!loaded.is_empty());
    loaded
}

impl StatCache {
    /// The file as it would be with nothing new and nothing looked at.
    fn to_bytes_again(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&Fresh::default(), NOW, &mut bytes).unwrap();
        bytes
    }
}

fn with(paths: &[&[u8]]) -> StatCache {
    let cache = empty();
    for path in paths {
        cache.put(path, stamp(5, 6), [7; 32]);
    }
    saved(&cache)
}

#[track_caller]
fn check_settled(stamp: FileStamp, expected: bool) {
    let cache = empty();
    cache.put(b"path", stamp, [7; 32]);
    assert_eq!(cache.to_bytes(NOW).is_some(), expected);
}

#[test]
fn files_changed_just_before_the_scan_are_not_kept() {
    check_settled(stamp(1000, 399_999_999), true);
    check_settled(stamp(1000, 400_000_000), false);
    check_settled(stamp(1000, 500_000_000), false);
    check_settled(stamp(2000, 1), false);
    let ctime = Timestamp::new(1000, 450_000_000);
    check_settled(
        FileStamp {
            ctime,
            ..stamp(5, 6)
        },
        false,
    );
}

#[test]
fn times_in_whole_seconds_need_more_distance() {
    check_settled(stamp(998, 0), true);
    check_settled(stamp(999, 0), false);
    check_settled(stamp(999, 1), true);
}

#[test]
fn any_difference_in_the_stamp_is_a_miss() {
    let cache = with(&[b"path"]);
    let same = stamp(5, 6);
    assert_eq!(cache.get(b"path", &same), Some([7; 32]));
    assert_eq!(cache.get(b"pat", &same), None);
    let time = Timestamp::new(5, 7);
    for other in [
        FileStamp { dev: 9, ..same },
        FileStamp { ino: 9, ..same },
        FileStamp { size: 9, ..same },
        FileStamp {
            mtime: time,
            ..same
        },
        FileStamp {
            ctime: time,
            ..same
        },
    ] {
        assert_eq!(cache.get(b"path", &other), None);
    }
}

#[test]
fn an_entry_that_was_replaced_too_late_to_keep_goes() {
    let cache = with(&[b"racy", b"other"]);
    cache.put(b"racy", stamp(1000, 499_000_000), [8; 32]);
    assert!(
        cache.to_bytes(NOW).is_none(),
        "nothing new is worth a write"
    );
    cache.put(b"new", stamp(5, 6), [9; 32]);
    let cache = saved(&cache);
    assert_eq!(cache.get(b"racy", &stamp(5, 6)), None);
    assert_eq!(cache.get(b"other", &stamp(5, 6)), Some([7; 32]));
}

#[test]
fn entries_nobody_looks_at_go_after_a_while() {
    let mut cache = with(&[b"gone", b"there"]);
    for round in 0..=MAX_AGE {
        assert_eq!(cache.len(), 2, "round {round}");
        assert!(cache.get(b"there", &stamp(5, 6)).is_some());
        cache.put(b"there", stamp(5, 6), [7; 32]);
        cache = saved(&cache);
    }
    assert_eq!(cache.len(), 1);
}

#[test]
fn a_damaged_file_counts_as_empty() {
    let bytes = with(&[b"a", b"b"]).to_bytes_again();
    let check = |bytes: &[u8]| {
        let cache = StatCache::from_bytes(ContextId([0; 32]), bytes);
        assert_eq!(cache.get(b"a", &stamp(5, 6)), None);
        assert_eq!(cache.get(b"b", &stamp(5, 6)), None);
        // And what is new is kept all the same.
        cache.put(b"new", stamp(5, 6), [1; 32]);
        assert!(saved(&cache).get(b"new", &stamp(5, 6)).is_some());
    };
    for index in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[index] ^= 1;
        check(&damaged);
        check(&bytes[..index]);
    }
}

#[test]
fn a_damaged_block_loses_its_own_records_only() {
    let paths: Vec<String> = (0..100).map(|number| format!("file-{number}")).collect();
    let cache = with(&paths.iter().map(String::as_bytes).collect::<Vec<_>>());
    let bytes = cache.to_bytes_again();
    let known = |cache: &StatCache| {
        let known = |path: &&String| cache.get(path.as_bytes(), &stamp(5, 6)).is_some();
        paths.iter().filter(known).count()
    };
    assert_eq!(known(&StatCache::from_bytes(cache.context, &bytes)), 100);
    let mut damaged = bytes;
    damaged[700] ^= 1;
    let cache = StatCache::from_bytes(cache.context, &damaged);
    let left = known(&cache);
    assert!((80..100).contains(&left), "{left}");
    cache.put(b"new", stamp(5, 6), [1; 32]);
    assert_eq!(known(&saved(&cache)), left);
}

#[test]
fn what_a_full_disk_does_not_take_is_forgotten() {
    const FILES: usize = 400;
    const FAILURES: usize = 10;
    let attempts = Arc::new(AtomicUsize::new(0));
    let scratch = {
        let attempts = Arc::clone(&attempts);
        move || match attempts.fetch_add(1, Ordering::Relaxed) {
            0..FAILURES => Err(io::ErrorKind::StorageFull.into()),
            _ => tempfile::tempfile(),
        }
    };
    let context = ContextId([0; 32]);
    let before = with(&[b"file-0000"]).to_bytes_again();
    let known = StatCache::from_bytes(context, &before).known;
    let cache = StatCache::new(context, known, Box::new(scratch));
    let path = |number: usize| format!("file-{number:04}").into_bytes();
    for number in 0..FILES {
        cache.put(&path(number), stamp(6, 6), [8; 32]);
        assert!(
            cache.fresh().bytes() < FRESH_BYTES,
            "{number} are in memory"
        );
    }
    // Each attempt is for all that memory holds, and the first that works is the last.
    assert_eq!(attempts.load(Ordering::Relaxed), FAILURES + 1);

    let cache = saved(&cache);
    let found = |number| cache.get(&path(number), &stamp(6, 6));
    assert_eq!(found(0), None);
    assert_eq!(found(FILES - 1), Some([8; 32]));
    let kept = (0..FILES).filter(|number| found(*number).is_some());
    assert!((100..300).contains(&kept.count()));
    assert_eq!(cache.get(&path(0), &stamp(5, 6)), Some([7; 32]));
}

#[test]
fn a_file_of_another_context_or_version_counts_as_empty() {
    let context = ContextId([0; 32]);
    let bytes = with(&[b"a"]).to_bytes_again();
    assert!(StatCache::from_bytes(ContextId([1; 32]), &bytes).is_empty());
    let of_version = |version: u32| {
        let mut bytes = bytes.clone();
        let end = bytes.len() - 32;
        let trailer = end - 24;
        bytes[trailer + 12..trailer + 16].copy_from_slice(&version.to_le_bytes());
        let index = u64::from_le_bytes(*bytes[trailer..].first_chunk().unwrap());
        let index = usize::try_from(index).unwrap();
        let checksum = table::checksum(&context.0, &bytes[index..end]);
        bytes[end..].copy_from_slice(&checksum);
        StatCache::from_bytes(context, &bytes)
    };
    assert_eq!(of_version(table::VERSION).len(), 1);
    assert!(of_version(table::VERSION - 1).is_empty());
    assert!(of_version(table::VERSION + 1).is_empty());
}

#[test]
fn the_order_is_that_of_a_walk() {
    let paths: [&[u8]; 8] = [
        b"a", b"a/b", b"a/b/c", b"a/bc", b"a-b", b"a-b/c", b"a.b", b"ab",
    ];
    for (first, path) in paths.iter().enumerate() {
        for (second, other) in paths.iter().enumerate() {
            assert_eq!(table::order(path, other), first.cmp(&second));
        }
    }
}

proptest! {
    #[test]
    fn what_was_put_is_found(
        entries in prop::collection::btree_map(
            prop::collection::vec(any::<u8>(), 0..20),
            (any::<[u64; 3]>(), any::<[u8; 32]>()),
            1..50,
        )
    ) {
        let cache = empty();
        let stamp = |[dev, ino, size]: [u64; 3]| FileStamp { dev, ino, size, ..stamp(5, 6) };
        for (path, (numbers, digest)) in &entries {
            cache.put(path, stamp(*numbers), *digest);
        }
        let cache = saved(&cache);
        for (path, (numbers, digest)) in &entries {
            prop_assert_eq!(cache.get(path, &stamp(*numbers)), Some(*digest));
        }
    }

    /// With many files what is new goes to the disk in between, and the table has many blocks.
    #[test]
    fn the_last_of_several_rounds_counts(
        rounds in prop::collection::vec(
            prop::collection::vec(("[ab]{1,2}[-/.][a-d]{1,2}", any::<u8>(), any::<bool>()), 1..80),
            1..5,
        )
    ) {
        let mut known: BTreeMap<String, Option<u8>> = BTreeMap::new();
        let mut cache = empty();
        for round in &rounds {
            for (path, digest, settled) in round {
                let stamp = if *settled { stamp(5, 6) } else { stamp(2000, 1) };
                cache.put(path.as_bytes(), stamp, [*digest; 32]);
                known.insert(path.clone(), settled.then_some(*digest));
            }
            if let Some(bytes) = cache.to_bytes(NOW) {
                cache = StatCache::from_bytes(cache.context, &bytes);
            }
            known.retain(|_, digest| digest.is_some());
            if cache.fresh().records.is_empty() {
                prop_assert_eq!(cache.len(), known.len());
                for (path, digest) in &known {
                    let found = cache.get(path.as_bytes(), &stamp(5, 6));
                    prop_assert_eq!(found, digest.map(|digest| [digest; 32]));
                }
            } else {
                // Nothing of it is worth a write; the next round begins anew.
                return Ok(());
            }
        }
    }

    /// Tables as nobody writes them, with right checksums: records in no order, paths that overlap or
    /// leave the block, blocks in no order, and now and then an index that is cut off or goes on.
    #[test]
    fn any_bytes_with_right_checksums_are_safe(
        blocks in prop::collection::vec((block(), path()), 0..4),
        more in prop_oneof![
            9 => Just(Vec::new()),
            1 => prop::collection::vec(any::<u8>(), 1..60),
        ],
        looked_up in prop::collection::vec(path(), 1..8),
    ) {
        let context = ContextId([0; 32]);
        let bytes = file_of(context, &blocks, &more);
        let cache = StatCache::from_bytes(context, &bytes);
        let fits = |((bytes, count), _): &(AnyBlock, _)| *count as usize * RECORD <= bytes.len();
        if more.is_empty() && blocks.iter().all(fits) {
            let count: u32 = blocks.iter().map(|((_, count), _)| count).sum();
            prop_assert_eq!(cache.len(), count as usize);
        }
        cache.put(b"new", stamp(5, 6), [1; 32]);
        for path in looked_up.iter().chain(blocks.iter().map(|(_, first)| first)) {
            cache.get(path, &stamp(5, 6));
        }
        prop_assert!(cache.to_bytes(NOW).is_some());
    }
}

/// The bytes of a block, and how many records its index says that it has.
type AnyBlock = (Vec<u8>, u32);

/// Few enough different ones that some are found.
fn path() -> impl Strategy<Value = Vec<u8>> {
    "[ab/]{0,3}".prop_map(String::into_bytes)
}

/// Mostly records whose paths are inside of the block, sometimes one more or less than there are, and
/// sometimes anything.
fn block() -> impl Strategy<Value = AnyBlock> {
    let record = (0..40_u32, 0..4_u32, 0..8_u8);
    let records = prop::collection::vec(record, 0..6);
    let records = (records, "[ab/]{30,60}", -1..=1_i32, 0..4_u8);
    let records = records.prop_map(|(records, paths, other, is_other)| {
        let mut bytes = Vec::new();
        for (start, length, rest) in &records {
            bytes.extend_from_slice(&start.to_le_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.resize(bytes.len() + RECORD - 8, *rest);
        }
        bytes.extend_from_slice(paths.as_bytes());
        let count = u32::try_from(records.len()).unwrap();
        let other = if is_other == 0 { other } else { 0 };
        (bytes, count.saturating_add_signed(other))
    });
    let anything = (prop::collection::vec(any::<u8>(), 0..400), 0..6_u32);
    prop_oneof![4 => records, 1 => anything]
}

/// A file with these blocks, of which each has its first path in the index; `more` ends the index.
fn file_of(context: ContextId, blocks: &[(AnyBlock, Vec<u8>)], more: &[u8]) -> Vec<u8> {
    let number = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
    let (mut bytes, mut index) = (Vec::new(), Vec::new());
    for ((block, count), first) in blocks {
        index.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        index.extend_from_slice(&number(block.len()));
        index.extend_from_slice(&count.to_le_bytes());
        index.extend_from_slice(&table::checksum(&context.0, block));
        index.extend_from_slice(&number(first.len()));
        index.extend_from_slice(first);
        bytes.extend_from_slice(block);
    }
    index.extend_from_slice(more);
    let length = number(index.len());
    index.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    index.extend_from_slice(&length);
    index.extend_from_slice(&table::VERSION.to_le_bytes());
    index.extend_from_slice(table::MAGIC);
    let checksum = table::checksum(&context.0, &index);
    bytes.extend_from_slice(&index);
    bytes.extend_from_slice(&checksum);
    bytes
}
