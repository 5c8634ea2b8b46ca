//! `HEALTHCHECK`.

use std::time::Duration;

use super::flags::{Flags, Kind};
use super::instruction::{Parts, command_line, needs_arguments};
use super::{Reader, duration, words};
use crate::ast::{CommandLine, Healthcheck};
use crate::suggest;

/// Docker does not check more often.
const SHORTEST: Duration = Duration::from_millis(1);

pub(super) fn healthcheck(parts: &mut Parts<'_>, reader: &mut Reader<'_>) -> Option<Healthcheck> {
    let (kind, rest) = words::split_first(parts.args);
    match kind.text.to_ascii_uppercase().as_str() {
        "" => needs_arguments(parts, reader),
        "NONE" => {
            parts.flags_without_effect(reader);
            if let Some(rest) = rest {
                reader.error(rest.span(), "`HEALTHCHECK NONE` takes no arguments");
            }
            Some(Healthcheck::None)
        }
        "CMD" => {
            let known = [
                ("interval", Kind::Value),
                ("timeout", Kind::Value),
                ("start-period", Kind::Value),
                ("start-interval", Kind::Value),
                ("retries", Kind::Value),
            ];
            let flags = parts.check_flags(&known, reader);
            let command = match rest {
                Some(rest) => Some(command_line(rest, reader)?),
                None => None,
            };
            let Some(command) = command.filter(|command| !is_empty(command)) else {
                reader.error(kind.span(), "missing command after `HEALTHCHECK CMD`");
                return None;
            };
            Some(Healthcheck::Check {
                command,
                interval: interval(&flags, "interval", reader),
                timeout: interval(&flags, "timeout", reader),
                start_period: interval(&flags, "start-period", reader),
                start_interval: interval(&flags, "start-interval", reader),
                retries: retries(&flags, reader),
            })
        }
        other => {
            let hint = suggest::hint(other, ["CMD", "NONE"])
                .or_else(|| Some("write `HEALTHCHECK CMD …`".to_owned()));
            let message = format!("unknown type `{}` of health check", kind.text);
            reader.error_with(kind.span(), message, hint);
            None
        }
    }
}

fn is_empty(command: &CommandLine) -> bool {
    match command {
        CommandLine::Exec(words) => words.is_empty(),
        CommandLine::Shell(text) => text.is_empty(),
    }
}

fn interval(flags: &Flags, name: &str, reader: &mut Reader<'_>) -> Duration {
    let Some(flag) = flags.value(name).filter(|flag| !flag.value.is_empty()) else {
        return Duration::ZERO;
    };
    match duration::parse(&flag.value) {
        Some(duration) if duration.is_zero() || duration >= SHORTEST => duration,
        Some(_) => {
            reader.error(flag.span, format!("`--{name}` cannot be less than 1ms"));
            Duration::ZERO
        }
        None => {
            let hint = Some("write it like `30s` or `1m30s`".to_owned());
            let message = format!("invalid duration `{}`", flag.value);
            reader.error_with(flag.span, message, hint);
            Duration::ZERO
        }
    }
}

fn retries(flags: &Flags, reader: &mut Reader<'_>) -> u32 {
    let Some(flag) = flags.value("retries").filter(|flag| !flag.value.is_empty()) else {
        return 0;
    };
    match flag.value.parse::<i32>().map(u32::try_from) {
        Ok(Ok(retries)) => retries,
        Ok(Err(_)) => {
            reader.error(flag.span, "`--retries` cannot be negative");
            0
        }
        Err(_) => {
            let message = format!("`{}` is not a number of retries", flag.value);
            reader.error(flag.span, message);
            0
        }
    }
}
