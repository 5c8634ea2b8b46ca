//! Rows about `COPY`, and what it has in common with `ADD`.

use super::row;

#[test]
fn copy_and_add_heredoc() {
    row(|lab| {
        lab.build(
            r#"
            FROM base
            ENV V=value
            COPY <<EOF /one
            $V
            EOF
            RUN test "$(cat /one)" = value && stat -c %a /one | grep -x 644
            COPY <<"EOF" /two
            $V
            EOF
            RUN test "$(cat /two)" = '$V'
            COPY <<-EOF /three
            	tab
            EOF
            RUN test "$(cat /three)" = tab
            COPY <<first <<second /many/
            1
            first
            2
            second
            RUN test "$(cat /many/first)$(cat /many/second)" = 12
            ADD --chmod=600 <<EOF /added
            added
            EOF
            RUN test "$(cat /added)" = added && stat -c %a /added | grep -x 600
            "#,
        )
        .ok();
        lab.build("FROM base\nCOPY file <<EOF\ntext\nEOF\n")
            .fails(&["Dockerfile:2"]);
        Ok(())
    });
}

#[test]
fn copy_from() {
    row(|lab| {
        lab.outside("named/n", "named\n");
        let named = lab.folder("outside/named");
        lab.build(
            r#"
            FROM base AS One
            RUN echo one > /file
            FROM base
            COPY --from=one /file /by-name
            COPY --from=0 file /by-index
            COPY --from=base /etc/group /by-image
            COPY --from=named n /by-context
            RUN test "$(cat /by-name /by-index /by-context | tr '\n' ' ')" = 'one one named ' && grep extra /by-image
            "#,
        )
        .arg(format!("--build-context=named={}", named.display()))
        .ok();
        let text = "FROM base AS one\nFROM base\nARG F=one\nCOPY --from=$F /etc/group /\n";
        lab.build(text).fails(&["Dockerfile:4", "$F"]);
        lab.build("FROM base\nCOPY --from=0 /etc/group /\n")
            .fails(&["Dockerfile:2"]);
        Ok(())
    });
}

#[test]
fn chown() {
    row(|lab| {
        lab.tree("file 0644 x\ndir/in 0600 y");
        lab.build(
            r"
            FROM base
            ARG WHO=app
            COPY --chown=app file /a
            COPY --chown=app:extra file /b
            COPY --chown=$WHO dir /c/
            COPY --chown=12:34 file /d
            COPY --chown=12 file /e
            ADD --chown=:extra file /f
            RUN stat -c %u:%g /a /b /c /c/in /d /e /f | tr '\n' ' ' | grep -x '1000:1001 1000:1500 1000:1001 1000:1001 12:34 12:12 0:1500 '
            ",
        )
        .ok();
        lab.build("FROM base\nCOPY --chown=nobody file /\n")
            .fails(&["Dockerfile:2", "nobody"]);
        Ok(())
    });
}

#[test]
fn chmod() {
    row(|lab| {
        lab.tree("file 0640 x\ndir/in 0600 y\ndir/tool 0700 z");
        lab.build(
            r"
            FROM base
            ARG MODE=0444
            COPY --chmod=6755 file /a
            COPY --chmod=$MODE file /b
            COPY --chmod=u=rwX,go=rX dir /c/
            COPY --chmod=+x file /d
            COPY --chmod=g=u file /e
            ADD --chmod=777 file /f
            RUN stat -c %a /a /b /c /c/in /c/tool /d /e /f | tr '\n' ' ' | grep -x '6755 444 755 644 755 751 660 777 '
            ",
        )
        .ok();
        lab.build("FROM base\nCOPY --chmod=10000 file /\n")
            .fails(&["Dockerfile:2", "10000"]);
        lab.build("FROM base\nCOPY --chmod=u~w file /\n")
            .fails(&["Dockerfile:2", "u~w"]);
        Ok(())
    });
}

#[test]
fn link() {
    row(|lab| {
        lab.tree("file 0640 x");
        let text = r"
            FROM base AS TAG
            RUN mkdir /real && ln -s real /via && echo TAG
            COPY --link file /via/file
            COPY --link=true --chown=app file /owned
            COPY --link=false file /plain
            COPY --link --chmod=600 file /moded
        ";
        let check = r"
            RUN test ! -L /via && test -f /via/file && test ! -e /real/file
            RUN stat -c '%a %u' /owned /moded | tr '\n' ' ' | grep -x '640 1000 600 0 '
        ";
        lab.build(&format!("{text}{check}")).ok();
        // The layer of a linked copy does not depend on what is below it.
        let layers = |tag: &str| {
            let image = format!("link-{tag}");
            let build = lab.build(&text.replace("TAG", tag));
            build.args(&["--tag", &image]).ok();
            let config = lab.config_of(&image);
            let layers = config["rootfs"]["diff_ids"].as_array().unwrap().clone();
            layers[layers.len() - 4..].to_vec()
        };
        let (one, other) = (layers("one"), layers("other"));
        assert_eq!(one[0], other[0]);
        // As in BuildKit, `--chmod` turns `--link` off; kiln says so.
        let warned = lab.build(&text.replace("TAG", "one")).ok();
        assert!(warned.stderr.contains("`--link` has no effect"), "{warned}");
        Ok(())
    });
}

#[test]
fn parents() {
    row(|lab| {
        lab.tree("a/b/one.txt 0644 1\na/c/d/two.txt 0644 2\nx/y/z.txt 0644 3\nx/y/z.md 0644 4");
        lab.build(
            r"
            FROM base
            COPY --parents a/b/one.txt x/y/z.txt /p/
            COPY --parents a/./c/d/two.txt /q/
            COPY --parents **/*.txt /r/
            COPY --parents ./x/**/*.md /s/
            RUN cd /p && find . -type f | sort | tr '\n' ' ' | grep -x './a/b/one.txt ./x/y/z.txt '
            RUN cd /q && find . -type f | grep -x ./c/d/two.txt
            RUN cd /r && find . -type f | sort | tr '\n' ' ' | grep -x './a/b/one.txt ./a/c/d/two.txt ./x/y/z.txt '
            RUN cd /s && find . -type f | grep -x ./x/y/z.md
            ",
        )
        .ok();
        lab.build("FROM base\nCOPY --parents a/absent /p/\n")
            .fails(&["Dockerfile:2", "absent"]);
        Ok(())
    });
}

#[test]
fn exclude() {
    row(|lab| {
        lab.tree("d/a.txt 0644 1\nd/b.md 0644 2\nd/deep/c.txt 0644 3\nd/deep/keep.txt 0644 4");
        lab.build(
            r"
            FROM base
            COPY --exclude=*.md --exclude=deep/c.txt d /one/
            COPY --exclude=**/*.txt --exclude=!deep/keep.txt d /two/
            ADD --exclude=deep d /three/
            COPY --parents --exclude=**/*.md d /four/
            COPY --link --exclude=*.txt --chmod=600 d /five/
            RUN cd /one && find . -type f | sort | tr '\n' ' ' | grep -x './a.txt ./deep/keep.txt '
            RUN cd /two && find . -type f | sort | tr '\n' ' ' | grep -x './b.md ./deep/keep.txt '
            RUN cd /three && find . -type f | sort | tr '\n' ' ' | grep -x './a.txt ./b.md '
            RUN cd /four && find . -type f | sort | tr '\n' ' ' | grep -x './d/a.txt ./d/deep/c.txt ./d/deep/keep.txt '
            RUN cd /five && stat -c %a b.md | grep -x 600 && test ! -e a.txt
            ",
        )
        .ok();
        Ok(())
    });
}

#[test]
fn wildcards_of_copy_and_add() {
    row(|lab| {
        lab.tree("a1.txt 0644 1\na2.txt 0644 2\nb.txt 0644 3\n[x].txt 0644 4");
        lab.build(
            r#"
            FROM base
            COPY a?.txt /one/
            COPY [ab]*.txt /two/
            COPY [[]x].txt /three/
            COPY b.txt none* /four/
            ADD *.txt /five/
            RUN ls /one | tr '\n' ' ' | grep -x 'a1.txt a2.txt '
            RUN ls /two | tr '\n' ' ' | grep -x 'a1.txt a2.txt b.txt '
            RUN cat '/three/[x].txt' | grep 4 && test "$(ls /four)" = b.txt && test "$(ls /five | wc -l)" = 4
            "#,
        )
        .ok();
        lab.build("FROM base\nCOPY a1.txt none.txt /d/\n")
            .fails(&["Dockerfile:2", "none.txt"]);
        Ok(())
    });
}

#[test]
fn directories_of_copy_and_add() {
    row(|lab| {
        lab.tree("d/in 0644 1\nd/sub/deep 0644 2\nlink -> d\nfile-link -> d/in\nd/kept -> in");
        lab.build(
            r"
            FROM base
            WORKDIR /w
            COPY d /contents
            COPY d/ relative/
            COPY ../../d/in /clamped
            COPY /d/in /rooted
            COPY link/in /through
            COPY file-link /followed
            RUN test -f /contents/in && test -f /contents/sub/deep && test -L /contents/kept
            RUN test -f /w/relative/in && test -f /clamped && test -f /rooted
            RUN test -f /through && test -f /followed && test ! -L /followed
            ",
        )
        .ok();
        lab.build("FROM base\nCOPY d/in d/sub /no-slash\n")
            .fails(&["Dockerfile:2"]);
        Ok(())
    });
}
