//! The small languages inside of instructions: `--mount`, `--chmod`, variables, and the flags of
//! caches.
#![no_main]

use std::collections::BTreeMap;

use kiln_cache::{Environment, parse_from, parse_to};
use kiln_dockerfile::ast::Instruction;
use kiln_dockerfile::expand::{ExpandOptions, MAX_GROWTH, Quotes, expand_word, expand_words};
use kiln_dockerfile::mode::Mode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (text, values) = kiln_fuzz::parts(text);
    let pairs = values.lines().filter_map(|line| line.split_once('='));
    let variables: BTreeMap<_, _> = pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    mounts(text, &variables);
    if let Ok(mode) = text.parse::<Mode>() {
        for before in [0, 0o644, 0o7777] {
            assert!(mode.apply(before, false) <= 0o7777);
            assert!(mode.apply(before, true) <= 0o7777);
        }
    }
    for quotes in [Quotes::Remove, Quotes::Keep, Quotes::Ignore] {
        let plain = ExpandOptions {
            quotes,
            ..ExpandOptions::word('\\')
        };
        let kept = ExpandOptions {
            keep_escapes: true,
            keep_unset: true,
            ..plain
        };
        for options in [
            plain,
            kept,
            ExpandOptions {
                escape: '`',
                ..plain
            },
        ] {
            expand(text, &variables, options);
        }
    }
    let environment = Environment::new(variables);
    let _ = parse_from(text, &environment);
    let _ = parse_to(text, &environment);
});

fn expand(text: &str, variables: &BTreeMap<String, String>, options: ExpandOptions) {
    if let Ok(expanded) = expand_word(text, variables, options) {
        assert!(expanded.text.len() <= text.len() + MAX_GROWTH);
        assert!(
            expanded
                .used
                .iter()
                .all(|name| variables.contains_key(name))
        );
    }
    if let Ok(words) = expand_words(text, variables, options) {
        assert!(words.iter().map(String::len).sum::<usize>() <= text.len() + MAX_GROWTH);
    }
}

fn mounts(text: &str, variables: &BTreeMap<String, String>) {
    let (dockerfile, _) = kiln_dockerfile::parse(&format!("FROM a\nRUN --mount={text} x\n"));
    let commands = dockerfile.stages.iter().flat_map(|stage| &stage.commands);
    for command in commands {
        let Instruction::Run(run) = &command.instruction else {
            continue;
        };
        let _ = run.form();
        for mount in &run.mounts {
            let resolved = mount.resolve(|word| {
                let options = ExpandOptions::word('\\');
                expand_word(word, variables, options).map(|expanded| expanded.text)
            });
            if let Err(error) = resolved {
                let _ = error.hint();
            }
        }
    }
}
