//! Rows about what only `ADD` does.

use std::fmt::Write as _;
use std::fs;

use testkit::{Answer, Program};

use super::lab::Lab;
use super::net::{COMMIT_TIME, Repository, Web};
use super::row;

/// `sha256:` of a file's content.
fn digest(content: &[u8]) -> String {
    let sum = Program::new("sha256sum").input(content).run().ok().text();
    format!("sha256:{}", sum.split_whitespace().next().unwrap())
}

/// A server that has a file, an archive, and what only those who are known may have.
fn web(archive: Vec<u8>) -> Web {
    Web::start(move |request| {
        let plain = || Answer::body("text/plain", "downloaded\n");
        match request.path.as_str() {
            "/file" => plain()
                .with_header("Last-Modified: Fri, 14 Jul 2017 02:40:00 GMT")
                .with_header("ETag: \"one\""),
            "/tagged" if request.header("if-none-match") == Some("\"one\"") => {
                Answer::status("304 Not Modified").with_header("ETag: \"one\"")
            }
            "/tagged" => plain().with_header("ETag: \"one\""),
            "/" => plain(),
            "/archive.tar.gz" => Answer::body("application/gzip", archive.clone()),
            "/basic" if request.header("authorization") == Some("Basic abc") => plain(),
            "/bearer" if request.header("authorization") == Some("Bearer the-token") => plain(),
            _ => Answer::status("404 Not Found"),
        }
    })
}

fn archive(lab: &Lab, options: &str) -> Vec<u8> {
    let folder = lab.folder("packed");
    fs::write(folder.join("inside"), "inside\n").unwrap();
    let tar = Program::new("tar").cwd(&folder);
    tar.args([options, "inside"]).run().ok().stdout
}

#[test]
fn add_checksum() {
    row(|lab| {
        let web = web(Vec::new());
        let repository = Repository::get()?;
        let (url, right) = (web.url("/file"), digest(b"downloaded\n"));
        lab.build(&format!("FROM scratch\nADD --checksum={right} {url} /f\n"))
            .ok();
        let wrong = digest(b"other");
        lab.build(&format!("FROM scratch\nADD --checksum={wrong} {url} /f\n"))
            .fails(&[&url, &wrong]);
        lab.build(&format!(
            "FROM scratch\nADD --checksum={right} {url} {url} /f/\n"
        ))
        .fails(&["Dockerfile:2"]);
        let (commit, url) = (repository.commit("v1"), repository.url("app.git#v1"));
        for part in [&commit[..], &commit[..7]] {
            lab.build(&format!("FROM scratch\nADD --checksum={part} {url} /f\n"))
                .ok();
        }
        let other = repository.commit("main");
        lab.build(&format!("FROM scratch\nADD --checksum={other} {url} /f\n"))
            .fails(&[&other]);
        Ok(())
    });
}

#[test]
fn add_keep_git_dir() {
    row(|lab| {
        let url = Repository::get()?.url("app.git");
        lab.build(&format!(
            r#"
            FROM base
            ADD {url} /without
            ADD --keep-git-dir {url} /with
            ADD --keep-git-dir=true {url}#v1 /v1
            ADD --keep-git-dir=false {url} /explicit
            RUN test ! -e /without/.git && test -d /with/.git && test -d /v1/.git && test ! -e /explicit/.git
            RUN test "$(cat /v1/file)" = one
            "#
        ))
        .ok();
        lab.build(&format!(
            "FROM scratch\nADD --keep-git-dir=false {url}?keep-git-dir=true /x\n"
        ))
        .fails(&["Dockerfile:2", "keep-git-dir"]);
        Ok(())
    });
}

#[test]
fn add_unpack() {
    row(|lab| {
        let packed = archive(lab, "-cz");
        lab.file("local.tar.gz", &packed);
        let url = web(packed).url("/archive.tar.gz");
        lab.build(&format!(
            r"
            FROM base
            ADD local.tar.gz /local/
            ADD {url} /url/
            ADD --unpack=false local.tar.gz /kept/
            ADD --unpack {url} /unpacked/
            ADD --unpack=true local.tar.gz /forced/
            RUN test -f /local/inside && test -f /url/archive.tar.gz && test -f /kept/local.tar.gz
            RUN test -f /unpacked/inside && test -f /forced/inside
            "
        ))
        .ok();
        Ok(())
    });
}

#[test]
fn add_http() {
    row(|lab| {
        let web = web(Vec::new());
        let (file, root) = (web.url("/file"), web.url("/"));
        lab.build(&format!(
            r#"
            FROM base
            ADD {file} /named/
            ADD {root} /unnamed/
            ADD --chown=app --chmod=644 {file} /owned
            RUN test "$(cat /named/file)" = downloaded && stat -c '%a %Y' /named/file | grep -x '600 1500000000'
            RUN ls /unnamed | grep -x __unnamed__
            RUN stat -c '%a %u' /owned | grep -x '644 1000'
            "#
        ))
        .ok();
        // A second build asks whether it changed, and is told that it did not.
        let text = format!("FROM base\nADD {} /x\n", web.url("/tagged"));
        lab.build(&text).ok();
        let second = lab.build(&text).arg("--progress=plain").ok();
        assert!(second.stderr.contains("CACHED"), "{second}");
        let last = web.seen().pop().unwrap();
        assert_eq!(last.header("if-none-match"), Some("\"one\""), "{last:?}");

        let header = lab.outside("header", "Basic abc");
        let token = lab.outside("token", "the-token");
        for (path, kind, file) in [("/basic", "HEADER", header), ("/bearer", "TOKEN", token)] {
            let text = format!("FROM scratch\nADD {} /x\n", web.url(path));
            lab.build(&text).fails(&[path, "404"]);
            let secret = format!("id=HTTP_AUTH_{kind}_127.0.0.1,src={}", file.display());
            lab.build(&text).arg("--secret").arg(secret).ok();
        }
        Ok(())
    });
}

#[test]
fn add_git() {
    row(|lab| {
        let repository = Repository::get()?;
        let url = repository.url("app.git");
        let (one, side) = (repository.commit("v1"), repository.commit("side"));
        lab.build(&format!(
            r#"
            FROM base
            ADD {url} /main
            ADD {url}#v1 /tag
            ADD {url}#side /branch
            ADD {url}#{one} /commit
            ADD {url}#v2:dir /subdir
            ADD {url}?ref=v1 /q-ref
            ADD {url}?tag=v2 /q-tag
            ADD {url}?branch=side&subdir=dir /q-branch
            ADD {url}?branch=side&checksum={side} /q-checksum
            ADD {url}?tag=v1&commit={short} /q-commit
            ADD {url}?keep-git-dir=true&ref=v1 /q-keep
            ADD {url}?submodules=false /q-no-sub
            ADD {url}?mtime=commit /q-mtime
            ADD {url}?mtime=checkout /q-checkout
            ADD {url}?commit={one}&fetch-by-commit=true /q-by-commit
            RUN cd / && cat main/file tag/file branch/file commit/file | tr '\n' ' ' | grep -x 'two one side one '
            RUN cd / && cat q-ref/file q-tag/file q-checksum/file q-commit/file q-by-commit/file | tr '\n' ' ' | grep -x 'one two side one one '
            RUN test "$(cat /main/sub/below)" = submodule && test ! -e /q-no-sub/sub/below && test -d /q-keep/.git
            RUN test -f /subdir/inner && test ! -e /subdir/file && test -f /q-branch/inner
            RUN stat -c %a /main/file /main/tool | tr '\n' ' ' | grep -x '644 755 '
            RUN stat -c %Y /q-mtime/file | grep -x {COMMIT_TIME} && test "$(stat -c %Y /q-checkout/file)" -gt {COMMIT_TIME}
            "#,
            short = &one[..8],
        ))
        .ok();
        for (query, part) in [
            ("#absent", "absent"),
            ("?subdir=absent", "absent"),
            ("?colour=red", "colour"),
            ("?mtime=never", "never"),
            (&format!("?tag=v1&checksum={side}"), &side[..]),
        ] {
            let text = format!("FROM scratch\nADD {url}{query} /x\n");
            lab.build(&text).fails(&[part]);
        }
        // Those that need a server of their own are at least seen as what they are.
        for url in ["git@127.0.0.1:app.git", "ssh://git@127.0.0.1:1/app.git"] {
            let text = format!("FROM scratch\nADD {url} /x\n");
            let refused = lab
                .build(&text)
                .arg("--progress=plain")
                .fails(&["127.0.0.1"]);
            assert!(!refused.stderr.contains("no such file"), "{refused}");
        }
        Ok(())
    });
}

#[test]
fn add_local_archive() {
    row(|lab| {
        for (name, options) in [
            ("plain.tar", "-c"),
            ("gzip.bin", "-cz"),
            ("bzip2.tbz", "-cj"),
            ("xz.tar.xz", "-cJ"),
        ] {
            lab.file(name, archive(lab, options));
        }
        let zstd = Program::new("zstd").arg("--stdout");
        let has_zstd = testkit::find_program("zstd").is_ok();
        if has_zstd {
            let packed = zstd.input(archive(lab, "-c")).run().ok().stdout;
            lab.file("zstd.tar.zst", packed);
        }
        lab.file("text.tar.gz", "not an archive\n");
        let mut text = String::from("FROM base\nRUN mkdir /u && touch /u/before\n");
        for entry in fs::read_dir(&lab.context).unwrap() {
            let name = entry.unwrap().file_name().display().to_string();
            if name != "text.tar.gz" {
                let _ = writeln!(text, "ADD {name} /{name}/\nRUN test -f /{name}/inside");
            }
        }
        text += "ADD plain.tar /u/\nRUN test -f /u/before && test -f /u/inside\n";
        text += "ADD text.tar.gz /t/\nRUN test -f /t/text.tar.gz\n";
        text += "COPY plain.tar /c/\nRUN test -f /c/plain.tar\n";
        lab.build(&text).ok();
        Ok(())
    });
}
