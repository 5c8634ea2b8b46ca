//! The workloads of a run, one after the other, and what the person who waits is told meanwhile.
//!
//! Deliberately absent: what a workload does, and where its result goes; both are the caller's.

use std::time::{Duration, Instant};

/// What became of a run's workloads, by their names and in their order.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    measured: Vec<&'static str>,
    failed: Vec<&'static str>,
    open: Vec<&'static str>,
}

/// Runs each workload, and gives what it found to `keep` before the next one begins; ends when
/// somebody asked for that, and what the workload under way found is then given up. `say` gets the
/// lines for the person who waits.
pub(crate) fn each<T>(
    names: &[&'static str],
    mut run: impl FnMut(&'static str) -> Result<T, String>,
    mut keep: impl FnMut(&'static str, Result<T, String>),
    is_ended: impl Fn() -> bool,
    mut say: impl FnMut(&str),
) -> Progress {
    let mut progress = Progress::default();
    say(&workloads(names.len()));
    let mut left = names.iter();
    for name in left.by_ref() {
        if is_ended() {
            progress.open.push(name);
            break;
        }
        say(&format!("{name}:"));
        let began = Instant::now();
        let found = run(name);
        if is_ended() {
            progress.open.push(name);
            break;
        }
        let list = match found {
            Ok(_) => &mut progress.measured,
            Err(_) => &mut progress.failed,
        };
        list.push(name);
        let end = if found.is_ok() { "done" } else { "failed" };
        keep(name, found);
        let done = progress.measured.len() + progress.failed.len();
        let left = names.len() - done;
        say(&format!(
            "  {end} after {}, {left} left",
            seconds(began.elapsed())
        ));
    }
    progress.open.extend(left);
    progress
}

impl Progress {
    /// What a person has to know at the end, beside the report: which workloads failed, and which
    /// were not begun or given up.
    pub(crate) fn ending(&self) -> Option<String> {
        let mut parts = Vec::new();
        if !self.open.is_empty() {
            let measured = match self.measured.as_slice() {
                [] => "nothing was measured".to_owned(),
                names => format!("measured: {}", names.join(", ")),
            };
            parts.push(format!("interrupted; {measured}"));
        }
        if !self.failed.is_empty() {
            parts.push(format!("failed: {}", self.failed.join(", ")));
        }
        if !self.open.is_empty() {
            parts.push(format!("not measured: {}", self.open.join(", ")));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

fn workloads(count: usize) -> String {
    match count {
        1 => "1 workload".to_owned(),
        _ => format!("{count} workloads"),
    }
}

fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 99.5 {
        return format!("{seconds:.0} s");
    }
    format!("{:.1} min", seconds / 60.0)
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use expect_test::{Expect, expect};

    use super::*;

    /// Runs workloads by the first letter of their names: `f` fails, and `i` is interrupted.
    #[track_caller]
    fn check(names: &[&'static str], expected: &Expect) {
        let log = RefCell::new(String::new());
        let line = |text: &str| log.borrow_mut().extend([text, "\n"]);
        let is_ended = Cell::new(false);
        let progress = each(
            names,
            |name| {
                is_ended.set(name.starts_with('i'));
                let fails = name.starts_with('f');
                (!fails).then_some(name).ok_or_else(|| "why".to_owned())
            },
            |name, found| line(&format!("keep {name} {found:?}")),
            || is_ended.get(),
            line,
        );
        line(&format!("{:?}", progress.ending()));
        expected.assert_eq(&log.borrow());
    }

    #[test]
    fn each_result_is_kept_before_the_next_workload_begins() {
        check(
            &["steps", "fails", "wide"],
            &expect![[r#"
                3 workloads
                steps:
                keep steps Ok("steps")
                  done after 0 s, 2 left
                fails:
                keep fails Err("why")
                  failed after 0 s, 1 left
                wide:
                keep wide Ok("wide")
                  done after 0 s, 0 left
                Some("failed: fails")
            "#]],
        );
    }

    #[test]
    fn what_was_measured_before_an_interruption_is_kept_and_named() {
        check(
            &["steps", "fails", "interrupted", "wide"],
            &expect![[r#"
                4 workloads
                steps:
                keep steps Ok("steps")
                  done after 0 s, 3 left
                fails:
                keep fails Err("why")
                  failed after 0 s, 2 left
                interrupted:
                Some("interrupted; measured: steps; failed: fails; not measured: interrupted, wide")
            "#]],
        );
        check(
            &["interrupted"],
            &expect![[r#"
                1 workload
                interrupted:
                Some("interrupted; nothing was measured; not measured: interrupted")
            "#]],
        );
    }

    #[test]
    fn times_are_short() {
        assert_eq!(seconds(Duration::from_millis(61_600)), "62 s");
        assert_eq!(seconds(Duration::from_secs(150)), "2.5 min");
    }
}
