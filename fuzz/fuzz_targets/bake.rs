//! Bake files of all formats: reading one ends, without a panic, whatever a stranger wrote.
//!
//! The first letter is the format (`h`, `j`, `c`, and anything else for a file without an
//! extension), what follows `%%` is overrides, environment and `.env` at once.

#![no_main]

use std::collections::BTreeMap;

use kiln_bake::{BakeFile, BakeInput, Clock};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Some(format) = text.chars().next() else {
        return;
    };
    let (text, other) = kiln_fuzz::parts(&text[format.len_utf8()..]);
    let name = match format {
        'h' => "docker-bake.hcl",
        'j' => "docker-bake.json",
        'c' | 'C' => "compose.yaml",
        _ => "bake",
    };
    let input = BakeInput {
        files: vec![BakeFile {
            name: name.to_owned(),
            text: text.to_owned(),
        }],
        targets: vec!["*".to_owned()],
        overrides: other.lines().map(str::to_owned).collect(),
        environment: BTreeMap::from([("A".to_owned(), other.to_owned())]),
        dotenv: Some(BakeFile {
            name: ".env".to_owned(),
            text: other.to_owned(),
        }),
        variables: BTreeMap::new(),
        local_platform: "linux/amd64".to_owned(),
        command_context: None,
        file_relative: format.is_uppercase(),
        clock: Clock {
            now: 0,
            seed: [0; 32],
            home: None,
        },
    };
    if let Ok(bake) = kiln_bake::read(&input) {
        assert_eq!(bake.build_order().len(), bake.targets.len());
        bake.targets
            .values()
            .for_each(|target| drop(target.wants()));
        bake.print_json();
    }
    if let Ok(list) = kiln_bake::list(&input) {
        list.targets_table();
        list.variables_json();
    }
});
