//! Rows about checks: each finds what it is for, and is silent about the text as it should be.

use super::lab::Lab;
use super::row;

/// The check finds the first text and not the second; both by `build --check` and by `lint`.
#[track_caller]
fn check(lab: &Lab, name: &str, bad: &str, good: &str) {
    lab.tree(".dockerignore 0644 ignored\nignored 0644 x\nseen 0644 x");
    let found = |text: &str| {
        let checked = lab.build(text).arg("--check").run();
        format!("{}{}", checked.text(), checked.stderr)
    };
    let said = found(bad);
    assert!(said.contains(name), "no {name} in: {said}");
    let said = found(good);
    assert!(!said.contains(&format!("{name}:")), "{name} in: {said}");
    let file = lab.outside("linted/Dockerfile", bad).display().to_string();
    let json = lab.kiln.run(&["lint", "--format=json", &file]);
    if name != "CopyIgnoredFile" {
        assert!(json.text().contains(name), "{json}");
    }
}

#[test]
fn stagenamecasing() {
    row(|lab| {
        let bad = "FROM base AS One\n";
        let good = "FROM base AS one\n";
        check(lab, "StageNameCasing", bad, good);
        Ok(())
    });
}

#[test]
fn fromascasing() {
    row(|lab| {
        let bad = "FROM base as one\n";
        let good = "FROM base AS one\n";
        check(lab, "FromAsCasing", bad, good);
        Ok(())
    });
}

#[test]
fn noemptycontinuation() {
    row(|lab| {
        let bad = "FROM base\nRUN true \\\n\n  && true\n";
        let good = "FROM base\nRUN true \\\n  && true\n";
        check(lab, "NoEmptyContinuation", bad, good);
        Ok(())
    });
}

#[test]
fn consistentinstructioncasing() {
    row(|lab| {
        let bad = "FROM base\nrun true\nRUN true\n";
        let good = "FROM base\nRUN true\n";
        check(lab, "ConsistentInstructionCasing", bad, good);
        Ok(())
    });
}

#[test]
fn duplicatestagename() {
    row(|lab| {
        let bad = "FROM base AS a\nFROM base AS a\n";
        let good = "FROM base AS a\nFROM base AS b\n";
        check(lab, "DuplicateStageName", bad, good);
        Ok(())
    });
}

#[test]
fn reservedstagename() {
    row(|lab| {
        let bad = "FROM base AS scratch\n";
        let good = "FROM base AS other\n";
        check(lab, "ReservedStageName", bad, good);
        Ok(())
    });
}

#[test]
fn jsonargsrecommended() {
    row(|lab| {
        let bad = "FROM base\nCMD sleep 1\n";
        let good = "FROM base\nCMD [\"sleep\", \"1\"]\n";
        check(lab, "JSONArgsRecommended", bad, good);
        Ok(())
    });
}

#[test]
fn maintainerdeprecated() {
    row(|lab| {
        let bad = "FROM base\nMAINTAINER me\n";
        let good = "FROM base\nLABEL org.opencontainers.image.authors=me\n";
        check(lab, "MaintainerDeprecated", bad, good);
        Ok(())
    });
}

#[test]
fn undefinedarginfrom() {
    row(|lab| {
        let bad = "FROM base:$VERSOIN\n";
        let good = "ARG VERSION=latest\nFROM base:$VERSION\n";
        check(lab, "UndefinedArgInFrom", bad, good);
        Ok(())
    });
}

#[test]
fn workdirrelativepath() {
    row(|lab| {
        let bad = "FROM scratch\nWORKDIR app\n";
        let good = "FROM scratch\nWORKDIR /app\n";
        check(lab, "WorkdirRelativePath", bad, good);
        Ok(())
    });
}

#[test]
fn undefinedvar() {
    row(|lab| {
        let bad = "FROM scratch\nARG NAME=1\nENV A=$NAMME\n";
        let good = "FROM base\nARG NAME=1\nENV A=$NAME\n";
        check(lab, "UndefinedVar", bad, good);
        Ok(())
    });
}

#[test]
fn multipleinstructionsdisallowed() {
    row(|lab| {
        let bad = "FROM base\nCMD [\"a\"]\nCMD [\"b\"]\n";
        let good = "FROM base\nCMD [\"a\"]\n";
        check(lab, "MultipleInstructionsDisallowed", bad, good);
        Ok(())
    });
}

#[test]
fn legacykeyvalueformat() {
    row(|lab| {
        let bad = "FROM base\nENV A b\n";
        let good = "FROM base\nENV A=b\n";
        check(lab, "LegacyKeyValueFormat", bad, good);
        Ok(())
    });
}

#[test]
fn invalidbaseimageplatform() {
    row(|lab| {
        let host = testkit::Registry::get()?.host();
        let name = format!("{host}/other-platform-{}:1", lab.who().name());
        // The image in the registry is for one platform, and the registry has no other.
        lab.build("FROM scratch\nENV A=1\n")
            .args(&["--push", "--tag", &name, "--platform", "linux/s390x"])
            .ok();
        let built = lab
            .build(&format!("FROM {name}\nENV B=1\n"))
            .args(&["--platform", "linux/amd64"])
            .run();
        assert!(built.stderr.contains("s390x"), "{built}");
        Ok(())
    });
}

#[test]
fn redundanttargetplatform() {
    row(|lab| {
        let bad = "FROM --platform=$TARGETPLATFORM base\n";
        let good = "FROM base\n";
        check(lab, "RedundantTargetPlatform", bad, good);
        Ok(())
    });
}

#[test]
fn secretsusedinargorenv() {
    row(|lab| {
        let bad = "FROM base\nENV API_TOKEN=x\n";
        let good = "FROM base\nENV NAME=x\n";
        check(lab, "SecretsUsedInArgOrEnv", bad, good);
        Ok(())
    });
}

#[test]
fn invaliddefaultarginfrom() {
    row(|lab| {
        let bad = "ARG V\nFROM base:$V\n";
        let good = "ARG V=latest\nFROM base:$V\n";
        check(lab, "InvalidDefaultArgInFrom", bad, good);
        Ok(())
    });
}

#[test]
fn fromplatformflagconstdisallowed() {
    row(|lab| {
        let bad = "FROM --platform=linux/amd64 base\n";
        let good = "FROM --platform=$BUILDPLATFORM base\n";
        check(lab, "FromPlatformFlagConstDisallowed", bad, good);
        Ok(())
    });
}

#[test]
fn copyignoredfile() {
    row(|lab| {
        let bad = "FROM base\nCOPY ignored /\n";
        let good = "FROM base\nCOPY seen /\n";
        check(lab, "CopyIgnoredFile", bad, good);
        Ok(())
    });
}

#[test]
fn invaliddefinitiondescription() {
    row(|lab| {
        let bad =
            "# check=experimental=InvalidDefinitionDescription\n# wrong text\nFROM base AS one\n";
        let good = "# check=experimental=InvalidDefinitionDescription\n# one is a stage\nFROM base AS one\n";
        check(lab, "InvalidDefinitionDescription", bad, good);
        Ok(())
    });
}

#[test]
fn exposeprotocasing() {
    row(|lab| {
        let bad = "FROM base\nEXPOSE 80/TCP\n";
        let good = "FROM base\nEXPOSE 80/tcp\n";
        check(lab, "ExposeProtoCasing", bad, good);
        Ok(())
    });
}

#[test]
fn exposeinvalidformat() {
    row(|lab| {
        let bad = "FROM base\nEXPOSE 127.0.0.1:80:80\n";
        let good = "FROM base\nEXPOSE 80\n";
        check(lab, "ExposeInvalidFormat", bad, good);
        Ok(())
    });
}
