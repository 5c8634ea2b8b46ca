//! What is not printed: order, entitlements, flags' texts; and that no text does harm.

use std::collections::BTreeMap;

use kiln_bake::{Bake, BakeFile, BakeInput, Clock, Entitlement};
use proptest::prelude::*;

fn input(name: &str, text: &str) -> BakeInput {
    BakeInput {
        files: vec![BakeFile {
            name: name.to_owned(),
            text: text.to_owned(),
        }],
        targets: Vec::new(),
        overrides: Vec::new(),
        environment: BTreeMap::new(),
        dotenv: None,
        variables: BTreeMap::new(),
        local_platform: "linux/amd64".to_owned(),
        command_context: None,
        file_relative: false,
        clock: Clock {
            now: 0,
            seed: [0; 32],
            home: None,
        },
    }
}

fn bake(text: &str, overrides: &[&str]) -> Bake {
    let mut input = input("docker-bake.hcl", text);
    input.overrides = overrides.iter().map(|text| (*text).to_owned()).collect();
    kiln_bake::read(&input).expect("the file is right")
}

#[test]
fn targets_follow_those_that_their_contexts_name() {
    let bake = bake(
        r#"
        group "default" { targets = ["a", "b", "c"] }
        target "a" { contexts = { x = "target:c", y = "target:z" } }
        target "b" {}
        target "c" { contexts = { y = "target:z" } }
        target "z" {}
        "#,
        &[],
    );
    assert_eq!(bake.build_order(), ["z", "c", "a", "b"]);
    assert!(bake.targets["z"].linked);
    assert!(!bake.targets["c"].linked);
}

#[test]
fn wants_are_what_a_build_may_not_do_by_itself() {
    let bake = bake(
        r#"
        target "default" {
          context = "../up"
          contexts = { a = "docker-image://x", b = "cwd://b", c = "https://example.com/x.tar" }
          network = "host"
          entitlements = ["security.insecure", "device=vendor.com/gpu=0"]
          secret = ["id=s,src=/etc/s", "id=e,env=E"]
          ssh = ["default", "key=/k"]
          output = ["type=local,dest=out,mode=delete", "type=image"]
          cache-from = ["type=local,src=in"]
          cache-to = ["type=local,dest=to"]
        }
        "#,
        &["default.cache-to+=type=local,dest=/granted"],
    );
    let wants: Vec<String> = bake.targets["default"]
        .wants()
        .iter()
        .map(ToString::to_string)
        .collect();
    let expected = [
        "network.host",
        "security.insecure",
        "device=vendor.com/gpu=0",
        "fs.read=../up",
        "fs.read=../up/Dockerfile",
        "fs.read=/etc/s",
        "fs.read=/k",
        "fs.read=b",
        "fs.read=in",
        "fs.write=/granted",
        "fs.write=out",
        "fs.write=to",
        "ssh",
        "buildx.local.delete",
    ];
    assert_eq!(wants, expected);
    assert!(
        bake.granted
            .contains(&Entitlement::FsWrite("/granted".to_owned()))
    );
}

#[test]
fn entries_are_the_texts_of_flags() {
    let bake = bake(
        r#"
        target "default" {
          output = [{ type = "image", name = "a,b", push = "true" }, "out"]
          cache-from = ["user/app"]
          attest = [{ type = "sbom", disabled = true }]
          secret = [{ id = "s", src = "f" }]
          ssh = [{ id = "k", paths = ["a", "b"] }]
          policy = ["filename=x,strict=true"]
        }
        "#,
        &[],
    );
    let target = &bake.targets["default"];
    let outputs: Vec<String> = target
        .outputs
        .iter()
        .flatten()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        outputs,
        [r#"type=image,"name=a,b",push=true"#, "type=local,dest=out"]
    );
    assert_eq!(
        target.cache_from[0].to_string(),
        "type=registry,ref=user/app"
    );
    assert_eq!(target.attest[0].to_string(), "type=sbom,disabled=true");
    assert_eq!(target.secrets[0].to_string(), "id=s,src=f");
    assert_eq!(target.ssh[0].to_string(), "k=a,b");
    assert_eq!(target.policy[0].to_string(), "filename=x,strict=true");
}

#[test]
fn time_and_randomness_are_what_they_are_given() {
    let text = r#"target "default" { args = { T = timestamp(), U = uuidv4(), V = uuidv4() } }"#;
    let mut input = input("docker-bake.hcl", text);
    input.clock = Clock {
        now: 1_700_000_000,
        seed: [1; 32],
        home: None,
    };
    let one = kiln_bake::read(&input).unwrap();
    let args = &one.targets["default"].args;
    assert_eq!(args["T"], "2023-11-14T22:13:20Z");
    assert_ne!(args["U"], args["V"]);
    assert_eq!(one, kiln_bake::read(&input).unwrap());
    input.clock.seed = [2; 32];
    assert_ne!(
        args["U"],
        kiln_bake::read(&input).expect("the file is right").targets["default"].args["U"]
    );
}

/// Pieces that files are made of.
const WORDS: [&str; 40] = [
    "target \"default\" {\n",
    "}\n",
    "args = {",
    "}",
    "\"",
    "${",
    "%{if true}",
    "%{endif}",
    "[",
    "]",
    "for x in ",
    " : ",
    "x",
    "1",
    " + ",
    "tags = ",
    "<<-EOT\n",
    "\nEOT\n",
    "variable \"A\" {\n",
    "default = ",
    "A",
    "target.default",
    ".args",
    "[*]",
    "try(",
    ")",
    "upper(",
    ", ",
    "services:\n",
    "  a:\n",
    "    build: ",
    "&a ",
    "*a",
    "- ",
    "\n",
    ": ",
    "é",
    "\\u12",
    "null",
    " ? ",
];

proptest! {
    #[test]
    fn no_text_does_harm(words in prop::collection::vec(0..WORDS.len(), 0..40), name in 0..4usize) {
        let text: String = words.iter().map(|at| WORDS[*at]).collect();
        let name = ["docker-bake.hcl", "docker-bake.json", "compose.yaml", "bake"][name];
        let input = input(name, &text);
        if let Err(error) = kiln_bake::read(&input) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn what_is_printed_is_a_bake_file(args in prop::collection::btree_map("[A-Z]{1,4}", ".{0,12}", 0..5), tags in prop::collection::vec("[a-z]{1,5}", 0..4)) {
        let mut input = input("docker-bake.hcl", "target \"default\" { cache-from = [\"a\", \"type=gha\"] }");
        input.overrides = args.iter().map(|(key, value)| format!("default.args.{key}={value}")).collect();
        input.overrides.extend(tags.iter().map(|tag| format!("default.tags={tag}")));
        let printed = kiln_bake::read(&input).unwrap().print_json();
        let again = self::input("docker-bake.json", &printed);
        prop_assert_eq!(kiln_bake::read(&again).unwrap().print_json(), printed);
    }
}
