//! Caches that BuildKit wrote: what it has for a step is found for the same step of kiln.
//!
//! The documents under `tests/data` are BuildKit's, from the Dockerfiles and files below.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use kiln_cache::Imported;
use kiln_cache::buildkit::{
    BkImage, BkPlatform, CacheSharing, ContentTree, CopyAction, EntryKind, Exec, FileAction,
    FileHeader, FileOp, MkdirAction, MkfileAction, Mount, MountKind, Network, Owner, Records,
    Selected, Step, StepInput, UserName, content_digests,
};
use kiln_oci::Digest;

use crate::support::read;

/// The manifest of the base image.
const MANIFEST: &str = "sha256:0f90d4541e5d5e23a948706a21702118b581325947bd6c793d288983ab63eee3";
/// The uncompressed layers of the base image, by its configuration.
const BASE: [&str; 2] = [
    "sha256:2de3cb29a42390aacd3840e788a75c138837e8f87fd8cbae287d9d5e229c8c28",
    "sha256:7d33c1fd9277c119bb3c0aa0e004da8d38cbd6d3237da31fd5cac030bd337d2e",
];

/// A cache of the test data, as a folder would hold it.
fn import(directory: &Path, name: &str) -> Imported<'static> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).expect("a folder");
    for part in ["manifest", "config"] {
        let bytes = std::fs::read(data.join(format!("{name}-{part}.json"))).expect("test data");
        let digest = Digest::sha256(&bytes);
        std::fs::write(blobs.join(digest.hex()), &bytes).expect("written");
        if part == "manifest" {
            let index = format!(
                r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{},"annotations":{{"org.opencontainers.image.ref.name":"latest"}}}}]}}"#,
                bytes.len()
            );
            std::fs::write(directory.join("index.json"), index).expect("written");
        }
    }
    read(&format!("type=local,src={}", directory.display())).expect("a cache")
}

/// The files of the build's context.
fn context() -> ContentTree {
    let mut tree = ContentTree::default();
    let mut add = |path: &str, mode: u32, kind: EntryKind, content: &str| {
        let header = FileHeader {
            kind: kind.clone(),
            mode,
            uid: 0,
            gid: 0,
            xattrs: BTreeMap::new(),
        };
        let digest = header.digest(&mut content.as_bytes()).expect("readable");
        tree.insert(path, &kind, digest);
    };
    add("/a.txt", 0o644, EntryKind::File(6), "hello\n");
    add("/zed", 0o644, EntryKind::File(2), "x\n");
    add("/dir", 0o755, EntryKind::Directory, "");
    add("/dir/b.txt", 0o644, EntryKind::File(4), "two\n");
    add("/dir/link", 0o777, EntryKind::Link("b.txt".to_owned()), "");
    add("/dir/sub", 0o755, EntryKind::Directory, "");
    add("/dir/sub/c.txt", 0o755, EntryKind::File(6), "three\n");
    tree
}

/// The content of some paths of the context.
fn content(paths: &[&str], is_pattern: bool) -> Vec<Digest> {
    let selected: Vec<Selected> = paths
        .iter()
        .map(|path| Selected {
            path: (*path).to_owned(),
            is_pattern,
        })
        .collect();
    content_digests(&context(), &selected)
}

/// A build on a cache: each step stands on the one before.
struct Walk<'a> {
    imported: &'a Imported<'static>,
    last: Records,
    text: String,
}

impl Walk<'_> {
    fn step(&mut self, name: &str, step: &Step, more: &[StepInput<'_>]) -> Records {
        let mut inputs = Vec::new();
        if !matches!(step, Step::Image(_)) {
            inputs.push(StepInput {
                records: Some(&self.last),
                ..StepInput::default()
            });
        }
        inputs.extend_from_slice(more);
        let records = self.imported.buildkit_records(step, &inputs);
        let layers = self.imported.buildkit_layers(&records);
        let found = match layers {
            Some(layers) => format!("{} layers", layers.len()),
            None if records.is_empty() => "nothing".to_owned(),
            None => "no layers".to_owned(),
        };
        writeln!(self.text, "{name}: {found}").expect("text");
        self.last = records.clone();
        records
    }

    fn from(&mut self) -> Records {
        let image = BkImage {
            manifest: Some(MANIFEST.parse().expect("a digest")),
            diff_ids: BASE
                .map(|digest| digest.parse().expect("a digest"))
                .to_vec(),
            platform: amd64(),
        };
        self.step("FROM", &Step::Image(image), &[])
    }

    /// A copy from the context.
    fn copy(&mut self, name: &str, sources: &[&str], change: impl Fn(&mut CopyAction)) {
        let actions = sources.iter().map(|source| {
            let mut copy = copy(1, source, "");
            change(&mut copy);
            FileAction::Copy(copy)
        });
        let step = Step::File(FileOp {
            base: Some(0),
            inputs: 2,
            actions: actions.collect(),
        });
        let input = StepInput {
            content: content(sources, true),
            selected: sources.iter().map(ToString::to_string).collect(),
            records: None,
        };
        self.step(name, &step, &[input]);
    }

    fn run(&mut self, command: &str, exec: Exec, more: &[StepInput<'_>]) {
        let args = ["/bin/sh", "-c", command].map(str::to_owned).to_vec();
        let exec = Box::new(Exec { args, ..exec });
        self.step(&format!("RUN {command}"), &Step::Exec(exec, amd64()), more);
    }
}

fn amd64() -> BkPlatform {
    BkPlatform {
        os: "linux".to_owned(),
        architecture: "amd64".to_owned(),
        variant: String::new(),
    }
}

fn copy(from: usize, src: &str, dest: &str) -> CopyAction {
    CopyAction {
        from,
        src: src.to_owned(),
        dest: dest.to_owned(),
        owner: None,
        mode: None,
        mode_text: String::new(),
        unpack: false,
        is_selection: true,
    }
}

fn exec(env: &[&str], cwd: &str) -> Exec {
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let base = [path, "BASE=1"];
    let env = base.iter().chain(env);
    Exec {
        env: env.map(ToString::to_string).collect(),
        cwd: cwd.to_owned(),
        mounts: vec![Mount::root()],
        ..Exec::default()
    }
}

fn mkdir(path: &str, owner: Option<Owner>) -> Step {
    Step::File(FileOp {
        base: Some(0),
        inputs: 1,
        actions: vec![FileAction::Mkdir(MkdirAction {
            path: path.to_owned(),
            owner,
            timestamp: None,
        })],
    })
}

fn mount(input: Option<usize>, source: &str, target: &str, kind: MountKind) -> Mount {
    Mount {
        input,
        source: source.to_owned(),
        target: target.to_owned(),
        output: None,
        readonly: kind == MountKind::Bind,
        kind,
    }
}

fn numbered(id: u32) -> Owner {
    Owner {
        user: Some(UserName::Id(id)),
        group: Some(UserName::Id(id)),
    }
}

/// ```text
/// FROM base AS build
/// WORKDIR /src
/// RUN echo "one <&> two" > /one
/// COPY a.txt /src/
/// COPY dir ./dir/
/// COPY *.txt zed /many/
/// COPY --chown=1000:1000 a.txt zed dir/b.txt /three/
/// COPY --chmod=u=rw,go=r a.txt /letters
/// ARG V=3
/// ENV E=f
/// RUN --mount=type=cache,target=/c --mount=type=bind,source=dir,target=/m --mount=type=tmpfs,target=/t --mount=type=secret,id=none cp /m/b.txt /got
/// RUN --network=none echo $V > /two
/// FROM base
/// COPY --from=build /one /two /out/
/// COPY --link a.txt /linked
/// USER 1000:1000
/// WORKDIR /home
/// RUN id > /home/x
/// ```
#[test]
fn every_step_of_a_cache_by_buildkit_0_32_is_found() {
    let directory = tempfile::tempdir().expect("a folder");
    let imported = import(directory.path(), "buildkit-0.32");
    let mut walk = Walk {
        imported: &imported,
        last: Records::default(),
        text: String::new(),
    };
    walk.from();
    walk.step("WORKDIR", &mkdir("/src", None), &[]);
    walk.run("echo \"one <&> two\" > /one", exec(&[], "/src"), &[]);
    walk.copy("COPY a.txt", &["/a.txt"], |copy| {
        copy.dest = "/src/".to_owned();
    });
    walk.copy("COPY dir", &["/dir"], |copy| {
        copy.dest = "/src/dir/".to_owned();
    });
    walk.copy("COPY *.txt zed", &["/*.txt", "/zed"], |copy| {
        copy.dest = "/many/".to_owned();
    });
    walk.copy("COPY --chown", &["/a.txt", "/zed", "/dir/b.txt"], |copy| {
        copy.dest = "/three/".to_owned();
        copy.owner = Some(numbered(1000));
    });
    walk.copy("COPY --chmod", &["/a.txt"], |copy| {
        copy.dest = "/letters".to_owned();
        copy.mode_text = "u=rw,go=r".to_owned();
    });
    let cache = MountKind::Cache {
        id: "//c".to_owned(),
        sharing: CacheSharing::Shared,
    };
    let secret = MountKind::Secret {
        id: "none".to_owned(),
        uid: 0,
        gid: 0,
        mode: 0o400,
        optional: true,
    };
    let mounts = vec![
        Mount::root(),
        mount(None, "/", "/c", cache),
        mount(Some(1), "/dir", "/m", MountKind::Bind),
        mount(None, "/", "/t", MountKind::Tmpfs(0)),
        mount(None, "/", "/run/secrets/none", secret),
    ];
    let mounted = StepInput {
        content: content(&["/dir"], false),
        ..StepInput::default()
    };
    let variables = exec(&["V=3", "E=f"], "/src");
    let with_mounts = Exec {
        mounts,
        ..variables.clone()
    };
    walk.run("cp /m/b.txt /got", with_mounts, &[mounted]);
    let no_network = Exec {
        network: Network::None,
        ..variables
    };
    walk.run("echo $V > /two", no_network, &[]);
    let build = walk.last.clone();
    walk.from();
    second_stage(&mut walk, &build);
    assert_eq!(
        walk.text,
        "FROM: no layers\n\
         WORKDIR: 3 layers\n\
         RUN echo \"one <&> two\" > /one: 4 layers\n\
         COPY a.txt: 5 layers\n\
         COPY dir: 6 layers\n\
         COPY *.txt zed: 7 layers\n\
         COPY --chown: 8 layers\n\
         COPY --chmod: 9 layers\n\
         RUN cp /m/b.txt /got: 10 layers\n\
         RUN echo $V > /two: 11 layers\n\
         FROM: no layers\n\
         COPY --from: 3 layers\n\
         COPY --link: 1 layers\n\
         LINK: 4 layers\n\
         WORKDIR: 5 layers\n\
         RUN id > /home/x: 6 layers\n"
    );
}

fn second_stage(walk: &mut Walk<'_>, build: &Records) {
    let step = Step::File(FileOp {
        base: Some(0),
        inputs: 2,
        actions: vec![
            FileAction::Copy(copy(1, "/one", "/out/")),
            FileAction::Copy(copy(1, "/two", "/out/")),
        ],
    });
    let from = StepInput {
        records: Some(build),
        selected: vec!["/one".to_owned(), "/two".to_owned()],
        content: Vec::new(),
    };
    let below = walk.step("COPY --from", &step, &[from]);
    let step = Step::File(FileOp {
        base: None,
        inputs: 1,
        actions: vec![FileAction::Copy(copy(0, "/a.txt", "/linked"))],
    });
    let linked = StepInput {
        content: content(&["/a.txt"], true),
        ..StepInput::default()
    };
    let upper = walk.imported.buildkit_records(&step, &[linked]);
    let layers = walk
        .imported
        .buildkit_layers(&upper)
        .map_or(0, |layers| layers.len());
    writeln!(walk.text, "COPY --link: {layers} layers").expect("text");
    walk.last = below;
    let upper = StepInput {
        records: Some(&upper),
        ..StepInput::default()
    };
    walk.step("LINK", &Step::Merge(2), &[upper]);
    walk.step("WORKDIR", &mkdir("/home", Some(numbered(1000))), &[]);
    let user = Exec {
        user: "1000:1000".to_owned(),
        ..exec(&[], "/home")
    };
    walk.run("id > /home/x", user, &[]);
}

/// ```text
/// FROM base
/// WORKDIR /src
/// RUN echo "one <&> two" > /one
/// COPY a.txt /src/
/// COPY dir ./dir/
/// COPY *.txt zed /many/
/// COPY --chown=1000:1000 zed /owned
/// COPY [azd]* /both/
/// ENV E=f
/// USER 1000:1000
/// WORKDIR /home
/// RUN echo $E
/// ```
///
/// All without a network. The cache is in the image's configuration.
#[test]
fn every_step_of_a_cache_by_docker_20_10_is_found() {
    let directory = tempfile::tempdir().expect("a folder");
    let imported = import(directory.path(), "docker-20.10");
    let mut walk = Walk {
        imported: &imported,
        last: Records::default(),
        text: String::new(),
    };
    let isolated = |exec: Exec| Exec {
        network: Network::None,
        ..exec
    };
    walk.from();
    walk.step("WORKDIR", &mkdir("/src", None), &[]);
    walk.run(
        "echo \"one <&> two\" > /one",
        isolated(exec(&[], "/src")),
        &[],
    );
    walk.copy("COPY a.txt", &["/a.txt"], |copy| {
        copy.dest = "/src/".to_owned();
    });
    walk.copy("COPY dir", &["/dir"], |copy| {
        copy.dest = "/src/dir/".to_owned();
    });
    walk.copy("COPY *.txt zed", &["/*.txt", "/zed"], |copy| {
        copy.dest = "/many/".to_owned();
    });
    walk.copy("COPY --chown", &["/zed"], |copy| {
        copy.dest = "/owned".to_owned();
        copy.owner = Some(numbered(1000));
    });
    walk.copy("COPY [azd]*", &["/[azd]*"], |copy| {
        copy.dest = "/both/".to_owned();
    });
    walk.step("WORKDIR", &mkdir("/home", Some(numbered(1000))), &[]);
    let user = Exec {
        user: "1000:1000".to_owned(),
        ..isolated(exec(&["E=f"], "/home"))
    };
    walk.run("echo $E", user, &[]);
    assert_eq!(
        walk.text,
        "FROM: no layers\nWORKDIR: 3 layers\nRUN echo \"one <&> two\" > /one: 4 layers\n\
         COPY a.txt: 5 layers\nCOPY dir: 6 layers\nCOPY *.txt zed: 7 layers\n\
         COPY --chown: 8 layers\nCOPY [azd]*: 9 layers\nWORKDIR: 10 layers\n\
         RUN echo $E: 11 layers\n"
    );
}

/// ```text
/// FROM base AS build
/// RUN mkdir /d && echo x > /d/x
/// FROM base
/// COPY <<EOF /here
/// hello <there>
/// EOF
/// RUN --mount=type=bind,from=build,source=/d,target=/y cat /y/x
/// RUN --mount=type=cache,id=foo,sharing=locked,target=/e true
/// RUN --mount=type=bind,from=build,target=/z,rw true
/// RUN --mount=type=secret,id=k,env=KEY true
/// RUN ["/bin/true","é\u2028"]
/// ADD a.txt zed /add/
/// ADD dir /add/
/// COPY --chmod=600 --chown=5 a.txt /five
/// FROM scratch AS last
/// COPY a.txt zed /
/// COPY dir/sub/../b.txt /x/.
/// ```
#[test]
fn less_common_steps_are_found_too() {
    let directory = tempfile::tempdir().expect("a folder");
    let imported = import(directory.path(), "buildkit-0.32-more");
    let mut walk = Walk {
        imported: &imported,
        last: Records::default(),
        text: String::new(),
    };
    walk.from();
    walk.run("mkdir /d && echo x > /d/x", exec(&[], "/"), &[]);
    let build = walk.last.clone();
    walk.from();
    heredoc(&mut walk);
    mounts(&mut walk, &build);
    walk.copy("ADD a.txt zed", &["/a.txt", "/zed"], |copy| {
        copy.dest = "/add/".to_owned();
        copy.unpack = true;
    });
    walk.copy("ADD dir", &["/dir"], |copy| {
        copy.dest = "/add/".to_owned();
        copy.unpack = true;
    });
    walk.copy("COPY --chown=5", &["/a.txt"], |copy| {
        copy.dest = "/five".to_owned();
        copy.mode = Some(0o600);
        copy.owner = Some(Owner {
            user: Some(UserName::Id(5)),
            group: None,
        });
    });
    let files = [copy(0, "/a.txt", "/"), copy(0, "/zed", "/")];
    let scratch = Step::File(FileOp {
        base: None,
        inputs: 1,
        actions: files.map(FileAction::Copy).to_vec(),
    });
    let both = StepInput {
        content: content(&["/a.txt", "/zed"], true),
        ..StepInput::default()
    };
    walk.last = walk.imported.buildkit_records(&scratch, &[both]);
    walk.copy("COPY onto scratch", &["/dir/b.txt"], |copy| {
        copy.dest = "/x/.".to_owned();
    });
    assert_eq!(
        walk.text,
        "FROM: no layers\nRUN mkdir /d && echo x > /d/x: 3 layers\nFROM: no layers\n\
         COPY <<EOF: 3 layers\nRUN cat /y/x: 4 layers\nRUN true: 5 layers\n\
         RUN true: 6 layers\nRUN true: 7 layers\nRUN [\"/bin/true\"]: 8 layers\n\
         ADD a.txt zed: 9 layers\nADD dir: 10 layers\nCOPY --chown=5: 11 layers\n\
         COPY onto scratch: 2 layers\n"
    );
}

fn heredoc(walk: &mut Walk<'_>) {
    let file = Step::File(FileOp {
        base: None,
        inputs: 0,
        actions: vec![FileAction::Mkfile(MkfileAction {
            path: "/EOF".to_owned(),
            mode: 0o644,
            data: b"hello <there>\n".to_vec(),
        })],
    });
    let made = walk.imported.buildkit_records(&file, &[]);
    let step = Step::File(FileOp {
        base: Some(0),
        inputs: 2,
        actions: vec![FileAction::Copy(CopyAction {
            is_selection: false,
            ..copy(1, "/EOF", "/here")
        })],
    });
    let input = StepInput {
        records: Some(&made),
        selected: vec!["/EOF".to_owned()],
        content: Vec::new(),
    };
    walk.step("COPY <<EOF", &step, &[input]);
}

fn mounts(walk: &mut Walk<'_>, build: &Records) {
    let of_build = StepInput {
        records: Some(build),
        ..StepInput::default()
    };
    let with = |mount: Mount| Exec {
        mounts: vec![Mount::root(), mount],
        ..exec(&[], "/")
    };
    let directory = mount(Some(1), "/d", "/y", MountKind::Bind);
    walk.run("cat /y/x", with(directory), std::slice::from_ref(&of_build));
    let cache = MountKind::Cache {
        id: "/foo".to_owned(),
        sharing: CacheSharing::Locked,
    };
    walk.run("true", with(mount(None, "/", "/e", cache)), &[]);
    let writable = Mount {
        readonly: false,
        ..mount(Some(1), "/", "/z", MountKind::Bind)
    };
    walk.run("true", with(writable), &[of_build]);
    let secret = Exec {
        secret_env: vec![("k".to_owned(), "KEY".to_owned(), true)],
        ..exec(&[], "/")
    };
    walk.run("true", secret, &[]);
    let args = ["/bin/true", "é\u{2028}"].map(str::to_owned).to_vec();
    let plain = Exec {
        args,
        ..exec(&[], "/")
    };
    let step = Step::Exec(Box::new(plain), amd64());
    walk.step("RUN [\"/bin/true\"]", &step, &[]);
}

#[test]
fn other_steps_are_not_found() {
    let directory = tempfile::tempdir().expect("a folder");
    let imported = import(directory.path(), "buildkit-0.32");
    let mut walk = Walk {
        imported: &imported,
        last: Records::default(),
        text: String::new(),
    };
    let base = walk.from();
    walk.step("WORKDIR", &mkdir("/other", None), &[]);
    walk.last = base.clone();
    walk.step("WORKDIR", &mkdir("/src", Some(numbered(1))), &[]);
    walk.last = base.clone();
    walk.run("echo \"one <&> two\" > /one", exec(&[], "/src"), &[]);
    walk.last = base;
    let made = walk.step("WORKDIR", &mkdir("/src", None), &[]);
    walk.run("echo \"one <&> two\" > /one", exec(&["X=1"], "/src"), &[]);
    walk.last = made;
    walk.run("echo \"one <&> two\" > /one", exec(&[], "/src"), &[]);
    walk.copy("COPY zed", &["/zed"], |copy| copy.dest = "/src/".to_owned());
    assert_eq!(
        walk.text,
        "FROM: no layers\nWORKDIR: nothing\nWORKDIR: nothing\n\
         RUN echo \"one <&> two\" > /one: nothing\nWORKDIR: 3 layers\n\
         RUN echo \"one <&> two\" > /one: nothing\n\
         RUN echo \"one <&> two\" > /one: 4 layers\nCOPY zed: nothing\n"
    );
}
