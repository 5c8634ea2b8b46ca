//! Rows about instructions that are neither `RUN`, `COPY`, `ADD` nor `FROM`.

use serde_json::json;

use super::row;

#[test]
fn the_18_instructions() {
    row(|lab| {
        // Names are known in any case.
        let config = lab
            .build(
                r#"
                arg before=1
                from base
                Arg a=1
                maintainer someone@example.org
                env e=1
                label l=1
                copy <<EOF /f
                x
                EOF
                add <<EOF /g
                x
                EOF
                user 0
                workdir /w
                expose 80
                volume /v
                shell ["/bin/sh", "-c"]
                stopsignal 9
                healthcheck none
                onbuild run true
                run true
                cmd ["c"]
                entrypoint ["e"]
                "#,
            )
            .config();
        assert_eq!(config["author"], "someone@example.org", "{config}");
        assert_eq!(config["config"]["OnBuild"], json!(["run true"]), "{config}");
        lab.build("FROM base\nCOPPY a b\n")
            .fails(&["Dockerfile:2", "COPPY", "COPY"]);
        Ok(())
    });
}

#[test]
fn healthcheck() {
    row(|lab| {
        let config = lab
            .build(
                "FROM scratch\nHEALTHCHECK --interval=1m --timeout=2s --start-period=3s \
                 --start-interval=4s --retries=5 CMD [\"probe\", \"x\"]\n",
            )
            .config();
        let second = 1_000_000_000_u64;
        let expected = json!({
            "Test": ["CMD", "probe", "x"],
            "Interval": 60 * second,
            "Timeout": 2 * second,
            "StartPeriod": 3 * second,
            "StartInterval": 4 * second,
            "Retries": 5,
        });
        assert_eq!(config["config"]["Healthcheck"], expected, "{config}");
        let config = lab
            .build("FROM scratch\nHEALTHCHECK CMD probe | x\n")
            .config();
        let test = &config["config"]["Healthcheck"]["Test"];
        assert_eq!(*test, json!(["CMD-SHELL", "probe | x"]), "{config}");
        let config = lab.build("FROM scratch\nHEALTHCHECK NONE\n").config();
        assert_eq!(
            config["config"]["Healthcheck"]["Test"],
            json!(["NONE"]),
            "{config}"
        );
        lab.build("FROM scratch\nHEALTHCHECK --interval=1us CMD x\n")
            .fails(&["Dockerfile:2"]);
        Ok(())
    });
}

#[test]
fn shell() {
    row(|lab| {
        let config = lab
            .build("FROM base\nSHELL [\"/bin/sh\", \"-ec\"]\nRUN test $- = e || echo $-\nCMD x y\n")
            .config();
        assert_eq!(
            config["config"]["Shell"],
            json!(["/bin/sh", "-ec"]),
            "{config}"
        );
        assert_eq!(
            config["config"]["Cmd"],
            json!(["/bin/sh", "-ec", "x y"]),
            "{config}"
        );
        lab.build("FROM base\nSHELL /bin/sh -c\n")
            .fails(&["Dockerfile:2", "SHELL"]);
        Ok(())
    });
}

#[test]
fn stopsignal() {
    row(|lab| {
        for (text, expected) in [
            ("STOPSIGNAL SIGQUIT", "SIGQUIT"),
            ("STOPSIGNAL 9", "9"),
            ("ARG S=SIGUSR1\nSTOPSIGNAL $S", "SIGUSR1"),
            ("STOPSIGNAL RTMIN+3", "RTMIN+3"),
        ] {
            let config = lab.build(&format!("FROM scratch\n{text}\n")).config();
            assert_eq!(config["config"]["StopSignal"], expected, "{config}");
        }
        lab.build("FROM scratch\nSTOPSIGNAL SIGNOTHING\n")
            .fails(&["Dockerfile:2", "SIGNOTHING"]);
        Ok(())
    });
}

#[test]
fn expose() {
    row(|lab| {
        let config = lab
            .build("FROM scratch\nARG P=90\nEXPOSE 80 8000-8002/UDP 7/sctp $P\nEXPOSE 127.0.0.1:81:82\n")
            .config();
        let expected = json!({
            "80/tcp": {}, "8000/udp": {}, "8001/udp": {}, "8002/udp": {}, "7/sctp": {},
            "90/tcp": {}, "82/tcp": {},
        });
        assert_eq!(config["config"]["ExposedPorts"], expected, "{config}");
        lab.build("FROM scratch\nEXPOSE 80/some\n")
            .fails(&["Dockerfile:2", "some"]);
        Ok(())
    });
}

#[test]
fn volume() {
    row(|lab| {
        let config = lab
            .build("FROM base\nVOLUME /a /b\nVOLUME [\"/c d\"]\nRUN mkdir /a && touch /a/kept\nRUN test -e /a/kept\n")
            .config();
        let expected = json!({"/a": {}, "/b": {}, "/c d": {}});
        assert_eq!(config["config"]["Volumes"], expected, "{config}");
        Ok(())
    });
}

#[test]
fn user_and_workdir() {
    row(|lab| {
        let config = lab
            .build(
                r#"
                FROM base
                WORKDIR /one
                WORKDIR two/../three
                RUN test "$(pwd)" = /one/three
                USER app
                WORKDIR /owned/deep
                RUN stat -c '%a %u:%g' /owned /owned/deep | tr '\n' ' ' | grep -x '755 1000:1001 755 1000:1001 '
                RUN test "$(id -u):$(id -g):$(id -G)" = '1000:1001:1001 1500'
                USER app:extra
                RUN test "$(id -u):$(id -g):$(id -G)" = 1000:1500:1500
                USER 7
                RUN test "$(id -u):$(id -g)" = 7:0
                USER 7:8
                RUN test "$(id -u):$(id -g)" = 7:8
                "#,
            )
            .config();
        assert_eq!(config["config"]["User"], "7:8", "{config}");
        assert_eq!(config["config"]["WorkingDir"], "/owned/deep", "{config}");
        let config = lab.build("FROM scratch\nWORKDIR /\n").config();
        assert_eq!(
            config["rootfs"]["diff_ids"].as_array().map_or(0, Vec::len),
            0,
            "{config}"
        );
        let text = "FROM base\nUSER nobody-here\nRUN true\n";
        lab.build(text).fails(&["Dockerfile:3", "nobody-here"]);
        Ok(())
    });
}

#[test]
fn label_and_env() {
    row(|lab| {
        let config = lab
            .build(
                r#"
                FROM scratch
                ENV A=1 B="two words" C=with\ space
                ENV OLD legacy form  here
                ENV A=2 D=$A
                LABEL x=1 y="$D" 'z z'='$D'
                LABEL x=3
                LABEL old legacy value
                "#,
            )
            .config();
        let env = config["config"]["Env"].as_array().unwrap();
        let env: Vec<_> = env[1..]
            .iter()
            .map(|value| value.as_str().unwrap())
            .collect();
        assert_eq!(
            env,
            [
                "A=2",
                "B=two words",
                "C=with space",
                "OLD=legacy form  here",
                "D=1"
            ]
        );
        let labels = json!({"x": "3", "y": "1", "z z": "$D", "old": "legacy value"});
        assert_eq!(config["config"]["Labels"], labels, "{config}");
        lab.build("FROM scratch\nENV A\n").fails(&["Dockerfile:2"]);
        Ok(())
    });
}

#[test]
fn arg() {
    row(|lab| {
        lab.build("FROM base\nARG A=1 B C=\"3 4\"\nRUN test \"$A.$B.$C\" = '1.b.3 4'\n")
            .args(&["--build-arg", "B=b"])
            .ok();
        let other = lab
            .build("FROM base\nRUN true\n")
            .args(&["--build-arg", "UNUSED=1"]);
        other.ok();
        lab.build("FROM base\nARG\n")
            .fails(&["Dockerfile:2", "ARG"]);
        Ok(())
    });
}

#[test]
fn onbuild() {
    row(|lab| {
        let text = r"
            FROM base
            RUN echo from-parent > /which
            ONBUILD ARG V=7
            ONBUILD RUN echo triggered $V > /ran
            ONBUILD COPY --from=onbuild-helper /h /h
            ONBUILD RUN --mount=from=onbuild-helper,target=/m test -e /m/h
            ONBUILD COPY <<EOF /heredoc
            text
            EOF
        ";
        lab.build("FROM base\nRUN echo help > /h\n")
            .args(&["-t", "onbuild-helper"])
            .ok();
        lab.build(text).args(&["-t", "onbuild-parent"]).ok();
        let config = lab
            .build("FROM onbuild-parent\nRUN test \"$(cat /ran)\" = 'triggered 7' && test -e /h && test \"$(cat /heredoc)\" = text\n")
            .config();
        assert!(config["config"]["OnBuild"].is_null(), "{config}");
        // A stage of the same file is a parent, too.
        lab.build("FROM base AS p\nONBUILD RUN touch /by-stage\nFROM p\nRUN test -e /by-stage\n")
            .ok();
        for bad in [
            "ONBUILD FROM x",
            "ONBUILD MAINTAINER x",
            "ONBUILD ONBUILD RUN x",
        ] {
            lab.build(&format!("FROM base\n{bad}\n"))
                .fails(&["Dockerfile:2", "ONBUILD"]);
        }
        Ok(())
    });
}

#[test]
fn cmd_and_entrypoint() {
    row(|lab| {
        let parent = "FROM scratch\nCMD [\"inherited\"]\n";
        lab.build(parent).args(&["-t", "cmd-parent"]).ok();
        let config = lab.build("FROM cmd-parent\nENTRYPOINT [\"e\"]\n").config();
        assert!(config["config"]["Cmd"].is_null(), "{config}");
        let config = lab
            .build("FROM cmd-parent\nCMD own\nENTRYPOINT e\n")
            .config();
        assert_eq!(
            config["config"]["Cmd"],
            json!(["/bin/sh", "-c", "own"]),
            "{config}"
        );
        assert_eq!(
            config["config"]["Entrypoint"],
            json!(["/bin/sh", "-c", "e"]),
            "{config}"
        );
        let config = lab
            .build("FROM scratch\nENTRYPOINT [\"a\"]\nENTRYPOINT []\n")
            .config();
        let entrypoint = &config["config"]["Entrypoint"];
        assert!(entrypoint.as_array().is_none_or(Vec::is_empty), "{config}");
        Ok(())
    });
}
