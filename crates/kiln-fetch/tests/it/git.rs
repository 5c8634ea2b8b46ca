//! Repositories over git's own protocol and over HTTP, as the host's git serves them.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use expect_test::expect;
use kiln_base::{CancelToken, Secret};
use kiln_dockerfile::gitref::GitRef;
use kiln_fetch::Network;
use kiln_fetch::git::{self, GitAuth, GitCredential, GitError, GitRequest};

use crate::server::{Answer, End, Request, Server};
use crate::support::{COMMIT_TIME, World, commit, dumb, run_git, smart};

fn message(result: Result<impl std::fmt::Debug, GitError>) -> String {
    result.expect_err("a failure").to_string()
}

const FILES: [(&str, &str); 4] = [
    ("Dockerfile", "FROM scratch\n"),
    ("run.sh", "program\n"),
    ("sub/deep/file", "content"),
    ("sub/link", "-> ../Dockerfile"),
];

#[test]
fn a_branch_is_checked_out() {
    let Some(world) = World::new() else { return };
    let path = world.repository("tool.git", &FILES);
    let address = format!("{}/tool.git", world.daemon());
    let found = world.resolve(&address).unwrap();
    assert_eq!(found.commit, run_git(&path, &["rev-parse", "HEAD"]));
    assert_eq!(found.reference.as_deref(), Some("refs/heads/main"));
    let done = world.checkout(&address, "all").unwrap();
    assert_eq!(
        (done.commit, done.commit_time.seconds()),
        (found.commit, COMMIT_TIME)
    );
    expect![[r#"
        Dockerfile 0644 "FROM scratch\n"
        run.sh 0755 "program\n"
        sub/ 0755
        sub/deep/ 0755
        sub/deep/file 0644 "content"
        sub/link -> ../Dockerfile
    "#]]
    .assert_eq(&world.tree("all"));
}

#[test]
fn names_mean_what_they_mean_to_git() {
    let Some(world) = World::new() else { return };
    let path = world.repository("tool.git", &[("a", "1")]);
    let first = run_git(&path, &["rev-parse", "HEAD"]);
    run_git(&path, &["tag", "light"]);
    run_git(&path, &["tag", "-a", "-m", "x", "heavy"]);
    let heavy = run_git(&path, &["rev-parse", "heavy"]);
    run_git(&path, &["branch", "both"]);
    commit(&path, &[("a", "2")]);
    let second = run_git(&path, &["rev-parse", "HEAD"]);
    run_git(&path, &["tag", "both"]);
    let daemon = world.daemon();
    let address = format!("{daemon}/tool.git");
    let resolved = |rest: &str| {
        let found = world.resolve(&format!("{address}{rest}"));
        let text = match found {
            Ok(found) => format!("{} {:?} {:?}", found.commit, found.reference, found.tag),
            Err(error) => error.to_string(),
        };
        let text = text.replace(&first, "FIRST").replace(&second, "SECOND");
        text.replace(&heavy, "HEAVY").replace(&daemon, "DAEMON")
    };
    let actual = [
        "",
        "#HEAD",
        "#main",
        "#light",
        "#heavy",
        "#both",
        "?tag=both",
        &format!("#{first}"),
        &format!("?checksum={}#light", &first[..5]),
        &format!("?checksum={heavy}#heavy"),
        &format!("?checksum={}#light", &second[..5]),
        &format!("?checksum={second}#{first}"),
        &format!("?fetch-by-commit&checksum={first}#anything"),
        "#none",
        &format!("#{}", &first[..10]),
    ]
    .map(|rest| resolved(rest) + "\n")
    .concat();
    let actual = actual
        .replace(&first[..10], "FIRST10")
        .replace(&second[..5], "SECOND5");
    expect![[r#"
        SECOND Some("refs/heads/main") None
        SECOND Some("refs/heads/main") None
        SECOND Some("refs/heads/main") None
        FIRST Some("refs/tags/light") None
        FIRST Some("refs/tags/heavy") Some("HEAVY")
        FIRST Some("refs/heads/both") None
        SECOND Some("refs/tags/both") None
        FIRST None None
        FIRST Some("refs/tags/light") None
        FIRST Some("refs/tags/heavy") Some("HEAVY")
        `DAEMON/tool.git` is at commit `FIRST` where the checksum `SECOND5` is expected
        `DAEMON/tool.git` is at commit `FIRST` where the checksum `SECOND` is expected
        FIRST Some("refs/heads/anything") None
        `DAEMON/tool.git` has no branch or tag `none` (a commit has to be given with all of its 40 or 64 digits)
        `DAEMON/tool.git` has no branch or tag `FIRST10` (a commit has to be given with all of its 40 or 64 digits)
    "#]].assert_eq(&actual);
    for (rest, content) in [
        ("#heavy", "1"),
        ("", "2"),
        (&format!("#{first}"), "1"),
        (&format!("#{heavy}"), "1"),
    ] {
        world
            .checkout(&format!("{address}{rest}"), &format!("x{rest}"))
            .unwrap();
        let file = world.place(&format!("x{rest}")).join("a");
        assert_eq!(std::fs::read_to_string(file).unwrap(), content);
    }
}

#[test]
fn only_a_folder_of_it() {
    let Some(world) = World::new() else { return };
    world.repository("tool.git", &[&FILES[..], &[("out", "-> sub")]].concat());
    let address = format!("{}/tool.git", world.daemon());
    world
        .checkout(&format!("{address}#main:sub"), "sub")
        .unwrap();
    expect![[r#"
        deep/ 0755
        deep/file 0644 "content"
        link -> ../Dockerfile
    "#]]
    .assert_eq(&world.tree("sub"));
    let problem = |folder: &str| {
        let result = world.checkout(&format!("{address}#main:{folder}"), folder);
        message(result).replace(&address, "ADDRESS") + "\n"
    };
    let problems = ["out", "out/deep", "none", "run.sh"].map(problem).concat();
    expect![[r"
        `out` is not a folder of `ADDRESS` at this commit: a symbolic link is on the way
        `out/deep` is not a folder of `ADDRESS` at this commit: a symbolic link is on the way
        `none` is not a folder of `ADDRESS` at this commit: it does not exist
        `run.sh` is not a folder of `ADDRESS` at this commit: a file is on the way
    "]]
    .assert_eq(&problems);
}

#[test]
fn times_of_the_commit() {
    let Some(world) = World::new() else { return };
    world.repository("tool.git", &FILES);
    let address = format!("{}/tool.git?mtime=commit&keep-git-dir", world.daemon());
    world.checkout(&address, "all").unwrap();
    for name in [
        ".",
        "run.sh",
        "sub",
        "sub/link",
        "sub/deep/file",
        ".git/HEAD",
        ".git/objects",
    ] {
        let metadata = world.place("all").join(name).symlink_metadata().unwrap();
        assert_eq!(
            (metadata.mtime(), metadata.mtime_nsec()),
            (COMMIT_TIME, 0),
            "{name}"
        );
    }
}

#[test]
fn a_git_folder_is_kept_that_works() {
    let Some(world) = World::new() else { return };
    let path = world.repository("tool.git", &FILES);
    run_git(&path, &["tag", "-a", "-m", "x", "v1"]);
    let daemon = world.daemon();
    for (reference, expected) in [("main", "refs/heads/main"), ("v1", "refs/tags/v1")] {
        let address = format!("{daemon}/tool.git?keep-git-dir#{reference}");
        let done = world.checkout(&address, reference).unwrap();
        let place = world.place(reference);
        assert_eq!(run_git(&place, &["status", "--porcelain"]), "");
        assert_eq!(run_git(&place, &["rev-parse", "HEAD"]), done.commit);
        assert_eq!(
            run_git(&place, &["for-each-ref", "--format=%(refname)"]),
            expected
        );
        let object = run_git(&path, &["rev-parse", expected]);
        assert_eq!(run_git(&place, &["rev-parse", expected]), object);
        let origin = run_git(&place, &["remote", "get-url", "origin"]);
        assert_eq!(origin, format!("{daemon}/tool.git"));
        assert_eq!(run_git(&place, &["fsck"]), "");
        assert!(!place.join(".git/hooks").exists());
    }
    let commit = run_git(&path, &["rev-parse", "HEAD"]);
    let address = format!("{daemon}/tool.git?keep-git-dir#{commit}");
    world.checkout(&address, "commit").unwrap();
    assert_eq!(
        run_git(
            &world.place("commit"),
            &["describe", "--always", "--abbrev=40"]
        ),
        commit
    );
}

#[test]
fn submodules_come_along() {
    let Some(world) = World::new() else { return };
    let daemon = world.daemon();
    world.repository("leaf.git", &[("leaf", "l")]);
    let middle = world.repository("middle.git", &[("middle", "m")]);
    let add = |path: &Path, url: &str, name: &str| {
        // The module's own commit is what `served` has under that name.
        let leaf = world.served().join(url.trim_start_matches("../"));
        let hash = run_git(&leaf, &["rev-parse", "HEAD"]);
        let text = format!("[submodule \"{name}\"]\n\tpath = {name}\n\turl = {url}\n");
        std::fs::write(path.join(".gitmodules"), text).unwrap();
        run_git(path, &["add", ".gitmodules"]);
        let entry = format!("160000,{hash},{name}");
        run_git(path, &["update-index", "--add", "--cacheinfo", &entry]);
        run_git(path, &["commit", "-q", "-m", "x"]);
    };
    add(&middle, "../leaf.git", "lib/leaf");
    let root = world.repository("root.git", &[("root", "r")]);
    add(&root, "../middle.git", "middle");
    let address = format!("{daemon}/root.git");
    world.checkout(&address, "all").unwrap();
    expect![[r#"
        .gitmodules 0644 "[submodule \"middle\"]\n\tpath = middle\n\turl = ../middle.git\n"
        middle/ 0755
        middle/.gitmodules 0644 "[submodule \"lib/leaf\"]\n\tpath = lib/leaf\n\turl = ../leaf.git\n"
        middle/lib/ 0755
        middle/lib/leaf/ 0755
        middle/lib/leaf/leaf 0644 "l"
        middle/middle 0644 "m"
        root 0644 "r"
    "#]]
    .assert_eq(&world.tree("all"));
    world
        .checkout(&format!("{address}?submodules=false"), "none")
        .unwrap();
    expect![[r#"
        .gitmodules 0644 "[submodule \"middle\"]\n\tpath = middle\n\turl = ../middle.git\n"
        middle/ 0755
        root 0644 "r"
    "#]]
    .assert_eq(&world.tree("none"));
    world
        .checkout(&format!("{address}?keep-git-dir"), "kept")
        .unwrap();
    let place = world.place("kept/middle/lib/leaf");
    assert_eq!(
        run_git(&place, &["remote", "get-url", "origin"]),
        format!("{daemon}/leaf.git")
    );
    assert_eq!(
        run_git(&world.place("kept"), &["status", "--porcelain"]),
        ""
    );
    world
        .checkout(&format!("{address}#:middle/lib"), "part")
        .unwrap();
    assert_eq!(world.tree("part"), "leaf/ 0755\nleaf/leaf 0644 \"l\"\n");
}

#[test]
fn hostile_submodules_are_refused() {
    let Some(world) = World::new() else { return };
    let daemon = world.daemon();
    for (index, url) in [
        "/etc",
        "file:///etc",
        "ext::sh -c touch% /tmp/x",
        "-x",
        "../../../x",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("r{index}.git");
        let path = world.repository(&name, &[("a", "a")]);
        let hash = run_git(&path, &["rev-parse", "HEAD"]);
        let text = format!("[submodule \"m\"]\n\tpath = m\n\turl = {url}\n");
        std::fs::write(path.join(".gitmodules"), text).unwrap();
        run_git(&path, &["add", ".gitmodules"]);
        run_git(
            &path,
            &[
                "update-index",
                "--add",
                "--cacheinfo",
                &format!("160000,{hash},m"),
            ],
        );
        run_git(&path, &["commit", "-q", "-m", "x"]);
        let result = world.checkout(&format!("{daemon}/{name}"), &name);
        assert!(
            matches!(result, Err(GitError::Submodule { .. })),
            "{url}: {result:?}"
        );
    }
    let path = world.repository("stray.git", &[("a", "a")]);
    let hash = run_git(&path, &["rev-parse", "HEAD"]);
    run_git(
        &path,
        &[
            "update-index",
            "--add",
            "--cacheinfo",
            &format!("160000,{hash},m"),
        ],
    );
    run_git(&path, &["commit", "-q", "-m", "x"]);
    let result = world.checkout(&format!("{daemon}/stray.git"), "stray");
    expect!["submodule `m` of `DAEMON/stray.git` is not in `.gitmodules`: build without submodules by `?submodules=false`"].assert_eq(&message(result).replace(&daemon, "DAEMON"));
}

#[test]
fn what_was_fetched_is_not_fetched_again() {
    let Some(world) = World::new() else { return };
    let path = world.repository("tool.git", &[("a", "1")]);
    let folder = world.served();
    let server = Server::start(move |request| smart(&folder, request));
    let address = server.url("/tool.git");
    let first = world.checkout(&address, "first").unwrap();
    assert!(server.log().iter().any(|line| line.starts_with("POST")));
    world
        .checkout(&format!("{address}#{}", first.commit), "again")
        .unwrap();
    assert_eq!(server.log(), Vec::<String>::new());
    commit(&path, &[("a", "2")]);
    let second = world.checkout(&address, "second").unwrap();
    assert_ne!(second.commit, first.commit);
    assert_eq!(world.tree("second"), "a 0644 \"2\"\n");
    assert_eq!(world.tree("again"), "a 0644 \"1\"\n");
}

#[test]
fn a_server_of_plain_files() {
    let Some(world) = World::new() else { return };
    let path = world.repository("tool", &FILES);
    let old = run_git(&path, &["rev-parse", "HEAD"]);
    commit(&path, &[("a", "2")]);
    run_git(
        &world.served(),
        &["clone", "-q", "--bare", "tool", "tool.git"],
    );
    run_git(&world.served().join("tool.git"), &["update-server-info"]);
    let folder = world.served();
    let server = Server::start(move |request| dumb(&folder, request));
    world.checkout(&server.url("/tool.git"), "all").unwrap();
    assert!(
        world
            .tree("all")
            .starts_with("Dockerfile 0644 \"FROM scratch\\n\"\na 0644 \"2\"\n")
    );
    world
        .checkout(&server.url(&format!("/tool.git#{old}")), "old")
        .unwrap();
    assert!(!world.place("old/a").exists());
}

#[test]
fn an_old_commit_of_a_server_that_serves_only_references() {
    let Some(world) = World::new() else { return };
    let path = world.repository("tool.git", &[("a", "1")]);
    let old = run_git(&path, &["rev-parse", "HEAD"]);
    commit(&path, &[("a", "2")]);
    let folder = world.served();
    // Protocol 0, in which a server refuses what it has not named.
    let server = Server::start(move |request| {
        let mut request = Request {
            method: request.method.clone(),
            target: request.target.clone(),
            headers: request.headers.clone(),
            body: request.body.clone(),
        };
        request.headers.remove("git-protocol");
        smart(&folder, &request)
    });
    world
        .checkout(&server.url(&format!("/tool.git#{old}")), "old")
        .unwrap();
    assert_eq!(world.tree("old"), "a 0644 \"1\"\n");
    let none = "0123456789012345678901234567890123456789";
    let result = world.checkout(&server.url(&format!("/tool.git#{none}")), "none");
    assert!(
        matches!(result, Err(GitError::NoCommit { .. })),
        "{result:?}"
    );
}

/// Whether the text is among the arguments of any process.
fn is_argument(secret: &str) -> bool {
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    let arguments = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    arguments.into_iter().any(|arguments| {
        let arguments = String::from_utf8_lossy(&arguments);
        arguments.contains(secret)
    })
}

#[test]
fn credentials_open_the_door_and_stay_secret() {
    // `x-access-token:t0ken-s3cret` and `me:t0ken-s3cret`.
    const TOKEN: &str = "eC1hY2Nlc3MtdG9rZW46dDBrZW4tczNjcmV0";
    const PASSWORD: &str = "bWU6dDBrZW4tczNjcmV0";
    let Some(mut world) = World::new() else {
        return;
    };
    world.repository("tool.git", &[("a", "1")]);
    let folder = world.served();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&seen);
    let server = Server::start(move |request| {
        let leaked = [TOKEN, PASSWORD, "t0ken-s3cret"]
            .into_iter()
            .any(is_argument);
        // The other arguments can be seen, so these could be.
        assert!(is_argument("/tool.git"));
        let header = request.headers.get("authorization").cloned();
        shared.lock().unwrap().push(format!("{leaked} {header:?}"));
        let is_right = header.is_some_and(|value| {
            value == format!("basic {TOKEN}") || value == format!("basic {PASSWORD}")
        });
        if is_right {
            return smart(&folder, request);
        }
        Answer::new(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], b"")
    });
    let address = server.url("/tool.git");
    let denied = message(world.resolve(&address));
    assert!(
        denied.contains("wants a credential: give it the secret `GIT_AUTH_TOKEN`"),
        "{denied}"
    );
    seen.lock().unwrap().clear();
    let token = |text: &str| Some(GitCredential::Token(Secret::new(text.to_owned())));
    world.auth.credential = token("t0ken-s3cret");
    world
        .checkout(&format!("{address}?keep-git-dir"), "token")
        .unwrap();
    let with_password = address.replace("http://", "http://me:t0ken-s3cret@");
    world.auth.credential = None;
    world
        .checkout(&format!("{with_password}?keep-git-dir"), "password")
        .unwrap();
    let mut seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.sort();
    seen.dedup();
    let right = [PASSWORD, TOKEN].map(|value| format!("false Some(\"basic {value}\")"));
    assert_eq!(seen, right);
    world.auth.credential = token("wr0ng-s3cret");
    let refused = message(world.resolve(&address));
    assert!(refused.contains("refused the credential"), "{refused}");
    assert!(!refused.contains("wr0ng"), "{refused}");
    // Nothing of it is in any file.
    let found = kiln_sys::process::command("grep", world.folder.path())
        .env("PATH", "/usr/bin:/bin")
        .args(["-rlaE", &format!("s3cret|{TOKEN}|{PASSWORD}"), "."])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

#[test]
fn credentials_do_not_follow_a_redirection() {
    let Some(mut world) = World::new() else {
        return;
    };
    world.repository("tool.git", &[("a", "1")]);
    let folder = world.served();
    let other = Server::start(move |request| smart(&folder, request));
    let target = other.host.clone();
    let server = Server::start(move |request| {
        let location = format!("http://{target}{}", request.target);
        Answer::new(301, &[("Location", &location)], b"")
    });
    world.checkout(&server.url("/tool.git"), "public").unwrap();
    other.log();
    let token = Secret::new("t0ken".to_owned());
    world.auth.credential = Some(GitCredential::Token(token));
    let message = message(world.resolve(&server.url("/tool.git")));
    assert!(
        message.contains("give the repository's new address"),
        "{message}"
    );
    assert_eq!(other.log(), Vec::<String>::new());
}

#[test]
fn failures_name_the_repository_and_the_way_out() {
    let Some(world) = World::new() else { return };
    let path = world.served().join("empty.git");
    std::fs::create_dir(&path).unwrap();
    run_git(&path, &["init", "-q"]);
    let daemon = world.daemon();
    let empty = message(world.resolve(&format!("{daemon}/empty.git")));
    assert!(
        empty.ends_with("has no default branch: name the branch, tag or commit after `#`"),
        "{empty}"
    );
    let missing = message(world.resolve(&format!("{daemon}/none.git")));
    assert!(missing.contains("there is no such repository"), "{missing}");
    let nobody = message(world.resolve("http://127.0.0.1:1/t.git"));
    assert!(nobody.contains("the server can't be reached"), "{nobody}");
    let nowhere = message(world.resolve("https://nowhere.invalid/t.git"));
    assert!(
        nowhere.contains("the host's name can't be resolved"),
        "{nowhere}"
    );
}

#[test]
fn a_server_that_says_nothing_is_left_when_cancelled() {
    let Some(world) = World::new() else { return };
    let cancel = CancelToken::new();
    let in_server = cancel.clone();
    let server = Server::start(move |_| {
        in_server.cancel();
        Answer::new(200, &[], b"x").ending(End::Hang(0))
    });
    let git = GitRef::parse(&server.url("/tool.git")).unwrap().unwrap();
    let request = GitRequest {
        git: &git,
        auth: &GitAuth::default(),
        network: &Network::default(),
        cache_dir: &world.cache,
        timeout: Duration::from_hours(1),
    };
    let result = git::resolve(&request, &cancel);
    assert!(matches!(result, Err(GitError::Cancelled(_))), "{result:?}");
}

#[test]
fn hooks_and_filters_of_a_repository_do_not_run() {
    let Some(world) = World::new() else { return };
    world.repository(
        "tool.git",
        &[
            (".gitattributes", "* filter=evil\n"),
            (".gitconfig", "[filter \"evil\"]\n\tsmudge = touch ran\n"),
            ("hooks/post-checkout", "program: touch ran\n"),
        ],
    );
    let address = format!("{}/tool.git", world.daemon());
    world.checkout(&address, "plain").unwrap();
    world
        .checkout(&format!("{address}?keep-git-dir"), "kept")
        .unwrap();
    let tree = world.tree("plain") + &world.tree("kept");
    assert!(!tree.contains("ran 0"), "{tree}");
}

#[test]
fn a_folder_with_files_is_not_overwritten() {
    let Some(world) = World::new() else { return };
    world.repository("tool.git", &[("a", "1")]);
    std::fs::create_dir_all(world.place("x")).unwrap();
    std::fs::write(world.place("x/mine"), "mine").unwrap();
    let result = world.checkout(&format!("{}/tool.git", world.daemon()), "x");
    assert!(matches!(result, Err(GitError::NotEmpty(_))), "{result:?}");
    assert_eq!(world.tree("x"), "mine 0644 \"mine\"\n");
}

#[test]
fn many_at_once_share_a_repository() {
    let Some(world) = World::new() else { return };
    world.repository("tool.git", &FILES);
    let address = format!("{}/tool.git", world.daemon());
    let names = ["a", "b", "c", "d"];
    std::thread::scope(|scope| {
        for name in names {
            let (world, address) = (&world, &address);
            scope.spawn(move || world.checkout(address, name).unwrap());
        }
    });
    for name in names {
        assert_eq!(world.tree(name), world.tree("a"));
    }
}

#[test]
fn what_a_killed_git_left_does_no_harm() {
    let Some(world) = World::new() else { return };
    let path = world.repository("tool.git", &[("a", "1")]);
    let address = format!("{}/tool.git", world.daemon());
    world.checkout(&address, "first").unwrap();
    commit(&path, &[("a", "2")]);
    let commit = run_git(&path, &["rev-parse", "HEAD"]);
    let cached = std::fs::read_dir(&world.cache).unwrap().flatten();
    let is_cached = |path: &Path| path.extension().is_some_and(|end| end == "git");
    let cached = cached
        .map(|entry| entry.path())
        .find(|path| is_cached(path))
        .unwrap();
    let left = [
        "shallow.lock".to_owned(),
        "packed-refs.lock".to_owned(),
        "kiln-index".to_owned(),
        "kiln-index.lock".to_owned(),
        format!("refs/kiln/objects/{commit}.lock"),
        "objects/pack/tmp_pack_x".to_owned(),
    ];
    for name in &left {
        std::fs::write(cached.join(name), "left").unwrap();
    }
    world.checkout(&address, "second").unwrap();
    assert_eq!(world.tree("second"), "a 0644 \"2\"\n");
    for name in &left {
        assert!(!cached.join(name).exists(), "{name}");
    }
}

#[test]
fn hashes_may_be_long() {
    let Some(world) = World::new() else { return };
    let path = world.served().join("tool.git");
    std::fs::create_dir(&path).unwrap();
    run_git(
        &path,
        &["init", "-q", "-b", "main", "--object-format=sha256"],
    );
    commit(&path, &FILES);
    let address = format!("{}/tool.git", world.daemon());
    let done = world.checkout(&address, "files").unwrap();
    assert_eq!(done.commit.len(), 64);
    world
        .checkout(&format!("{address}?keep-git-dir"), "kept")
        .unwrap();
    assert_eq!(
        run_git(&world.place("kept"), &["status", "--porcelain"]),
        ""
    );
    assert_eq!(
        run_git(&world.place("kept"), &["rev-parse", "HEAD"]),
        done.commit
    );
}

#[test]
fn an_empty_commit_has_no_files() {
    let Some(world) = World::new() else { return };
    world.repository("tool.git", &[]);
    let address = format!("{}/tool.git", world.daemon());
    world.checkout(&address, "files").unwrap();
    assert_eq!(world.tree("files"), "");
}

#[test]
fn a_repository_around_the_cache_is_not_asked() {
    let Some(world) = World::new() else { return };
    world.repository("tool.git", &[("a", "1")]);
    let daemon = world.daemon();
    run_git(world.folder.path(), &["init", "-q"]);
    let rewrite = "url.http://127.0.0.1:1/.insteadOf";
    run_git(world.folder.path(), &["config", rewrite, &daemon]);
    world
        .checkout(&format!("{daemon}/tool.git"), "files")
        .unwrap();
    assert_eq!(world.tree("files"), "a 0644 \"1\"\n");
}

#[test]
fn a_proxy_is_asked_but_not_for_this_machine() {
    let Some(world) = World::new() else { return };
    world.repository("tool.git", &[("a", "1")]);
    let folder = world.served();
    // As a proxy it is asked for whole addresses.
    let server = Server::start(move |request| {
        let target = request.target.trim_start_matches("http://inner.example");
        let request = Request {
            method: request.method.clone(),
            target: target.to_owned(),
            headers: request.headers.clone(),
            body: request.body.clone(),
        };
        smart(&folder, &request)
    });
    let resolve = |address: &str, proxy: &str| {
        let git = GitRef::parse(address).unwrap().unwrap();
        let request = GitRequest {
            git: &git,
            auth: &GitAuth::default(),
            network: &Network {
                proxies: vec![("HTTP_PROXY".to_owned(), proxy.to_owned())],
                ca_files: Vec::new(),
            },
            cache_dir: &world.cache,
            timeout: Duration::from_mins(5),
        };
        git::resolve(&request, &CancelToken::new())
    };
    resolve("http://inner.example/tool.git", &server.host).unwrap();
    let log = server.log();
    assert!(
        log[0].starts_with("GET http://inner.example/tool.git/"),
        "{log:?}"
    );
    resolve(&server.url("/tool.git"), "http://127.0.0.1:1").unwrap();
}
