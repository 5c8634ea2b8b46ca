//! Many commands at once, as one command: what [`crate::measure`] then measures is all of them.

use std::ffi::OsString;
use std::process::{Child, ExitCode, Stdio};

use crate::measure::{Invocation, complain};

/// The word that makes this program start many others.
pub(crate) const HELPER: &str = "__together";

/// Stands for the number of the command in its words.
pub(crate) const NUMBER: &str = "{}";

/// The same command so many times at once, each with its own number; `own` is a copy of this
/// program that the command's user can run.
pub(crate) fn together(invocation: Invocation, count: usize, own: OsString) -> Invocation {
    let mut words = vec![own, HELPER.into(), count.to_string().into()];
    words.extend(invocation.words);
    Invocation {
        words,
        ..invocation
    }
}

/// `__together COUNT PROGRAM ARGUMENT...`: runs all, and fails when one failed.
pub(crate) fn helper(words: &[OsString]) -> ExitCode {
    let [count, words @ ..] = words else {
        return ExitCode::FAILURE;
    };
    let count: usize = count.to_string_lossy().parse().unwrap_or(0);
    let children: Vec<_> = (0..count).map(|number| start(words, number)).collect();
    let ended = children.into_iter().map(|child| {
        let status = child.and_then(|mut child| child.wait());
        status.is_ok_and(|status| status.success())
    });
    let failed = ended.filter(|succeeded| !succeeded).count();
    if failed == 0 {
        return ExitCode::SUCCESS;
    }
    complain(&format!("{failed} of {count} at once failed"));
    ExitCode::FAILURE
}

fn start(words: &[OsString], number: usize) -> std::io::Result<Child> {
    let number = number.to_string();
    let words = words.iter().map(|word| numbered(word, &number)).collect();
    let invocation = Invocation {
        words,
        environment: Vec::new(),
        user: None,
        daemon: None,
    };
    let mut command = invocation.command();
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()
}

fn numbered(word: &OsString, number: &str) -> OsString {
    word.to_str()
        .map_or_else(|| word.clone(), |text| text.replace(NUMBER, number).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_its_number() {
        assert_eq!(numbered(&"/a/{}/b{}".into(), "7"), "/a/7/b7");
        let words = together(Invocation::new("kiln").arg("build"), 3, "/own".into()).words;
        assert_eq!(words, ["/own", HELPER, "3", "kiln", "build"]);
    }
}
