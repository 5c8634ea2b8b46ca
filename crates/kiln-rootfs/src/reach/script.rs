//! Scripts: their first line, which is exact, and the commands of shells, which are a guess.

use std::collections::BTreeSet;

/// So many commands are looked at.
const MAX_COMMANDS: usize = 500;

/// What follows `#!`, up to the end of the line.
pub(super) fn first_line(head: &[u8]) -> Option<&[u8]> {
    let rest = head.strip_prefix(b"#!")?;
    let end = rest.iter().position(|byte| *byte == b'\n');
    Some(rest[..end.unwrap_or(rest.len())].trim_ascii())
}

/// Interpreter and argument. Linux splits once.
pub(super) fn interpreter(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(|byte| matches!(byte, b' ' | b'\t'));
    let (name, argument) = line.split_at(end.unwrap_or(line.len()));
    (name, argument.trim_ascii())
}

/// The program that `env` starts with this argument.
pub(super) fn program_of_env(argument: &[u8]) -> Option<&[u8]> {
    let argument = argument
        .strip_prefix(b"-S")
        .or_else(|| argument.strip_prefix(b"--split-string="))
        .unwrap_or(argument);
    let words = argument.split(|byte| matches!(byte, b' ' | b'\t'));
    let mut words = words.filter(|word| !word.is_empty());
    words.find(|word| !word.starts_with(b"-") && !word.contains(&b'='))
}

/// Whether this program reads what [`commands`] reads.
pub(super) fn is_shell(name: &[u8]) -> bool {
    matches!(
        name,
        b"sh" | b"bash" | b"dash" | b"ash" | b"ksh" | b"zsh" | b"mksh" | b"busybox"
    )
}

/// The commands that a shell script seems to run: the first words of its parts, plain ones only.
pub(super) fn commands(script: &[u8]) -> BTreeSet<Vec<u8>> {
    let text = String::from_utf8_lossy(script);
    let mut commands = BTreeSet::new();
    for line in text.lines() {
        let line = line.trim_start();
        if line.starts_with('#') {
            continue;
        }
        for part in line.split([';', '&', '|', '(', ')', '`', '{', '}']) {
            if commands.len() >= MAX_COMMANDS {
                return commands;
            }
            if let Some(word) = first_command(part) {
                commands.insert(word.as_bytes().to_vec());
            }
        }
    }
    commands
}

/// Words that are followed by another command.
const PREFIXES: [&str; 16] = [
    "!", "if", "then", "else", "elif", "while", "until", "do", "exec", "command", "nohup", "env",
    "time", "sudo", "exec-fg", "builtin",
];

fn first_command(part: &str) -> Option<&str> {
    let is_plain = |word: &str| {
        let is_usual = |c: char| c.is_ascii_alphanumeric() || "_./+-".contains(c);
        !word.is_empty() && !word.starts_with('-') && word.chars().all(is_usual)
    };
    let is_assignment = |word: &str| {
        let name = word.split_once('=').map(|(name, _)| name);
        name.is_some_and(|name| {
            name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.is_empty()
        })
    };
    let mut words = part.split_ascii_whitespace();
    let first = words.find(|word| !PREFIXES.contains(word) && !is_assignment(word))?;
    // `. file` and `source file` read a script.
    let first = match first {
        "." | "source" => words.next()?,
        first => first,
    };
    is_plain(first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(script: &str, expected: &str) {
        let commands = commands(script.as_bytes());
        let names: Vec<String> = commands
            .iter()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect();
        assert_eq!(names.join(" "), expected);
    }

    #[test]
    fn commands_are_guessed_from_the_first_words() {
        check("#!/bin/sh\nset -e\nFOO=bar exec nginx -g 'x'", "nginx set");
        check(
            "if ! id app; then adduser app && chown -R x y; fi",
            "adduser chown fi id",
        );
        check("x=$(date +%s) | tr a b\n\"$@\"\n$CMD", "date tr");
        check(". /lib/x.sh\nexec \"$@\"", "/lib/x.sh");
    }

    #[test]
    fn first_lines_are_split_as_linux_does() {
        assert_eq!(
            first_line(b"#! /bin/sh -e x\nrest"),
            Some(&b"/bin/sh -e x"[..])
        );
        assert_eq!(
            interpreter(b"/bin/sh -e x"),
            (&b"/bin/sh"[..], &b"-e x"[..])
        );
        assert_eq!(first_line(b"# no"), None);
        assert_eq!(program_of_env(b"python3"), Some(&b"python3"[..]));
        assert_eq!(program_of_env(b"-S A=b node --x"), Some(&b"node"[..]));
        assert_eq!(program_of_env(b"-i"), None);
    }
}
