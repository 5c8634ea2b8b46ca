//! Uploads of layers that are being packed, to a registry that does as it is told.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::net::{TcpListener, TcpStream};

use kiln_base::Timestamp;
use kiln_oci::{Compression, Descriptor, Family, MediaType};
use kiln_registry::{ClientConfig, CredentialSource, HostConfig, Proxy, RetryPolicy};
use kiln_store::{Clock, Store};

use super::*;
use crate::transfer::PushTo;

/// What a registry does with an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patch {
    Takes,
    Refuses,
    BreaksOff,
    BreaksOffFirst,
    /// Takes none of it until it was asked whether it has the blob, which it has.
    WaitsForHead,
    /// Takes none of it until the test says so. It takes any blob from another repository.
    WaitsForTest,
    /// Takes it, and fails at its end: always, or once.
    FailsAtEnd,
    StumblesAtEnd,
    /// Takes it, and keeps it once the test says so.
    HoldsEnd,
}

/// A registry of one upload, which counts bytes and forgets them.
struct Registry {
    host: String,
    shared: Arc<(Mutex<Seen>, Condvar)>,
}

#[derive(Default)]
struct Seen {
    log: Vec<String>,
    received: usize,
    is_open: bool,
}

impl Registry {
    fn start(patch: Patch) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let shared = Arc::new((Mutex::default(), Condvar::new()));
        let seen = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || serve(&stream, &seen, patch));
            }
        });
        Self { host, shared }
    }

    fn open(&self) {
        self.shared.0.lock().unwrap().is_open = true;
        self.shared.1.notify_all();
    }

    /// Waits until such a request was made.
    fn wait_for(&self, method: &str) {
        let (lock, changed) = &*self.shared;
        let is_missing = |seen: &mut Seen| !seen.log.iter().any(|line| line == method);
        drop(
            changed
                .wait_while(lock.lock().unwrap(), is_missing)
                .unwrap(),
        );
    }

    fn log(&self) -> String {
        self.shared.0.lock().unwrap().log.join(" ")
    }
}

/// Answers one request; `None` where the connection is closed instead.
fn serve(stream: &TcpStream, seen: &(Mutex<Seen>, Condvar), patch: Patch) -> Option<()> {
    let mut reader = io::BufReader::new(stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if reader.read_until(b'\n', &mut head).ok()? == 0 {
            return None;
        }
    }
    let head = String::from_utf8(head).ok()?;
    let method = match head.split(' ').next()? {
        "POST" if head.contains("?mount=") => "MOUNT",
        method => method,
    };
    let (lock, changed) = seen;
    lock.lock().unwrap().log.push(method.to_owned());
    changed.notify_all();
    let wait_while = |waits: &dyn Fn(&Seen) -> bool| {
        let waited = changed.wait_while(lock.lock().unwrap(), |seen| waits(seen));
        drop(waited.unwrap());
    };
    let count = || {
        let seen = lock.lock().unwrap();
        seen.log.iter().filter(|line| *line == method).count()
    };
    let answer = match method {
        "POST" => "202 x\r\nLocation: /v2/a/b/blobs/uploads/u",
        "MOUNT" if patch == Patch::WaitsForTest => "201 x",
        "PATCH" => {
            match patch {
                Patch::Refuses => return reply(stream, "416 x"),
                Patch::BreaksOff => return None,
                Patch::BreaksOffFirst if count() == 1 => return None,
                Patch::WaitsForHead => {
                    wait_while(&|seen| !seen.log.iter().any(|line| line == "HEAD"));
                }
                Patch::WaitsForTest => wait_while(&|seen| !seen.is_open),
                _ => {}
            }
            let received = read_chunks(&mut reader)?;
            lock.lock().unwrap().received = received;
            "202 x"
        }
        "HEAD" if patch == Patch::WaitsForHead => "200 x",
        "MOUNT" | "HEAD" => "404 x",
        "PUT" => match patch {
            Patch::FailsAtEnd => "500 x",
            Patch::StumblesAtEnd if count() == 1 => "502 x",
            Patch::HoldsEnd => {
                wait_while(&|seen| !seen.is_open);
                "201 x"
            }
            _ => "201 x",
        },
        "DELETE" => "204 x",
        _ => "405 x",
    };
    reply(stream, answer)
}

fn reply(mut stream: &TcpStream, answer: &str) -> Option<()> {
    let answer = format!("HTTP/1.1 {answer}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes()).ok()
}

/// How many bytes a body in chunks has.
fn read_chunks(reader: &mut impl BufRead) -> Option<usize> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let size = usize::from_str_radix(line.trim_end(), 16).ok()?;
        reader.read_exact(&mut vec![0; size + 2]).ok()?;
        if size == 0 {
            return Some(length);
        }
        length += size;
    }
}

/// A build that packs one layer and pushes it.
struct Build {
    registry: Registry,
    store: Store,
    uploads: EarlyUploads,
    to: Vec<Arc<Destination>>,
    _folder: tempfile::TempDir,
}

/// More than what lies in the buffers of a connection.
const LARGE: usize = 32 << 20;

impl Build {
    fn start(patch: Patch) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::new(|| Timestamp::new(0, 0));
        let registry = Registry::start(patch);
        let plain = HostConfig {
            plain_http: true,
            ..HostConfig::default()
        };
        let client = Client::new(ClientConfig {
            hosts: BTreeMap::from([(registry.host.clone(), plain)]),
            credentials: CredentialSource::default(),
            proxy: Proxy::None,
            retry: RetryPolicy {
                attempts: 2,
                first_wait: Duration::from_millis(1),
                ..RetryPolicy::standard(0)
            },
            user_agent: String::new(),
        });
        Self {
            to: vec![Arc::new(Destination {
                client: Arc::new(client),
                name: format!("{}/a/b:1", registry.host).parse().unwrap(),
            })],
            registry,
            store: Store::open(folder.path(), clock).unwrap(),
            uploads: EarlyUploads::default(),
            _folder: folder,
        }
    }

    fn writer<'w>(&'w self, tracer: &'w Tracer) -> SentWriter<'w> {
        let blob = self.store.blob_writer().unwrap();
        SentWriter::new(blob, (&self.uploads, &self.to), tracer)
    }

    /// Packs a layer of this size.
    fn pack(&self, size: usize) -> Digest {
        self.pack_of(7, size)
    }

    /// Packs a layer of this byte and size.
    fn pack_of(&self, byte: u8, size: usize) -> Digest {
        let tracer = Tracer::off();
        let mut writer = self.writer(&tracer);
        let piece = vec![byte; 1 << 20];
        for _ in 0..size / piece.len() {
            writer.write_all(&piece).unwrap();
        }
        writer.commit().unwrap().0
    }

    fn claim(&self, digest: &Digest) -> Option<Claim> {
        self.uploads.claim(&self.to[0].name, digest)
    }

    /// Whether the push finds the layer sent.
    fn push(&self, digest: &Digest) -> bool {
        let watched = (&CancelToken::new(), &Tracer::off());
        let size = LARGE as u64;
        let claim = self.claim(digest);
        claim.is_some_and(|claim| claim.finish(size, |_| {}, watched).unwrap())
    }

    /// Waits until no layer is being sent.
    fn wait_for_senders(&self) {
        let is_sending = |sender: &Arc<Sender>| sender.lock().stage == Stage::Sending;
        while self.uploads.lock().senders.iter().any(is_sending) {
            std::thread::sleep(LOOK);
        }
    }

    /// What the registry was told until the build's end. Whether it was asked for the blob depends on
    /// how busy the machine is, so that is left out.
    fn end(&self) -> String {
        drop(self.uploads.end_on_drop());
        let log = self.registry.log();
        let lines: Vec<&str> = log.split(' ').filter(|line| *line != "HEAD").collect();
        lines.join(" ")
    }
}

#[test]
fn a_layer_is_sent_and_gets_its_name_from_the_push() {
    let build = Build::start(Patch::Takes);
    let digest = build.pack(LARGE);
    assert!(build.claim(&Digest::sha256(b"another")).is_none());
    assert!(build.push(&digest));
    assert_eq!(build.registry.shared.0.lock().unwrap().received, LARGE);
    assert_eq!(build.end(), "POST PATCH PUT");
}

#[test]
fn a_small_layer_is_left_to_the_push() {
    let build = Build::start(Patch::Takes);
    let digest = build.pack(1 << 20);
    assert!(!build.push(&digest));
    assert_eq!(build.end(), "");
}

#[test]
fn an_upload_that_fails_is_given_up() {
    for patch in [Patch::Refuses, Patch::BreaksOff] {
        let build = Build::start(patch);
        let digest = build.pack(LARGE);
        assert!(!build.push(&digest), "{patch:?}");
        assert_eq!(build.end(), "POST PATCH DELETE", "{patch:?}");
    }
}

#[test]
fn a_registry_that_takes_nothing_does_not_hold_up_the_packer() {
    let build = Build::start(Patch::WaitsForTest);
    let digest = build.pack(LARGE);
    build.registry.open();
    assert!(build.push(&digest));
}

#[test]
fn a_blob_that_the_registry_has_is_not_sent_to_the_end() {
    let build = Build::start(Patch::WaitsForHead);
    let digest = build.pack(LARGE);
    assert!(!build.push(&digest));
    assert!(build.registry.log().contains("HEAD"));
    assert_eq!(build.end(), "POST PATCH DELETE");
    assert!(build.registry.shared.0.lock().unwrap().received < LARGE);
}

#[test]
fn a_layer_that_is_not_completed_is_forgotten() {
    let build = Build::start(Patch::Takes);
    let tracer = Tracer::off();
    let mut writer = build.writer(&tracer);
    writer.write_all(&vec![7; LARGE]).unwrap();
    build.registry.wait_for("PATCH");
    drop(writer);
    assert_eq!(build.end(), "POST PATCH DELETE");
}

#[test]
fn what_no_push_finishes_is_cancelled_at_the_end() {
    let build = Build::start(Patch::Takes);
    let digest = build.pack(LARGE);
    assert!(build.claim(&digest).is_some());
    build.wait_for_senders();
    assert_eq!(build.end(), "POST PATCH DELETE");
    let late = build.pack(LARGE);
    assert!(!build.push(&late));
}

#[test]
fn a_registry_gets_a_layer_once() {
    let build = Build::start(Patch::Takes);
    let to = |name: &str| {
        Arc::new(Destination {
            client: Arc::clone(&build.to[0].client),
            name: name.parse().unwrap(),
        })
    };
    let mut all = Vec::new();
    for name in ["r.example/a", "r.example/b", "q.example/a", "r.example/a:2"] {
        to(name).add_to(&mut all);
    }
    let names: Vec<String> = all.iter().map(|to| to.name.to_string()).collect();
    assert_eq!(names, ["r.example/a:latest", "q.example/a:latest"]);
}

#[test]
fn an_upload_that_stumbles_at_its_end_is_not_sent_again() {
    let build = Build::start(Patch::StumblesAtEnd);
    let digest = build.pack(LARGE);
    assert!(build.push(&digest));
    assert_eq!(build.end(), "POST PATCH PUT PUT");
}

#[test]
fn an_upload_that_can_t_be_finished_is_given_up() {
    let build = Build::start(Patch::FailsAtEnd);
    let digest = build.pack(LARGE);
    assert!(!build.push(&digest));
    assert!(build.claim(&digest).is_none());
    assert_eq!(build.end(), "POST PATCH PUT PUT DELETE");
}

#[test]
fn a_push_that_is_cancelled_waits_neither_for_the_rest_nor_for_the_end() {
    for (patch, method) in [(Patch::WaitsForTest, "PATCH"), (Patch::HoldsEnd, "PUT")] {
        let build = Build::start(patch);
        let digest = build.pack(LARGE);
        let claim = build.claim(&digest).unwrap();
        let cancel = CancelToken::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                build.registry.wait_for(method);
                cancel.cancel();
            });
            let finished = claim.finish(LARGE as u64, |_| {}, (&cancel, &Tracer::off()));
            assert!(finished.is_err(), "{patch:?}");
        });
    }
}

#[test]
fn a_registry_that_never_takes_it_does_not_hold_up_the_end() {
    let build = Build::start(Patch::WaitsForTest);
    build.pack(LARGE);
    build.registry.wait_for("PATCH");
    let begun = Instant::now();
    assert_eq!(build.end(), "POST PATCH");
    // As long as it promises, and a busy machine's time.
    assert!(begun.elapsed() < FAREWELL * 10);
}

#[test]
fn what_another_repository_has_is_taken_from_there_while_it_is_sent() {
    let build = Build::start(Patch::WaitsForTest);
    let digest = build.pack(LARGE);
    build.registry.wait_for("PATCH");
    let media_type = MediaType::layer(Family::Oci, Compression::Gzip);
    let blob = Descriptor {
        digest,
        size: LARGE as u64,
        ..Descriptor::of(media_type, b"")
    };
    let to = PushTo {
        registry: &build.to[0].client,
        name: &build.to[0].name,
        early: Some(&build.uploads),
        also_in: &[],
    };
    let watched = (&CancelToken::new(), &Tracer::off());
    let taken = to.finish_early(&blob, &["c/d".to_owned()], |_| {}, watched);
    assert!(taken.unwrap());
    build.registry.open();
    assert_eq!(build.end(), "POST PATCH MOUNT DELETE");
}

#[test]
fn a_layer_that_is_packed_twice_is_sent_once() {
    let build = Build::start(Patch::Takes);
    let digest = build.pack(LARGE);
    assert_eq!(build.pack(LARGE), digest);
    let halted = |sender: &Arc<Sender>| sender.halt.is_cancelled();
    let halted: Vec<bool> = build.uploads.lock().senders.iter().map(halted).collect();
    assert_eq!(halted, [false, true]);
    assert!(build.push(&digest));
    assert!(build.end().matches("PUT").count() == 1);
}

#[test]
fn a_layer_whose_first_upload_failed_is_finished_by_the_second() {
    let build = Build::start(Patch::BreaksOffFirst);
    let digest = build.pack(LARGE);
    build.wait_for_senders();
    assert_eq!(build.pack(LARGE), digest);
    assert!(build.push(&digest));
    assert_eq!(build.end(), "POST PATCH DELETE POST PATCH PUT");
}

#[test]
fn no_more_layers_are_sent_at_a_time_than_a_push_sends() {
    let build = Build::start(Patch::WaitsForTest);
    let size = 9 << 20;
    for byte in 0..6 {
        build.pack_of(byte, size);
    }
    let count = || build.uploads.lock().senders.len();
    assert_eq!(count(), TRANSFERS);
    build.registry.open();
    build.wait_for_senders();
    build.pack_of(6, size);
    assert_eq!(count(), TRANSFERS + 1);
}
