//! A build as one page that needs nothing from elsewhere.

use std::fmt::Write as _;
use std::time::Duration;

use super::{BuildFailure, BuildRecord, StepRecord, StepStatus};
use super::{human_bytes, human_duration, thousandths};
use crate::escape;

const STYLE: &str = include_str!("style.css");
/// The narrowest bar, in thousandths of the axis: an instant is seen, too.
const MIN_BAR: u64 = 4;
/// Nothing is loaded, sent or run, whatever a log manages to say.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The build as a page for a browser. It has no scripts and no links, and loads nothing.
pub fn html(record: &BuildRecord) -> String {
    let mut page = String::new();
    let name = text(&record.name);
    let status = record.status.word();
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{name}: {status}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <header>\n<h1>{name}</h1>\n<span class=\"badge {status}\">{status}</span>\
         <span class=\"when\">{}</span>\n</header>\n",
        record.started
    );
    summary(&mut page, record);
    if let Some(error) = &record.error {
        failure(&mut page, error);
    }
    list(&mut page, "Warnings", &record.warnings);
    steps(&mut page, record);
    list(&mut page, "Outputs", &record.outputs);
    page.push_str("<footer>Made by kiln.</footer>\n</main>\n</body>\n</html>\n");
    page
}

fn summary(page: &mut String, record: &BuildRecord) {
    let busy: Duration = record.steps.iter().map(|step| step.duration).sum();
    let steps = record.steps.len();
    let cached = record.count(StepStatus::Cached);
    page.push_str("<dl>\n");
    fact(page, "Duration", &human_duration(record.duration), "big");
    fact(page, "Steps", &steps.to_string(), "big");
    fact(
        page,
        "From the cache",
        &format!("{cached} of {steps}"),
        "big",
    );
    fact(page, "Work in steps", &human_duration(busy), "big");
    let bytes: u64 = record.steps.iter().filter_map(|step| step.bytes).sum();
    if bytes > 0 {
        fact(page, "Data", &human_bytes(bytes), "big");
    }
    if !record.platforms.is_empty() {
        fact(page, "Platforms", &record.platforms.join(", "), "");
    }
    for (name, value) in &record.facts {
        fact(page, name, value, "");
    }
    page.push_str("</dl>\n");
}

fn fact(page: &mut String, name: &str, value: &str, class: &str) {
    // Digests and paths want the whole width.
    let wide = if value.len() > 40 {
        " class=\"wide\""
    } else {
        ""
    };
    let class = match class {
        "" => String::new(),
        class => format!(" class=\"{class}\""),
    };
    let (name, value) = (text(name), text(value));
    let _ = writeln!(
        page,
        "<div{wide}><dt>{name}</dt><dd{class}>{value}</dd></div>"
    );
}

fn failure(page: &mut String, error: &BuildFailure) {
    page.push_str("<h2>What went wrong</h2>\n<div class=\"error\">\n");
    if let Some((file, line)) = &error.place {
        let _ = writeln!(page, "<p><code>{}:{line}</code></p>", text(file));
    }
    let _ = writeln!(page, "<p>{}</p>", escape::html(&error.message));
    for cause in &error.causes {
        let _ = writeln!(
            page,
            "<p class=\"cause\">caused by: {}</p>",
            escape::html(cause)
        );
    }
    if !error.excerpt.is_empty() {
        page.push_str("<pre>");
        let last = error.excerpt.iter().map(|line| line.number).max();
        let width = last.unwrap_or(0).to_string().len();
        for line in &error.excerpt {
            let (open, close) = if line.marked {
                ("<span class=\"marked\">", "</span>")
            } else {
                ("", "\n")
            };
            let _ = write!(
                page,
                "{open}<span class=\"number\">{:>width$} | </span>{}{close}",
                line.number,
                escape::html(line.text.trim_end()),
            );
        }
        page.push_str("</pre>\n");
    }
    page.push_str("</div>\n");
}

fn list(page: &mut String, title: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    let _ = writeln!(page, "<h2>{title}</h2>\n<ul>");
    for item in items {
        let _ = writeln!(page, "<li>{}</li>", text(item));
    }
    page.push_str("</ul>\n");
}

fn steps(page: &mut String, record: &BuildRecord) {
    page.push_str("<h2>Steps</h2>\n");
    if record.steps.is_empty() {
        page.push_str("<p>No step ran.</p>\n");
        return;
    }
    page.push_str("<p class=\"legend\">");
    for status in [
        StepStatus::Done,
        StepStatus::Cached,
        StepStatus::Failed,
        StepStatus::Cancelled,
    ] {
        let (count, word) = (record.count(status), status.word());
        if count > 0 {
            let _ = write!(
                page,
                "<span><i class=\"{word}\"></i>{word} ({count})</span>"
            );
        }
    }
    page.push_str("</p>\n<div class=\"steps\">\n");
    let span = record.span();
    let middle = human_duration(span / 2);
    let _ = writeln!(
        page,
        "<div class=\"row axis\"><span class=\"name\">Step</span><span class=\"ticks\">\
         <span>0</span><span>{middle}</span><span>{}</span></span>\
         <span class=\"time\">Time</span><span class=\"size\">Data</span></div>",
        human_duration(span)
    );
    for step in &record.steps {
        row(page, step, span);
    }
    page.push_str("</div>\n");
}

fn row(page: &mut String, step: &StepRecord, span: Duration) {
    let word = step.status.word();
    let log = escape::html(&step.log);
    let log = log.trim_matches('\n');
    let start = thousandths(step.start, span).min(1000 - MIN_BAR);
    let end = thousandths(step.start + step.duration, span).max(start + MIN_BAR);
    let time = match step.status {
        StepStatus::Cached => "cached".to_owned(),
        _ => human_duration(step.duration),
    };
    let size = step.bytes.map(human_bytes).unwrap_or_default();
    let cells = format!(
        "<span class=\"name\">{}</span><svg class=\"bar\" viewBox=\"0 0 1000 12\" \
         preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{word}, from {} on\">\
         <rect class=\"{word}\" x=\"{start}\" y=\"1\" width=\"{}\" height=\"10\"/></svg>\
         <span class=\"time\">{time}</span><span class=\"size\">{size}</span>",
        text(&step.name),
        human_duration(step.start),
        end - start,
    );
    if log.is_empty() {
        let _ = writeln!(page, "<div class=\"row {word}\">{cells}</div>");
        return;
    }
    // What went wrong is what a reader came for.
    let open = if step.status == StepStatus::Failed {
        " open"
    } else {
        ""
    };
    let cut = if step.log_cut {
        "<div class=\"cut\">The beginning is not kept.</div>"
    } else {
        ""
    };
    let _ = writeln!(
        page,
        "<details{open}><summary class=\"row {word}\">{cells}</summary>{cut}<pre>{log}</pre></details>",
    );
}

/// A text on one line, for HTML.
fn text(text: &str) -> String {
    escape::html(&escape::one_line(text))
}
