//! What programs need, why they can't start, and what an optimisation took from them.

use expect_test::{Expect, expect};
use kiln_disk::Tree;
use kiln_oci::Platform;
use kiln_rootfs::reach::{Command, Reach, compare, trace, trace_anyway};

use super::rules::{optimised, options};
use super::tree::{Nothing, tree};

/// A command in words: `NAME=value` first, then the program and its arguments; `'` around words
/// with spaces.
fn command(words: &str) -> Command {
    let mut environment = Vec::new();
    let mut arguments: Vec<Vec<u8>> = Vec::new();
    let mut parts = Vec::new();
    for (index, part) in words.split('\'').enumerate() {
        if index % 2 == 1 {
            parts.push(part);
        } else {
            parts.extend(part.split_ascii_whitespace());
        }
    }
    for word in parts {
        match word.split_once('=') {
            Some((name, value)) if arguments.is_empty() => {
                environment.push((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
            }
            _ => arguments.push(word.as_bytes().to_vec()),
        }
    }
    Command {
        arguments,
        environment,
        directory: b"/srv".to_vec(),
        platform: Platform::new("linux", "amd64"),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text + "\n"
}

fn reach_text(reach: &Reach) -> String {
    let mut lines = String::new();
    for fact in &reach.facts {
        let (by, name) = (fact.need.by.escape_ascii(), fact.need.name.escape_ascii());
        let found = fact.found.as_deref().unwrap_or(b"nowhere").escape_ascii();
        let mark = if fact.is_proven { "" } else { " perhaps" };
        lines += &format!("{:?}{mark} [{by}] {name} -> {found}\n", fact.need.kind);
    }
    for note in &reach.notes {
        lines += &format!("note: {note}\n");
    }
    lines
}

#[track_caller]
fn check(words: &str, given: &str, expected: &Expect) {
    let tree = tree(given);
    let text = match trace(&tree, &Nothing, &command(words)) {
        Ok(reach) => reach_text(&reach),
        Err(error) => chain(&error),
    };
    expected.assert_eq(&text);
}

const GLIBC: &str = "
    lib64/ld-linux-x86-64.so.2 0755 elf:soname=ld-linux-x86-64.so.2
    usr/lib/x86_64-linux-gnu/libc.so.6 0644 elf:soname=libc.so.6,needs=ld-linux-x86-64.so.2
    usr/lib/x86_64-linux-gnu/libz.so.1 -> libz.so.1.2.13
    usr/lib/x86_64-linux-gnu/libz.so.1.2.13 0644 elf:soname=libz.so.1,needs=libc.so.6
    usr/bin/sh -> dash
    usr/bin/dash 0755 elf:interpreter=/lib64/ld-linux-x86-64.so.2,needs=libc.so.6
    usr/bin/env 0755 elf:interpreter=/lib64/ld-linux-x86-64.so.2,needs=libc.so.6
    usr/bin/python3 0755 elf:interpreter=/lib64/ld-linux-x86-64.so.2,needs=libz.so.1+libc.so.6
    srv/static 0755 elf:
    bin -> usr/bin
";

fn with_glibc(more: &str) -> String {
    format!("{GLIBC}\n{more}")
}

#[test]
fn libraries_are_found_as_the_loader_does() {
    check(
        "python3 -V",
        GLIBC,
        &expect![[r#"
        Program [] python3 -> usr/bin/python3
        Interpreter [usr/bin/python3] /lib64/ld-linux-x86-64.so.2 -> lib64/ld-linux-x86-64.so.2
        Library [usr/bin/python3] libz.so.1 -> usr/lib/x86_64-linux-gnu/libz.so.1.2.13
        Library [usr/bin/python3] libc.so.6 -> usr/lib/x86_64-linux-gnu/libc.so.6
    "#]],
    );
    check(
        "/srv/static",
        GLIBC,
        &expect![[r#"
        Program [] /srv/static -> srv/static
    "#]],
    );
    let origin = with_glibc(
        "opt/app/bin/app 0755 elf:interpreter=/lib64/ld-linux-x86-64.so.2,needs=liba.so+libd.so,runpath=$ORIGIN/../lib
         usr/bin/app -> ../../opt/app/bin/app
         opt/app/lib/liba.so 0644 elf:needs=libb.so,rpath=${ORIGIN}/deep
         opt/app/lib/deep/libb.so 0644 elf:needs=libe.so
         etc/ld.so.conf 0644 include /etc/ld.so.conf.d/*.conf
         etc/ld.so.conf.d/a.conf 0644 # comment\\n/opt/conf
         opt/conf/libd.so 0644 elf:machine=183
         opt/env/libd.so 0644 elf:
         opt/conf/libe.so 0644 elf:",
    );
    check(
        "LD_LIBRARY_PATH=/opt/env app",
        &origin,
        &expect![[r#"
        Program [] app -> opt/app/bin/app
        Interpreter [opt/app/bin/app] /lib64/ld-linux-x86-64.so.2 -> lib64/ld-linux-x86-64.so.2
        Library [opt/app/bin/app] liba.so -> opt/app/lib/liba.so
        Library [opt/app/bin/app] libd.so -> opt/env/libd.so
        Library [opt/app/lib/liba.so] libb.so -> opt/app/lib/deep/libb.so
        Library [opt/app/lib/deep/libb.so] libe.so -> opt/conf/libe.so
    "#]],
    );
}

#[test]
fn musl_searches_its_own_way() {
    check(
        "/srv/app",
        "lib/ld-musl-x86_64.so.1 0755 elf:
         etc/ld-musl-x86_64.path 0644 /opt/lib\\n/usr/lib
         opt/lib/libx.so 0644 elf:needs=libc.musl-x86_64.so.1+liby.so
         srv/lib/liby.so 0644 elf:
         srv/app 0755 elf:interpreter=/lib/ld-musl-x86_64.so.1,needs=libx.so+libc.musl-x86_64.so.1,rpath=$ORIGIN/lib",
        &expect![[r#"
            Program [] /srv/app -> srv/app
            Interpreter [srv/app] /lib/ld-musl-x86_64.so.1 -> lib/ld-musl-x86_64.so.1
            Library [srv/app] libx.so -> opt/lib/libx.so
            Library [opt/lib/libx.so] liby.so -> srv/lib/liby.so
        "#]],
    );
}

#[test]
fn scripts_are_followed() {
    let given = with_glibc(
        "srv/start.sh 0755 #!/bin/sh -e\\npython3 /srv/app.py &\\nnginx; missing\\nexec \"$@\"
         srv/app.py 0755 #!/usr/bin/env python3\\nprint()
         usr/sbin/nginx 0755 elf:interpreter=/lib64/ld-linux-x86-64.so.2,needs=libgone.so",
    );
    check(
        "./start.sh app.py --flag",
        &given,
        &expect![[r#"
        Program [] ./start.sh -> srv/start.sh
        Argument [] app.py -> srv/app.py
        Interpreter [srv/start.sh] /bin/sh -> usr/bin/dash
        Interpreter [usr/bin/dash] /lib64/ld-linux-x86-64.so.2 -> lib64/ld-linux-x86-64.so.2
        Library [usr/bin/dash] libc.so.6 -> usr/lib/x86_64-linux-gnu/libc.so.6
        ScriptCommand perhaps [srv/start.sh] nginx -> usr/sbin/nginx
        ScriptCommand perhaps [srv/start.sh] python3 -> usr/bin/python3
        Interpreter [usr/bin/python3] /lib64/ld-linux-x86-64.so.2 -> lib64/ld-linux-x86-64.so.2
        Library [usr/bin/python3] libz.so.1 -> usr/lib/x86_64-linux-gnu/libz.so.1.2.13
        Library [usr/bin/python3] libc.so.6 -> usr/lib/x86_64-linux-gnu/libc.so.6
        Interpreter perhaps [usr/sbin/nginx] /lib64/ld-linux-x86-64.so.2 -> lib64/ld-linux-x86-64.so.2
        Library perhaps [usr/sbin/nginx] libgone.so -> nowhere
        Interpreter [srv/app.py] /usr/bin/env -> usr/bin/env
        Interpreter [usr/bin/env] /lib64/ld-linux-x86-64.so.2 -> lib64/ld-linux-x86-64.so.2
        Library [usr/bin/env] libc.so.6 -> usr/lib/x86_64-linux-gnu/libc.so.6
        Interpreter [srv/app.py] python3 -> usr/bin/python3
        note: `/usr/sbin/nginx` can't be run: its library `libgone.so` is not in the image
    "#]],
    );
    check(
        "sh -ec 'nginx && python3 x'",
        &given,
        &expect![[r#"
        Program [] sh -> usr/bin/dash
        ScriptCommand perhaps [usr/bin/dash] nginx -> usr/sbin/nginx
        ScriptCommand perhaps [usr/bin/dash] python3 -> usr/bin/python3
        Interpreter [usr/bin/dash] /lib64/ld-linux-x86-64.so.2 -> lib64/ld-linux-x86-64.so.2
        Library [usr/bin/dash] libc.so.6 -> usr/lib/x86_64-linux-gnu/libc.so.6
        Interpreter perhaps [usr/bin/python3] /lib64/ld-linux-x86-64.so.2 -> lib64/ld-linux-x86-64.so.2
        Library perhaps [usr/bin/python3] libz.so.1 -> usr/lib/x86_64-linux-gnu/libz.so.1.2.13
        Library perhaps [usr/bin/python3] libc.so.6 -> usr/lib/x86_64-linux-gnu/libc.so.6
        Interpreter perhaps [usr/sbin/nginx] /lib64/ld-linux-x86-64.so.2 -> lib64/ld-linux-x86-64.so.2
        Library perhaps [usr/sbin/nginx] libgone.so -> nowhere
        note: `/usr/sbin/nginx` can't be run: its library `libgone.so` is not in the image
    "#]],
    );
}

#[test]
fn a_program_that_cant_start_says_why() {
    let errors = |words: &str, more: &str| {
        let tree = tree(&with_glibc(more));
        chain(&trace(&tree, &Nothing, &command(words)).unwrap_err())
    };
    let ld = "interpreter=/lib64/ld-linux-x86-64.so.2";
    let all = [
        errors("", ""),
        errors("app", ""),
        errors("/srv/app", ""),
        errors("/srv", ""),
        errors("/srv/app", "srv/app 0644 elf:"),
        errors("/srv/app", "srv/app 0755 echo no"),
        errors("/srv/app", "srv/app 0755 \x7fELF"),
        errors("/srv/app", "srv/app 0755 elf:machine=183"),
        errors(
            "/srv/app",
            "srv/app 0755 elf:interpreter=/lib/ld-musl-x86_64.so.1",
        ),
        errors(
            "/srv/app",
            "srv/app 0755 elf:interpreter=/srv/ld\nsrv/ld 0755 text",
        ),
        errors(
            "/srv/app",
            "srv/app 0755 elf:interpreter=/srv/ld\nsrv/ld 0755 elf:machine=40",
        ),
        errors(
            "/srv/app",
            "srv/app 0755 elf:interpreter=/srv/ld\nsrv/ld 0644 elf:",
        ),
        errors(
            "/srv/app",
            "srv/app 0755 elf:interpreter=/srv/ld\nsrv/ld -> ld",
        ),
        errors("/srv/app", &format!("srv/app 0755 elf:{ld},needs=libno.so")),
        errors("/srv/app", "srv/app 0755 #!/usr/bin/ruby"),
        errors("/srv/app", "srv/app 0755 #!/usr/bin/env node"),
        errors("/srv/app", "srv/app 0755 #!/srv/app"),
        errors("/srv/app", "srv/app 0755 #!"),
    ];
    expect![[r#"
        the image has no command; give one
        the image has no program `app`: it is in none of the directories `/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`
        the image's program `/srv/app` can't be found: `/srv/app` does not exist
        `/srv` is not a file and can't be run
        `/srv/app` is not executable: its mode is 0644
        `/srv/app` is neither an ELF program nor a script with `#!`
        `/srv/app` can't be run: the ELF file is cut: its header lies behind its end
        `/srv/app` is a program for arm64, and the image is for amd64
        `/srv/app` can't be run: its interpreter `/lib/ld-musl-x86_64.so.1` is not in the image: `/lib` does not exist
        `/srv/app` can't be run: its interpreter `/srv/ld` is not an ELF file
        `/srv/app` can't be run: its interpreter `/srv/ld` is for machine 40
        `/srv/app` can't be run: its interpreter `/srv/ld` is not executable
        `/srv/app` can't be run: its interpreter `/srv/ld` is not in the image: `/srv/ld` has too many levels of symbolic links
        `/srv/app` can't be run: its library `libno.so` is not in the image
        `/srv/app` can't be run: its interpreter `/usr/bin/ruby` is not in the image: `/usr/bin/ruby` does not exist
        `/srv/app` can't be run: `env` would find no `node` in `PATH`
        `/srv/app` can't be run: its interpreters are scripts themselves, too many of them
        `/srv/app` is neither an ELF program nor a script with `#!`
    "#]]
    .assert_eq(&all.concat());
}

#[track_caller]
fn check_loss(words: &str, rules: &str, given: &str, expected: &Expect) {
    let mut tree: Tree = tree(given);
    let command = command(words);
    let before = trace(&tree, &Nothing, &command).unwrap();
    let report = optimised(&mut tree, &options(rules));
    let after = trace_anyway(&tree, &Nothing, &command);
    let text = match compare(&before, &after, &report) {
        Ok(notes) => format!("starts\n{}", notes.join("\n")),
        Err(losses) => losses.to_string(),
    };
    expected.assert_eq(&text);
}

#[test]
fn an_optimisation_that_breaks_the_program_is_refused() {
    check_loss(
        "python3",
        "documentation",
        GLIBC,
        &expect![[r#"
        starts
    "#]],
    );
    check_loss(
        "python3",
        "-usr/lib/**/libz.*",
        GLIBC,
        &expect![
            "the optimised image would not start: the library `libz.so.1` of `/usr/bin/python3` was removed by the rule `excluded` (it was `/usr/lib/x86_64-linux-gnu/libz.so.1.2.13`)"
        ],
    );
    check_loss(
        "python3",
        "-usr/lib/**/libz.so.1.*",
        GLIBC,
        &expect![
            "the optimised image would not start: the library `libz.so.1` of `/usr/bin/python3` was removed by the rule `excluded` (it was `/usr/lib/x86_64-linux-gnu/libz.so.1.2.13`)"
        ],
    );
    check_loss(
        "python3",
        "-lib64",
        GLIBC,
        &expect![
            "the optimised image would not start: `/lib64/ld-linux-x86-64.so.2`, the interpreter of `/usr/bin/python3`, was removed by the rule `excluded`"
        ],
    );
    check_loss(
        "python3",
        "-usr/bin",
        GLIBC,
        &expect![
            "the optimised image would not start: the command's program `python3` was removed by the rule `excluded` (it was `/usr/bin/python3`)"
        ],
    );
    let script = with_glibc("srv/run 0755 #!/bin/sh\\npython3 x");
    check_loss(
        "./run",
        "-usr/bin/python3",
        &script,
        &expect![[r#"
        starts
        `python3`, which `/srv/run` seems to run, was removed by the rule `excluded` (it was `/usr/bin/python3`)"#]],
    );
    check_loss(
        "./run",
        "-usr/bin/dash",
        &script,
        &expect![
            "the optimised image would not start: `/bin/sh`, the interpreter of `/srv/run`, was removed by the rule `excluded` (it was `/usr/bin/dash`)"
        ],
    );
    let data = with_glibc("tmp/app.py 0644 x");
    check_loss(
        "python3 /tmp/app.py",
        "temporary",
        &data,
        &expect![
            "the optimised image would not start: `/tmp/app.py`, which the command names, was removed by the rule `temporary`"
        ],
    );
    check_loss(
        "python3 /tmp/app.py",
        "temporary +/tmp/app.py",
        &data,
        &expect![[r#"
            starts
        "#]],
    );
}
