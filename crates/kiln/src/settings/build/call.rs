//! `--call` and `--check`: a question about the Dockerfile that is answered instead of building.

use super::FlagError;
use crate::args::{BuildArgs, parse_switch, split_csv};

/// A question and how its answer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) format: CallFormat,
    /// End with success, whatever the answer.
    pub(crate) ignore_status: bool,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// Which mistakes the file has.
    Check,
    /// Which arguments, secrets and mounts the target takes.
    Outline,
    /// Which stages there are.
    Targets,
    /// Which questions there are.
    Describe,
}

impl Method {
    /// What the command line calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Outline => "outline",
            Self::Targets => "targets",
            Self::Describe => "subrequests.describe",
        }
    }
}

/// How the answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallFormat {
    Text,
    Json,
}

/// What the flags ask; `None` for a build.
pub(super) fn resolve(args: &BuildArgs) -> Result<Option<Call>, FlagError> {
    if args.show.check {
        return Ok(Some(Call {
            method: Method::Check,
            format: CallFormat::Text,
            ignore_status: false,
        }));
    }
    match (&args.show.call, &args.legacy.print) {
        (Some(text), _) => parse("--call", text),
        (None, Some(text)) => parse("--print", text),
        (None, None) => Ok(None),
    }
}

/// `METHOD[,format=text|json][,ignorestatus=BOOL]`.
pub(crate) fn parse(flag: &'static str, text: &str) -> Result<Option<Call>, FlagError> {
    let wrong = |reason: &str| FlagError::new(flag, text, reason);
    if text.is_empty() {
        return Ok(None);
    }
    let fields = split_csv(text).ok_or_else(|| wrong("a quoted field does not end"))?;
    let mut method = None;
    let mut format = CallFormat::Text;
    let mut ignore_status = false;
    for field in &fields {
        match field.split_once('=') {
            Some(("format", "text")) => format = CallFormat::Text,
            Some(("format", "json")) => format = CallFormat::Json,
            Some(("format", _)) => return Err(wrong("its format is `text` or `json`")),
            Some(("ignorestatus", value)) => ignore_status = parse_switch(value).map_err(wrong)?,
            Some(_) => return Err(wrong("known are `format` and `ignorestatus`")),
            None if method.is_some() => return Err(wrong("it asks two questions")),
            None => method = Some(field.as_str()),
        }
    }
    let method = match method {
        None => return Err(wrong("the method is missing")),
        Some("build") => return Ok(None),
        Some("check" | "lint") => Method::Check,
        Some("outline") => Method::Outline,
        Some("targets") => Method::Targets,
        Some("subrequests.describe") => Method::Describe,
        Some(_) => {
            return Err(wrong(
                "the methods are build, check, outline, targets and subrequests.describe",
            ));
        }
    };
    Ok(Some(Call {
        method,
        format,
        ignore_status,
    }))
}
