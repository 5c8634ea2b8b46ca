//! Git addresses, one a line: `text -> remote | ref | subdir | options`, `not git`, or the error.

use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::*;

/// Reads each line and writes what was made of it.
fn check(lines: &str, expected: &Expect) {
    let mut actual = String::new();
    for line in lines.lines() {
        let result = match GitRef::parse(line) {
            Ok(None) => "not git".to_owned(),
            Ok(Some(git)) => describe(&git),
            Err(error) => format!("! {error}"),
        };
        writeln!(actual, "{} -> {result}", line.escape_debug()).unwrap();
    }
    expected.assert_eq(&actual);
}

fn describe(git: &GitRef) -> String {
    let mut options = Vec::new();
    options.extend(git.checksum.as_ref().map(|sum| format!("checksum={sum}")));
    options.extend(git.keep_git_dir.map(|on| format!("keep-git-dir={on}")));
    options.extend(git.submodules.map(|on| format!("submodules={on}")));
    if git.mtime == GitMtime::Commit {
        options.push("mtime=commit".to_owned());
    }
    if git.fetch_by_commit {
        options.push("fetch-by-commit".to_owned());
    }
    if git.is_ambiguous {
        options.push("ambiguous".to_owned());
    }
    if options.is_empty() {
        options.push("-".to_owned());
    }
    format!(
        "{} | {} | {} | {}",
        git.remote.with_credentials(),
        git.reference.as_deref().unwrap_or("-"),
        git.subdir.as_deref().unwrap_or("-"),
        options.join(" ")
    )
}

#[test]
fn what_is_a_repository() {
    check(
        "\
https://example.com/
https://example.com/tool
https://example.com/tool.git
HTTPS://Example.com/tool.git
https://example.com/tool.git/
https://example.com/tool.git.tar
https://example.com/tool.tar.gz?x=.git
https://example.com/tool.tar.gz#a.git
https://example.com:8443/group/tool.git
https://[2001:db8::1]:8443/tool.git
http://example.com/tool.git
http://example.com/tool.git:#branch
git://example.com/tool
git://example.com:9418/tool.git#v1
ssh://git@example.com/tool
ssh://git@example.com:2222/~me/tool.git#main:sub
ssh://me%40corp.example@example.com/tool.git
git@example.com:group/tool.git
git@example.com:group/tool
deploy-user@git.example.com:/srv/tool.git#main
github.com/group/tool
github.com/group/tool#main:docs
github.com
github.com.example/tool.git
gitlab.com/group/tool.git
ftp://example.com/tool.git
file:///srv/tool.git
ext::sh -c true.git
docker-image://alpine
oci-layout://a@sha256:b
./tool.git
../tool.git
.git
/srv/tool.git
tool.git
user name@example.com:tool
git@exa_mple.com:tool",
        &expect![[r"
            https://example.com/ -> not git
            https://example.com/tool -> not git
            https://example.com/tool.git -> https://example.com/tool.git | - | - | -
            HTTPS://Example.com/tool.git -> https://Example.com/tool.git | - | - | -
            https://example.com/tool.git/ -> not git
            https://example.com/tool.git.tar -> not git
            https://example.com/tool.tar.gz?x=.git -> not git
            https://example.com/tool.tar.gz#a.git -> not git
            https://example.com:8443/group/tool.git -> https://example.com:8443/group/tool.git | - | - | -
            https://[2001:db8::1]:8443/tool.git -> https://[2001:db8::1]:8443/tool.git | - | - | -
            http://example.com/tool.git -> http://example.com/tool.git | - | - | -
            http://example.com/tool.git:#branch -> not git
            git://example.com/tool -> git://example.com/tool | - | - | -
            git://example.com:9418/tool.git#v1 -> git://example.com:9418/tool.git | v1 | - | -
            ssh://git@example.com/tool -> ssh://git@example.com/tool | - | - | -
            ssh://git@example.com:2222/~me/tool.git#main:sub -> ssh://git@example.com:2222/~me/tool.git | main | sub | -
            ssh://me%40corp.example@example.com/tool.git -> ssh://me%40corp.example@example.com/tool.git | - | - | -
            git@example.com:group/tool.git -> git@example.com:group/tool.git | - | - | -
            git@example.com:group/tool -> git@example.com:group/tool | - | - | -
            deploy-user@git.example.com:/srv/tool.git#main -> deploy-user@git.example.com:/srv/tool.git | main | - | -
            github.com/group/tool -> https://github.com/group/tool | - | - | ambiguous
            github.com/group/tool#main:docs -> https://github.com/group/tool | main | docs | ambiguous
            github.com -> not git
            github.com.example/tool.git -> not git
            gitlab.com/group/tool.git -> not git
            ftp://example.com/tool.git -> not git
            file:///srv/tool.git -> not git
            ext::sh -c true.git -> not git
            docker-image://alpine -> not git
            oci-layout://a@sha256:b -> not git
            ./tool.git -> not git
            ../tool.git -> not git
            .git -> not git
            /srv/tool.git -> not git
            tool.git -> not git
            user name@example.com:tool -> not git
            git@exa_mple.com:tool -> not git
        "]],
    );
}

#[test]
fn fragments() {
    check(
        "\
https://example.com/t.git#
https://example.com/t.git#main
https://example.com/t.git#release/1.2
https://example.com/t.git#release/1.2:a/b
https://example.com/t.git#:a/b
https://example.com/t.git#main:
https://example.com/t.git#main:/a//b/./c/
https://example.com/t.git#main:../../etc
https://example.com/t.git#main:a/../../b
https://example.com/t.git#main:..
https://example.com/t.git#refs/tags/v1:a:b
https://example.com/t.git#feature%2Fx:a%20b
https://example.com/t.git#0123456789abcdef0123456789abcdef01234567
https://example.com/t.git#pull/12/head
git@example.com:t.git#main%20x:a%20b
git@example.com:t.git#main?ref=x",
        &expect![[r"
            https://example.com/t.git# -> https://example.com/t.git | - | - | -
            https://example.com/t.git#main -> https://example.com/t.git | main | - | -
            https://example.com/t.git#release/1.2 -> https://example.com/t.git | release/1.2 | - | -
            https://example.com/t.git#release/1.2:a/b -> https://example.com/t.git | release/1.2 | a/b | -
            https://example.com/t.git#:a/b -> https://example.com/t.git | - | a/b | -
            https://example.com/t.git#main: -> https://example.com/t.git | main | - | -
            https://example.com/t.git#main:/a//b/./c/ -> https://example.com/t.git | main | a/b/c | -
            https://example.com/t.git#main:../../etc -> https://example.com/t.git | main | etc | -
            https://example.com/t.git#main:a/../../b -> https://example.com/t.git | main | b | -
            https://example.com/t.git#main:.. -> https://example.com/t.git | main | - | -
            https://example.com/t.git#refs/tags/v1:a:b -> https://example.com/t.git | refs/tags/v1 | a:b | -
            https://example.com/t.git#feature%2Fx:a%20b -> https://example.com/t.git | feature/x | a b | -
            https://example.com/t.git#0123456789abcdef0123456789abcdef01234567 -> https://example.com/t.git | 0123456789abcdef0123456789abcdef01234567 | - | -
            https://example.com/t.git#pull/12/head -> https://example.com/t.git | pull/12/head | - | -
            git@example.com:t.git#main%20x:a%20b -> git@example.com:t.git | main%20x | a%20b | -
            git@example.com:t.git#main?ref=x -> ! `main?ref=x` can't be the name of a git branch, tag or commit
        "]],
    );
}

#[test]
fn options() {
    check(
        "\
https://example.com/t.git?
https://example.com/t.git?ref=v1&subdir=/a
https://example.com/t.git?subdir=a/../b#v1
https://example.com/t.git?tag=v1
https://example.com/t.git?tag=refs/tags/v1#refs/tags/v1
https://example.com/t.git?branch=rel%2F1
https://example.com/t.git?branch=refs/heads/x
https://example.com/t.git?ref=main#main:sub
https://example.com/t.git?subdir=/sub/#main:sub
https://example.com/t.git?checksum=DEADbeef
https://example.com/t.git?commit=deadbeef
https://example.com/t.git?commit=deadbeef&checksum=deadbeef
https://example.com/t.git?keep-git-dir
https://example.com/t.git?keep-git-dir=0
https://example.com/t.git?keep-git-dir=T&submodules=False
https://example.com/t.git?submodules&&
https://example.com/t.git?mtime=commit
https://example.com/t.git?mtime=checkout
https://example.com/t.git?fetch-by-commit=true&checksum=deadbeef#refs/heads/b
https://example.com/t.git?fetch-by-commit=false
github.com/group/tool?tag=v1
git@example.com:t.git?subdir=/a#v1
git://example.com/t?branch=x
ssh://example.com/t?commit=abc#main",
        &expect![[r"
            https://example.com/t.git? -> https://example.com/t.git | - | - | -
            https://example.com/t.git?ref=v1&subdir=/a -> https://example.com/t.git | v1 | a | -
            https://example.com/t.git?subdir=a/../b#v1 -> https://example.com/t.git | v1 | b | -
            https://example.com/t.git?tag=v1 -> https://example.com/t.git | refs/tags/v1 | - | -
            https://example.com/t.git?tag=refs/tags/v1#refs/tags/v1 -> https://example.com/t.git | refs/tags/v1 | - | -
            https://example.com/t.git?branch=rel%2F1 -> https://example.com/t.git | refs/heads/rel/1 | - | -
            https://example.com/t.git?branch=refs/heads/x -> https://example.com/t.git | refs/heads/x | - | -
            https://example.com/t.git?ref=main#main:sub -> https://example.com/t.git | main | sub | -
            https://example.com/t.git?subdir=/sub/#main:sub -> https://example.com/t.git | main | sub | -
            https://example.com/t.git?checksum=DEADbeef -> https://example.com/t.git | - | - | checksum=deadbeef
            https://example.com/t.git?commit=deadbeef -> https://example.com/t.git | - | - | checksum=deadbeef
            https://example.com/t.git?commit=deadbeef&checksum=deadbeef -> https://example.com/t.git | - | - | checksum=deadbeef
            https://example.com/t.git?keep-git-dir -> https://example.com/t.git | - | - | keep-git-dir=true
            https://example.com/t.git?keep-git-dir=0 -> https://example.com/t.git | - | - | keep-git-dir=false
            https://example.com/t.git?keep-git-dir=T&submodules=False -> https://example.com/t.git | - | - | keep-git-dir=true submodules=false
            https://example.com/t.git?submodules&& -> https://example.com/t.git | - | - | submodules=true
            https://example.com/t.git?mtime=commit -> https://example.com/t.git | - | - | mtime=commit
            https://example.com/t.git?mtime=checkout -> https://example.com/t.git | - | - | -
            https://example.com/t.git?fetch-by-commit=true&checksum=deadbeef#refs/heads/b -> https://example.com/t.git | refs/heads/b | - | checksum=deadbeef fetch-by-commit
            https://example.com/t.git?fetch-by-commit=false -> https://example.com/t.git | - | - | -
            github.com/group/tool?tag=v1 -> https://github.com/group/tool | refs/tags/v1 | - | ambiguous
            git@example.com:t.git?subdir=/a#v1 -> git@example.com:t.git | v1 | a | -
            git://example.com/t?branch=x -> git://example.com/t | refs/heads/x | - | -
            ssh://example.com/t?commit=abc#main -> ssh://example.com/t | main | - | checksum=abc
        "]],
    );
}

#[test]
fn options_that_are_refused() {
    check(
        "\
https://example.com/t.git?ref=v1#v2
https://example.com/t.git?ref=v1&tag=v2
https://example.com/t.git?tag=v1#v1
https://example.com/t.git?tag=v1&branch=v1
https://example.com/t.git?subdir=a#main:b
https://example.com/t.git?checksum=ab&commit=cd
https://example.com/t.git?ref=a&ref=a
https://example.com/t.git?ref
https://example.com/t.git?subdir=
https://example.com/t.git?mtime
https://example.com/t.git?mtime=now
https://example.com/t.git?keep-git-dir=yes
https://example.com/t.git?submodules=2
https://example.com/t.git?fetch-by-commit=x
https://example.com/t.git?checksum=xyz
https://example.com/t.git?depth=1
https://example.com/t.git?Ref=a
https://example.com/t.git?ref=%zz
https://example.com/t.git?ref=a;tag=b",
        &expect![[r"
            https://example.com/t.git?ref=v1#v2 -> ! the git address asks for both ref `v2` and `v1`: leave one out
            https://example.com/t.git?ref=v1&tag=v2 -> ! the git address asks for both ref `v1` and `refs/tags/v2`: leave one out
            https://example.com/t.git?tag=v1#v1 -> ! the git address asks for both ref `v1` and `refs/tags/v1`: leave one out
            https://example.com/t.git?tag=v1&branch=v1 -> ! the git address asks for both ref `refs/tags/v1` and `refs/heads/v1`: leave one out
            https://example.com/t.git?subdir=a#main:b -> ! the git address asks for both subdir `b` and `a`: leave one out
            https://example.com/t.git?checksum=ab&commit=cd -> ! the git address asks for both checksum `ab` and `cd`: leave one out
            https://example.com/t.git?ref=a&ref=a -> ! option `ref` of a git address is given more than once
            https://example.com/t.git?ref -> ! option `ref` of a git address needs a value
            https://example.com/t.git?subdir= -> ! option `subdir` of a git address needs a value
            https://example.com/t.git?mtime -> ! option `mtime` of a git address needs a value
            https://example.com/t.git?mtime=now -> ! `now` is not a value of the git address's option `mtime`: it is `checkout` or `commit`
            https://example.com/t.git?keep-git-dir=yes -> ! `yes` is not a value of the git address's option `keep-git-dir`: it is `true` or `false`
            https://example.com/t.git?submodules=2 -> ! `2` is not a value of the git address's option `submodules`: it is `true` or `false`
            https://example.com/t.git?fetch-by-commit=x -> ! `x` is not a value of the git address's option `fetch-by-commit`: it is `true` or `false`
            https://example.com/t.git?checksum=xyz -> ! `xyz` is not a value of the git address's option `checksum`: it is a commit's hash or its beginning, in hexadecimal digits
            https://example.com/t.git?depth=1 -> ! unknown option `depth` of a git address: known are `ref`, `tag`, `branch`, `subdir`, `checksum`, `commit`, `keep-git-dir`, `submodules`, `mtime` and `fetch-by-commit`
            https://example.com/t.git?Ref=a -> ! unknown option `Ref` of a git address: known are `ref`, `tag`, `branch`, `subdir`, `checksum`, `commit`, `keep-git-dir`, `submodules`, `mtime` and `fetch-by-commit`
            https://example.com/t.git?ref=%zz -> ! `%zz` in the git address's query is not percent-encoded text
            https://example.com/t.git?ref=a;tag=b -> ! `ref=a;tag=b` in the git address's query is not percent-encoded text
        "]],
    );
}

#[test]
fn names_and_addresses_that_are_refused() {
    check(
        "\
https://example.com/t.git#100%
https://example.com/t.git#-upload-pack=x
https://example.com/t.git#a..b
https://example.com/t.git#HEAD^
https://example.com/t.git#main~1
https://example.com/t.git#v*
https://example.com/t.git?ref=a:b
https://example.com/t.git#a b
https://example.com/t.git#a@{1}
https:///t.git
https://user:pass word@example.com/t.git
https://user:secret@example.com:port/t.git
https://user:se/cret@example.com/t.git
https://a:b:80/t.git
ssh://-oProxyCommand=x/t
-x@example.com:t
x@-example.com:t
https://exa mple.com/t.git
https://[::1/t.git",
        &expect![[r"
            https://example.com/t.git#100% -> ! `https://example.com/t.git` is not a valid git address: its fragment is not percent-encoded text
            https://example.com/t.git#-upload-pack=x -> ! `-upload-pack=x` can't be the name of a git branch, tag or commit
            https://example.com/t.git#a..b -> ! `a..b` can't be the name of a git branch, tag or commit
            https://example.com/t.git#HEAD^ -> ! `HEAD^` can't be the name of a git branch, tag or commit
            https://example.com/t.git#main~1 -> ! `main~1` can't be the name of a git branch, tag or commit
            https://example.com/t.git#v* -> ! `v*` can't be the name of a git branch, tag or commit
            https://example.com/t.git?ref=a:b -> ! `a:b` can't be the name of a git branch, tag or commit
            https://example.com/t.git#a b -> ! `a b` can't be the name of a git branch, tag or commit
            https://example.com/t.git#a@{1} -> ! `a@{1}` can't be the name of a git branch, tag or commit
            https:///t.git -> ! `https:///t.git` is not a valid git address: it has no host
            https://user:pass word@example.com/t.git -> ! `https://example.com/t.git` is not a valid git address: its user or password is not percent-encoded text
            https://user:secret@example.com:port/t.git -> ! `https://example.com:port/t.git` is not a valid git address: its port is not a number
            https://user:se/cret@example.com/t.git -> ! `https://example.com/t.git` is not a valid git address: its port is not a number
            https://a:b:80/t.git -> ! `https://a:b:80/t.git` is not a valid git address: its host has a character that no host has
            ssh://-oProxyCommand=x/t -> ! `ssh://-oProxyCommand=x/t` is not a valid git address: its host begins with `-`
            -x@example.com:t -> ! `-x@example.com:t` is not a valid git address: it has a control character, or a user or host that begins with `-`
            x@-example.com:t -> ! `x@-example.com:t` is not a valid git address: it has a control character, or a user or host that begins with `-`
            https://exa mple.com/t.git -> ! `https://exa mple.com/t.git` is not a valid git address: its host has a character that no host has
            https://[::1/t.git -> ! `https://[::1/t.git` is not a valid git address: `]` is missing after its host
        "]],
    );
}

#[test]
fn credentials_are_not_printed() {
    let shown = |text: &str| {
        let git = GitRef::parse(text).unwrap().unwrap();
        let debug = format!("{git:?}");
        assert!(!debug.contains("s3cret"), "{debug}");
        format!(
            "{git} | {} | {}\n",
            git.remote.without_credentials(),
            git.remote.with_credentials()
        )
    };
    let actual = [
        "https://me:s3cret@example.com/t.git#main:a",
        "https://s3cret@example.com/t.git",
        "https://:s3cret@example.com/t.git",
        "https://me:s3cret%40x@example.com/t.git?ref=x",
        "ssh://me:s3cret@example.com/t",
        "git@example.com:t.git#:b",
    ]
    .map(shown)
    .concat();
    expect![[r"
        https://xxxxx:xxxxx@example.com/t.git#main:a | https://example.com/t.git | https://me:s3cret@example.com/t.git
        https://xxxxx@example.com/t.git | https://example.com/t.git | https://s3cret@example.com/t.git
        https://xxxxx:xxxxx@example.com/t.git | https://example.com/t.git | https://:s3cret@example.com/t.git
        https://xxxxx:xxxxx@example.com/t.git#x | https://example.com/t.git | https://me:s3cret%40x@example.com/t.git
        ssh://me:xxxxx@example.com/t | ssh://me@example.com/t | ssh://me:s3cret@example.com/t
        git@example.com:t.git#:b | git@example.com:t.git | git@example.com:t.git
    "]].assert_eq(&actual);
}

#[test]
fn parts_of_an_address() {
    let parts = |text: &str| {
        let remote = GitRef::parse(text).unwrap().unwrap().remote;
        let host = remote.host().to_owned();
        format!(
            "{host} | {} | {} | {:?}\n",
            remote.host_and_port(),
            remote.short_name(),
            remote.scheme()
        )
    };
    let actual = [
        "https://example.com:8443/group/tool.git",
        "https://[::1]:8443/tool.git",
        "https://[::1]/tool.git",
        "git@example.com:tool",
        "github.com/group/tool.git.git",
    ]
    .map(parts)
    .concat();
    expect![[r"
        example.com | example.com:8443 | tool | Https
        [::1] | [::1]:8443 | tool | Https
        [::1] | [::1] | tool | Https
        example.com | example.com | tool | Ssh
        github.com | github.com | tool.git | Https
    "]]
    .assert_eq(&actual);
}

#[test]
fn commits_are_whole_hashes() {
    assert!(is_commit(&"a".repeat(40)) && is_commit(&"0".repeat(64)));
    assert!(!is_commit(&"a".repeat(39)) && !is_commit(&"A".repeat(40)));
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "(https://|git@|ssh://|github.com/)?[ -~é\\n]{0,40}") {
        if let Ok(Some(git)) = GitRef::parse(&text) {
            // What git is given means the same when it is read again.
            let remote = git.remote.with_credentials();
            let again = GitRemote::parse(&remote).unwrap().unwrap();
            assert_eq!(again.with_credentials(), remote);
        }
    }
}
