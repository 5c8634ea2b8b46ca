//! Rows about commands besides `build` and `bake`.

use testkit::Registry;

use super::row;

#[test]
fn imagetools_create_and_inspect() {
    row(|lab| {
        let host = Registry::get()?.host();
        let name = |tag: &str| format!("{host}/tools-{}:{tag}", lab.who().name());
        for arch in ["amd64", "arm64"] {
            lab.build("FROM scratch\nARG TARGETARCH\nENV A=$TARGETARCH\n")
                .args(&["--push", "--tag", &name(arch), "--platform"])
                .arg(format!("linux/{arch}"))
                .ok();
        }
        let (both, one, two) = (name("both"), name("amd64"), name("arm64"));
        let create = ["imagetools", "create"];
        let run = |more: &[&str]| lab.kiln.ok(&[&create, more].concat());
        let dry = run(&["--dry-run", &one, &two]);
        assert!(dry.contains("arm64"), "{dry}");
        let metadata = lab.folder("out").join("metadata.json");
        let metadata = metadata.display().to_string();
        run(&[
            "-t",
            &both,
            "--annotation",
            "index:k=v",
            "--metadata-file",
            &metadata,
            &one,
        ]);
        run(&["-t", &both, "--append", &two]);
        let raw = lab.kiln.ok(&["imagetools", "inspect", "--raw", &both]);
        assert!(raw.contains("arm64") && raw.contains("amd64"), "{raw}");
        let shown = lab.kiln.ok(&["imagetools", "inspect", &both]);
        assert!(shown.contains("linux/arm64"), "{shown}");
        let json = lab.kiln.ok(&[
            "imagetools",
            "inspect",
            "--format",
            "{{json .Manifest}}",
            &both,
        ]);
        assert!(json.contains("sha256:"), "{json}");
        assert!(std::path::Path::new(&metadata).is_file());
        Ok(())
    });
}

#[test]
fn du() {
    row(|lab| {
        lab.build("FROM base\nRUN touch /du\n").ok();
        assert!(!lab.kiln.ok(&["du"]).is_empty());
        assert!(!lab.kiln.ok(&["du", "--verbose"]).is_empty());
        let json = lab.kiln.run(&["du", "--format", "json"]).ok().text();
        assert!(json.contains('{'), "{json}");
        assert!(!lab.kiln.run(&["du", "--filter", "type=regular"]).success());
        lab.differs("no `--filter`; that is a clear error");
        Ok(())
    });
}

#[test]
fn prune() {
    row(|lab| {
        let kiln = lab.fresh("prune");
        super::lab::make_base(&kiln, "base")?;
        let text = "FROM base\nRUN touch /pruned\n";
        lab.build_by(&kiln, text)
            .args(&["--output", "type=cacheonly"])
            .ok();
        kiln.ok(&["prune", "--force", "--max-used-space", "100GB"]);
        kiln.ok(&["prune", "--all", "--force"]);
        assert_eq!(kiln.ok(&["images", "--quiet"]), "");
        for flag in [
            "--filter=until=1h",
            "--min-free-space=1GB",
            "--reserved-space=1GB",
        ] {
            assert!(!kiln.run(&["prune", flag]).success(), "{flag}");
        }
        lab.differs(
            "no `--filter`, `--min-free-space` and `--reserved-space`; that is a clear error",
        );
        Ok(())
    });
}

#[test]
fn history() {
    row(|lab| {
        let kiln = lab.fresh("history");
        super::lab::make_base(&kiln, "base")?;
        let text = "FROM base\nRUN echo said-in-the-log\n";
        lab.build_by(&kiln, text).ok();
        let ids = kiln.ok(&["history", "ls", "--quiet"]);
        assert_eq!(ids.lines().count(), 2, "{ids}");
        let inspected = kiln.ok(&["history", "inspect", "--format", "json"]);
        assert!(inspected.contains("said-in-the-log"), "{inspected}");
        let logs = kiln.run(&["history", "logs"]).ok();
        let logs = format!("{}{}", logs.text(), logs.stderr);
        assert!(logs.contains("said-in-the-log"), "{logs}");
        let trace = kiln.ok(&["history", "trace"]);
        assert!(trace.contains("said-in-the-log"), "{trace}");
        kiln.ok(&["history", "open"]);
        let exported = kiln.run(&["history", "export"]).ok().stdout;
        let other = lab.fresh("imported");
        let import = other
            .command()
            .args(["history", "import", "-"])
            .input(exported);
        let _ = import.run().ok();
        assert_eq!(other.ok(&["history", "ls", "--quiet"]).lines().count(), 1);
        kiln.ok(&["history", "rm", "--all"]);
        assert_eq!(kiln.ok(&["history", "ls", "--quiet"]), "");
        assert!(!kiln.run(&["history", "inspect", "attachment"]).success());
        lab.differs(
            "no `inspect attachment`: attestations are in the image; `report` is kiln's own",
        );
        Ok(())
    });
}

#[test]
fn builder_instances() {
    row(|lab| {
        for command in ["create", "use", "stop"] {
            let refused = lab.kiln.run(&[command]);
            assert!(!refused.success(), "{refused}");
        }
        lab.missing("create, use, stop and the like manage daemons, and kiln has none");
        Ok(())
    });
}
