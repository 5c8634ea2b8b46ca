//! Rows about `FROM`, contexts, and what stands at the head of a Dockerfile.

use std::fs;

use testkit::{Answer, Program, Registry};

use super::net::{Repository, Web};
use super::row;

#[test]
fn from() {
    row(|lab| {
        let tag = lab.slug();
        let host = Registry::get()?.host();
        let pushed = format!("{host}/{tag}-{}:v1", lab.who().name());
        lab.build("FROM base\nRUN test ! -e /which && echo pushed > /which\n")
            .args(&["--tag", &pushed])
            .ok();
        lab.kiln.ok(&["push", &pushed]);
        let pushed_digest = lab.kiln.ok(&["inspect", &pushed]);
        let inspected: serde_json::Value = serde_json::from_str(&pushed_digest).unwrap();
        let digest = inspected[0]["digest"].as_str().unwrap();
        let repository = pushed.trim_end_matches(":v1");
        lab.kiln.ok(&["tag", "base", &format!("{tag}-image:v1")]);
        lab.build(&format!(
            r#"
            ARG NAME={tag}-image
            ARG VERSION=v0
            FROM --platform=$BUILDPLATFORM $NAME:${{VERSION}} AS First.Stage-1_x
            RUN echo first > /which
            FROM first.stage-1_X AS again
            RUN test "$(cat /which)" = first
            FROM {repository}@{digest} AS again
            RUN test "$(cat /which)" = pushed && echo digest > /which
            FROM Again
            RUN test "$(cat /which)" = digest
            "#
        ))
        .args(&["--build-arg", "VERSION=v1"])
        .ok();
        for (text, part) in [
            ("FROM $EMPTY\n", "Dockerfile:1"),
            ("FROM base AS 1st\n", "1st"),
            ("FROM base AS a\nFROM 0\n", "Dockerfile:2"),
        ] {
            lab.build(text).fails(&[part]);
        }
        Ok(())
    });
}

#[test]
fn from_scratch() {
    row(|lab| {
        let config = lab.build("FROM scratch\nCOPY <<EOF /f\nx\nEOF\n").config();
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        assert_eq!(config["config"]["Env"][0], path, "{config}");
        assert_eq!(config["config"]["WorkingDir"], "/", "{config}");
        lab.build("FROM base AS scratch\n").run();
        Ok(())
    });
}

#[test]
fn base_image_without_layers() {
    row(|lab| {
        let text = "FROM scratch\nENV A=1\nLABEL empty=yes\n";
        lab.build(text).args(&["--tag", "without-layers"]).ok();
        let text = "FROM without-layers\nCOPY <<EOF /file\nx\nEOF\n";
        let config = lab.build(text).config();
        assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 1);
        assert_eq!(config["config"]["Labels"]["empty"], "yes", "{config}");
        Ok(())
    });
}

#[test]
fn dockerignore() {
    row(|lab| {
        lab.tree(
            "
            .dockerignore 0644 # a comment\\n  /logs/  \\n**/*.tmp\\n!keep.tmp\\nsecret\\n!secret/but
            logs/l 0644 x
            a.tmp 0644 x
            deep/er/b.tmp 0644 x
            keep.tmp 0644 x
            secret/key 0644 x
            secret/but 0644 x
            file 0644 x
            other/Dockerfile.x 0644 FROM base\\nCOPY . /c\\nRUN cd /c && test -e file && test ! -e deep && test -e logs
            other/Dockerfile.x.dockerignore 0644 deep
            ",
        );
        let text = r"
            FROM base
            COPY . /c/
            RUN cd /c && find . -type f | sort | tr '\n' ' ' | grep -x './.dockerignore ./file ./keep.tmp ./other/Dockerfile.x ./other/Dockerfile.x.dockerignore ./secret/but '
        ";
        lab.build(text).ok();
        // The file next to the Dockerfile wins.
        let file = lab.context.join("other/Dockerfile.x");
        let context = lab.context.display().to_string();
        let file = file.display().to_string();
        lab.bare().args(&["--file", &file, &context]).ok();
        // A named context has its own.
        lab.build("FROM base\nCOPY --from=named . /n/\nRUN test -e /n/file && test ! -e /n/logs\n")
            .arg(format!("--build-context=named={context}"))
            .ok();
        lab.build("FROM base\nCOPY secret/key /\n")
            .fails(&["secret/key"]);
        Ok(())
    });
}

#[test]
fn dockerfile_lookup() {
    row(|lab| {
        let context = lab.context.display().to_string();
        // A byte order mark in front, and the name in lower case.
        lab.file("dockerfile", "\u{feff}FROM base\nRUN echo lower\n");
        lab.bare().arg(&context).ok();
        lab.file("Dockerfile", "FROM base\nCOPY dockerfile /upper\n");
        let seen = lab.bare().arg(&context).arg("--progress=plain").ok();
        assert!(seen.stderr.contains("/upper"), "{seen}");
        let stdin = "FROM base\nCOPY Dockerfile /from-stdin\n";
        lab.bare().args(&["-f", "-", &context]).input(stdin).ok();
        let web = Web::start(|_| Answer::body("text/plain", "FROM base\nCOPY Dockerfile /web\n"));
        lab.bare().args(&["-f", &web.url("/Df"), &context]).ok();
        let tar = Program::new("tar")
            .cwd(&lab.context)
            .args(["-c", "."])
            .run()
            .ok();
        lab.bare().arg("-").input(tar.stdout).ok();
        lab.bare()
            .args(&["-f", "absent", &context])
            .fails(&["absent"]);
        Ok(())
    });
}

#[test]
fn named_contexts() {
    row(|lab| {
        lab.outside("dir/file", "dir\n");
        let dir = lab.folder("outside/dir").display().to_string();
        lab.build("FROM base\nRUN echo image > /which\n")
            .args(&["--tag", "named-image"])
            .ok();
        let layout = lab.folder("layouts").join("layout");
        let layout = layout.display().to_string();
        lab.build("FROM base\nRUN echo layout > /which\n")
            .args(&["--tag", "in-layout:1"])
            .arg(format!("--output=type=oci,tar=false,dest={layout}"))
            .ok();
        let index = fs::read_to_string(format!("{layout}/index.json")).unwrap();
        let index: serde_json::Value = serde_json::from_str(&index).unwrap();
        let digest = index["manifests"][0]["digest"].as_str().unwrap();
        let git = Repository::get()?.url("app.git#v1");
        let tar = Program::new("tar").cwd(&lab.folder("outside/dir"));
        let tar = tar.args(["-c", "file"]).run().ok().stdout;
        let web = Web::start(move |_| Answer::body("application/x-tar", tar.clone()));
        let text = r#"
            FROM image
            RUN test "$(cat /which)" = image
            FROM debian:bookworm
            RUN test "$(cat /which)" = image
            FROM layout
            RUN test "$(cat /which)" = layout
            FROM base AS stage
            RUN exit 1
            FROM base
            COPY --from=dir file /dir
            COPY --from=git file /git
            COPY --from=web file /web
            COPY --from=stage /which /stage
            COPY --from=only which /only
            RUN cat /dir /git /web /stage | tr '\n' ' ' | grep -x 'dir one dir image '
        "#;
        let text = text.replace("            COPY --from=only which /only\n", "");
        lab.build(&text)
            .arg("--build-context=image=docker-image://named-image")
            .arg("--build-context=docker.io/library/debian:bookworm=docker-image://named-image")
            .arg(format!(
                "--build-context=layout=oci-layout://{layout}@{digest}"
            ))
            .arg(format!("--build-context=dir={dir}"))
            .arg(format!("--build-context=git={git}"))
            .arg(format!("--build-context=web={}", web.url("/a.tar")))
            .arg("--build-context=stage=docker-image://named-image")
            .ok();
        lab.build("FROM image\nRUN test \"$(cat /which)\" = layout\n")
            .arg(format!("--build-context=image=oci-layout://{layout}:1"))
            .ok();
        lab.build("FROM some AS s\nRUN test -e /which\n")
            .arg("--build-context=some::linux/amd64=docker-image://named-image")
            .arg("--build-context=some::linux/s390x=docker-image://absent")
            .args(&["--platform", "linux/amd64"])
            .ok();
        lab.build("FROM base\nCOPY --from=x f /\n")
            .arg("--build-context=x=/absent-folder")
            .fails(&["/absent-folder"]);
        Ok(())
    });
}

#[test]
fn syntax_directive() {
    row(|lab| {
        for head in [
            "# syntax=docker/dockerfile:1\n",
            "# syntax=docker/dockerfile:1.7-labs\n",
            "#!/usr/bin/env kiln\n# syntax=docker/dockerfile:1\n",
        ] {
            lab.build(&format!("{head}FROM base\nRUN true\n")).ok();
        }
        for head in [
            "# syntax=example.org/own/frontend:1\nFROM base\n",
            "// syntax=example.org/own/frontend:1\nFROM base\n",
            "{\"syntax\": \"example.org/own/frontend:1\"}\n",
        ] {
            lab.build(head).fails(&["example.org/own/frontend:1"]);
        }
        lab.build("FROM base\n")
            .args(&["--build-arg", "BUILDKIT_SYNTAX=example.org/own/frontend:2"])
            .fails(&["example.org/own/frontend:2"]);
        lab.differs(
            "the language of `docker/dockerfile` is built in; another frontend is a clear error",
        );
        Ok(())
    });
}

#[test]
fn escape_directive() {
    row(|lab| {
        lab.build("# escape=`\nFROM base\nRUN test 'a\\b' = `\n  'a\\b'\nENV A=`$x\nRUN test \"$A\" = '$x'\n")
            .ok();
        lab.build("# escape=\\\nFROM base\nRUN true \\\n  && true\n")
            .ok();
        lab.build("# escape=x\nFROM base\n").fails(&["escape"]);
        Ok(())
    });
}

#[test]
fn check_directive() {
    row(|lab| {
        let bad = "FROM base as one\nMAINTAINER me\n";
        let check = |head: &str| lab.build(&format!("{head}{bad}")).arg("--check").run();
        let all = check("");
        assert!(!all.success(), "{all}");
        let said = format!("{}{}", all.text(), all.stderr);
        assert!(
            said.contains("FromAsCasing") && said.contains("MaintainerDeprecated"),
            "{all}"
        );
        let one = check("# check=skip=FromAsCasing\n");
        let said = format!("{}{}", one.text(), one.stderr);
        assert!(
            !said.contains("FromAsCasing") && said.contains("MaintainerDeprecated"),
            "{one}"
        );
        let none = check("# check=skip=FromAsCasing,MaintainerDeprecated\n");
        assert!(none.success(), "{none}");
        let none = check("# check=skip=all\n");
        assert!(none.success(), "{none}");
        lab.build(&format!("# check=error=true\n{bad}"))
            .fails(&["FromAsCasing"]);
        lab.build(bad).ok();
        let by_argument = lab.build(bad).arg("--build-arg");
        by_argument
            .arg("BUILDKIT_DOCKERFILE_CHECK=error=true")
            .fails(&["FromAsCasing"]);
        let by_argument = lab.build(bad).args(&["--check", "--build-arg"]);
        by_argument.arg("BUILDKIT_DOCKERFILE_CHECK=skip=all").ok();
        Ok(())
    });
}

#[test]
fn history_strings() {
    row(|lab| {
        let config = lab
            .build(
                "FROM scratch\nARG A=1\nENV E=2\nCOPY <<EOF /f\nx\nEOF\nWORKDIR /w\nCMD [\"c\"]\n",
            )
            .config();
        let history = config["history"].as_array().unwrap();
        let by = |index: usize| history[index]["created_by"].as_str().unwrap();
        assert_eq!(by(0), "ARG A=1", "{config}");
        assert_eq!(by(1), "ENV E=2", "{config}");
        assert_eq!(by(2), "COPY <<EOF /f # buildkit", "{config}");
        assert_eq!(by(3), "WORKDIR /w", "{config}");
        assert_eq!(by(4), "CMD [\"c\"]", "{config}");
        for entry in history {
            assert_eq!(entry["comment"], "buildkit.dockerfile.v0", "{config}");
        }
        let empty = |index: usize| history[index]["empty_layer"] == true;
        assert_eq!([0, 1, 2, 3, 4].map(empty), [true, true, false, false, true]);
        let config = lab.build("FROM base\nARG A=1\nRUN echo $A\n").config();
        let last = config["history"].as_array().unwrap().last().unwrap();
        assert_eq!(
            last["created_by"],
            "RUN |1 A=1 /bin/sh -c echo $A # buildkit"
        );
        Ok(())
    });
}
