//! Rows about `ARG` and what is substituted.

use super::lab::Lab;
use super::row;

#[track_caller]
fn has_cached(lab: &Lab, text: &str, arguments: &[&str], step: &str) -> bool {
    let built = lab.build(text).arg("--progress=plain").args(arguments).ok();
    let mut lines = built.stderr.lines();
    let head = lines.find(|line| line.contains(step));
    let head = head.unwrap_or_else(|| panic!("no {step:?} in: {built}"));
    let number = head.split(' ').next().unwrap();
    built.stderr.contains(&format!("{number} CACHED"))
}

#[test]
fn global_arg_only_in_from() {
    row(|lab| {
        lab.build(
            r#"
            ARG IMAGE=base
            ARG G=global
            FROM --platform=$TARGETPLATFORM $IMAGE
            RUN test -z "$G"
            ARG G
            RUN test "$G" = global
            FROM base
            ARG G=own
            RUN test "$G" = own
            "#,
        )
        .ok();
        let text = "ARG G=global\nFROM base\nARG G\nARG H=$G\nRUN test \"$G$H\" = givengiven\n";
        lab.build(text).args(&["--build-arg", "G=given"]).ok();
        Ok(())
    });
}

#[test]
fn env_beats_arg() {
    row(|lab| {
        lab.build(
            r#"
            FROM base AS parent
            ARG INHERITED=here
            ARG V=arg
            ENV V=env
            RUN test "$V" = env
            FROM parent
            RUN test "$INHERITED" = here && test "$V" = env && test -z "$UNDECLARED"
            COPY <<EOF /f
            [$UNDECLARED]
            EOF
            RUN test "$(cat /f)" = '[]'
            "#,
        )
        .args(&["--build-arg", "V=given"])
        .ok();
        Ok(())
    });
}

#[test]
fn arg_invalidates_the_first_run() {
    row(|lab| {
        let text = "FROM base\nCOPY <<EOF /arg-run\nx\nEOF\nARG V\nWORKDIR /arg-run-dir\nRUN true arg-run\n";
        lab.build(text).args(&["--build-arg", "V=1"]).ok();
        let two = ["--build-arg", "V=2"];
        assert!(has_cached(lab, text, &two, "WORKDIR /arg-run-dir"));
        assert!(!has_cached(
            lab,
            text,
            &["--build-arg", "V=3"],
            "true arg-run"
        ));
        assert!(has_cached(lab, text, &two, "true arg-run"));
        Ok(())
    });
}

#[test]
fn predefined_proxy_arguments() {
    row(|lab| {
        let text = r#"
            FROM base
            RUN test "$HTTP_PROXY$HTTPS_PROXY$FTP_PROXY$NO_PROXY$ALL_PROXY" = 12345 && test "$http_proxy$https_proxy$ftp_proxy$no_proxy$all_proxy" = 12345
        "#;
        for names in [
            [
                "HTTP_PROXY",
                "HTTPS_PROXY",
                "FTP_PROXY",
                "NO_PROXY",
                "ALL_PROXY",
            ],
            [
                "http_proxy",
                "https_proxy",
                "ftp_proxy",
                "no_proxy",
                "all_proxy",
            ],
        ] {
            let mut build = lab.build(text).arg("--no-cache");
            for (value, name) in names.iter().enumerate() {
                build = build.arg(format!("--build-arg={name}={}", value + 1));
            }
            let config = build.config();
            assert!(!config.to_string().contains('|'), "{config}");
            assert!(!config["config"].to_string().contains("PROXY"), "{config}");
        }
        let changed = ["--build-arg", "HTTP_PROXY=changed"];
        assert!(has_cached(lab, text, &changed, "test \"$HTTP_PROXY"));
        Ok(())
    });
}

#[test]
fn automatic_platform_arguments() {
    row(|lab| {
        let text = r#"
            FROM base AS final
            RUN test -z "$TARGETOS$TARGETPLATFORM$TARGETSTAGE"
            ARG TARGETPLATFORM TARGETOS TARGETOSVERSION TARGETARCH TARGETVARIANT
            ARG BUILDPLATFORM BUILDOS BUILDOSVERSION BUILDARCH BUILDVARIANT TARGETSTAGE
            RUN echo "$TARGETPLATFORM,$TARGETOS,$TARGETOSVERSION,$TARGETARCH,$TARGETVARIANT,$TARGETSTAGE" && test "$BUILDPLATFORM" = "$BUILDOS/$BUILDARCH${BUILDVARIANT:+/$BUILDVARIANT}"
        "#;
        let say = |arguments: &[&str]| {
            let build = lab.build(text).arg("--progress=plain").arg("--no-cache");
            build.args(arguments).ok().stderr
        };
        let said = say(&["--platform=linux/amd64"]);
        assert!(said.contains("linux/amd64,linux,,amd64,,final"), "{said}");
        let said = say(&["--platform=linux/amd64", "--target=final"]);
        assert!(said.contains("linux/amd64,linux,,amd64,,final"), "{said}");
        let said = say(&["--build-arg=TARGETARCH=mine"]);
        assert!(said.contains(",linux,,mine,"), "{said}");
        let text = "FROM base\nARG TARGETSTAGE\nRUN test $TARGETSTAGE = default\n";
        lab.build(text).ok();
        // A foreign platform without a RUN needs no emulation.
        let text = "FROM scratch\nARG TARGETARCH TARGETVARIANT\nENV T=$TARGETARCH.$TARGETVARIANT\n";
        let config = lab
            .build(text)
            .args(&["--platform", "linux/arm/v7"])
            .config();
        assert_eq!(config["config"]["Env"][1], "T=arm.v7", "{config}");
        Ok(())
    });
}

#[test]
fn built_in_arguments() {
    row(|lab| {
        let text = "FROM base\nRUN test \"$(hostname)\" = my-host\n";
        lab.build(text)
            .args(&["--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=my-host"])
            .ok();
        let layout = lab.folder("layout");
        let dest = layout.join("multi").display().to_string();
        lab.build("FROM scratch\nENV A=1\n")
            .args(&["--build-arg", "BUILDKIT_MULTI_PLATFORM=1"])
            .arg(format!("--output=type=oci,tar=false,dest={dest}"))
            .ok();
        let index = std::fs::read_to_string(layout.join("multi/index.json")).unwrap();
        assert!(index.contains("image.index"), "{index}");
        let git = super::net::Repository::get()?.url("app.git");
        let keep = lab.build("FROM base\nCOPY . /c\nRUN test -d /c/.git\n");
        keep.args(&["--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"])
            .context(git)
            .ok();
        // The others have rows of their own; none is taken for an argument that nobody uses.
        let plain = lab
            .build("FROM base\nRUN true\n")
            .args(&["--build-arg", "BUILDKIT_BUILD_NAME=some"])
            .args(&["--build-arg", "BUILDKIT_INLINE_CACHE=1"])
            .args(&["--build-arg", "SOURCE_DATE_EPOCH=1"])
            .args(&["--build-arg", "BUILDKIT_SBOM_SCAN_CONTEXT=true"])
            .args(&["--build-arg", "BUILDKIT_SBOM_SCAN_STAGE=true"])
            .ok();
        assert!(!plain.stderr.contains("not consumed"), "{plain}");
        Ok(())
    });
}

#[test]
fn source_date_epoch_forms() {
    row(|lab| {
        let created = |value: &str, more: &[&str], context: Option<String>| {
            let build =
                lab.build("FROM scratch\nARG SOURCE_DATE_EPOCH\nENV E=$SOURCE_DATE_EPOCH\n");
            let build = build.arg(format!("--build-arg=SOURCE_DATE_EPOCH={value}"));
            let build = build.args(more);
            let build = match context {
                Some(context) => build.context(context),
                None => build,
            };
            let config = build.config();
            (
                config["created"].clone(),
                config["config"]["Env"][1].clone(),
            )
        };
        assert_eq!(created("1500000000", &[], None).0, "2017-07-14T02:40:00Z");
        let git = super::net::Repository::get()?;
        let seen = created("context", &[], Some(git.url("app.git")));
        assert_eq!(seen.0, "2017-07-14T02:40:00Z");
        assert_eq!(seen.1, "E=1500000000");
        let named = format!("--build-context=other={}", git.url("app.git"));
        assert_eq!(created("other", &[&named], None).0, "2017-07-14T02:40:00Z");
        lab.build("FROM scratch AS src\nADD file /\nFROM scratch\nENV A=1\n")
            .args(&["--build-arg", "SOURCE_DATE_EPOCH=src"])
            .fails(&["SOURCE_DATE_EPOCH=src"]);
        lab.differs("the name of a stage is not taken; that is a clear error");
        lab.build("FROM scratch\nENV A=1\n")
            .args(&["--build-arg", "SOURCE_DATE_EPOCH=never"])
            .fails(&["never"]);
        Ok(())
    });
}
