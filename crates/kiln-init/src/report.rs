//! What kiln-init says on the console, one line each: to be read by programs.
//!
//! ```text
//! kiln-init: ready {"version":1,"pid":2,"uid":1000,"gid":1000}
//! kiln-init: listening {"port":8080}
//! kiln-init: exit {"code":3}
//! kiln-init: exit {"signal":9}
//! kiln-init: failed {"code":127,"message":"`/app` is not on the disk"}
//! kiln-init: warning {"message":"…"}
//! ```
//!
//! `ready` means that the machine is prepared and the program runs; then comes `exit`. `failed` comes
//! instead of either. What is after the first space of a line is the kind, and what is after the
//! second is a JSON object, to which later versions may add fields.
//!
//! The console is the program's, too, so a program could write such lines: this is a report, and no
//! proof.

use kiln_sys::process::Ended;
use serde::{Deserialize, Serialize};

/// The version of these lines.
pub const VERSION: u32 = 1;

/// What all lines begin with.
pub const PREFIX: &str = "kiln-init: ";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The program runs.
    Ready(Ready),
    /// Something listens on this TCP port; said where the kernel command line asks for it.
    Listening {
        /// The port.
        port: u16,
    },
    /// The program has ended.
    Exit(Ended),
    /// The program was not started.
    Failed {
        /// The exit code that Docker has for this: 125, 126 or 127.
        code: i32,
        /// Why.
        message: String,
    },
    /// Something is not as it was asked for, and the machine goes on.
    Warning {
        /// What.
        message: String,
    },
}

/// Who runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The version of these lines.
    pub version: u32,
    /// The program's process id.
    pub pid: i32,
    /// The user it runs as.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

#[derive(Serialize, Deserialize)]
struct Listening {
    port: u16,
}

#[derive(Serialize, Deserialize)]
struct Exit {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
}

#[derive(Serialize, Deserialize)]
struct Failed {
    code: i32,
    message: String,
}

#[derive(Serialize, Deserialize)]
struct Warning {
    message: String,
}

impl Report {
    /// The line, without its end.
    pub fn line(&self) -> String {
        let (kind, body) = match self {
            Self::Ready(ready) => ("ready", json(ready)),
            Self::Listening { port } => ("listening", json(&Listening { port: *port })),
            Self::Exit(ended) => ("exit", json(&Exit::from(*ended))),
            Self::Failed { code, message } => (
                "failed",
                json(&Failed {
                    code: *code,
                    message: message.clone(),
                }),
            ),
            Self::Warning { message } => (
                "warning",
                json(&Warning {
                    message: message.clone(),
                }),
            ),
        };
        format!("{PREFIX}{kind} {body}")
    }

    /// Reads a line of a console. The prefix may be anywhere in it: what a program or a kernel wrote
    /// before may lack its line's end.
    pub fn parse(line: &str) -> Option<Self> {
        let start = line.find(PREFIX)? + PREFIX.len();
        let (kind, body) = line[start..].trim_end().split_once(' ')?;
        match kind {
            "ready" => read(body).map(Self::Ready),
            "listening" => {
                let Listening { port } = read(body)?;
                Some(Self::Listening { port })
            }
            "exit" => read::<Exit>(body)?.ended().map(Self::Exit),
            "failed" => {
                let Failed { code, message } = read(body)?;
                Some(Self::Failed { code, message })
            }
            "warning" => {
                let Warning { message } = read(body)?;
                Some(Self::Warning { message })
            }
            _ => None,
        }
    }
}

impl From<Ended> for Exit {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Exited(code) => Self {
                code: Some(code),
                signal: None,
            },
            Ended::Signaled(signal) => Self {
                code: None,
                signal: Some(signal),
            },
        }
    }
}

impl Exit {
    fn ended(&self) -> Option<Ended> {
        let code = self.code.map(Ended::Exited);
        code.or(self.signal.map(Ended::Signaled))
    }
}

fn json(value: &impl Serialize) -> String {
    // Strings and numbers: nothing in it can fail.
    serde_json::to_string(value).unwrap_or_default()
}

fn read<'a, T: Deserialize<'a>>(body: &'a str) -> Option<T> {
    serde_json::from_str(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(report: &Report, line: &str) {
        assert_eq!(report.line(), line);
        assert_eq!(Report::parse(line).as_ref(), Some(report));
        // As a console has it.
        let noisy = format!("no end of line{line}\r\n");
        assert_eq!(Report::parse(&noisy).as_ref(), Some(report));
    }

    #[test]
    fn lines_are_written_and_read() {
        check(
            &Report::Ready(Ready {
                version: 1,
                pid: 2,
                uid: 1000,
                gid: 100,
            }),
            r#"kiln-init: ready {"version":1,"pid":2,"uid":1000,"gid":100}"#,
        );
        check(
            &Report::Listening { port: 80 },
            r#"kiln-init: listening {"port":80}"#,
        );
        check(
            &Report::Exit(Ended::Exited(3)),
            r#"kiln-init: exit {"code":3}"#,
        );
        check(
            &Report::Exit(Ended::Signaled(9)),
            r#"kiln-init: exit {"signal":9}"#,
        );
        check(
            &Report::Failed {
                code: 127,
                message: "`a b\n` is not there".into(),
            },
            r#"kiln-init: failed {"code":127,"message":"`a b\n` is not there"}"#,
        );
        check(
            &Report::Warning {
                message: "slow".into(),
            },
            r#"kiln-init: warning {"message":"slow"}"#,
        );
    }

    #[test]
    fn other_lines_are_no_reports() {
        for line in [
            "",
            "kiln-init: ",
            "kiln-init: exit {}",
            "kiln-init: exit {\"code\":",
            "kiln-init: later {}",
            "[ 1.0] Run /usr/lib/kiln/init as init process",
        ] {
            assert_eq!(Report::parse(line), None);
        }
    }
}
