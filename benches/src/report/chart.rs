//! The report as pictures that need nothing from elsewhere: SVG without scripts, readable on a
//! light and on a dark ground.
//!
//! Widths of texts are estimated, generously: the reader's fonts are not known here.

mod growth;
mod overview;
mod scale;

use std::fmt::Write as _;

use crate::model::Report;

const MARGIN: f64 = 20.0;
/// The height of a line of text.
const LINE: f64 = 20.0;
/// The width of a letter at twelve pixels, in the widest of the usual fonts.
const LETTER: f64 = 7.3;

const STYLE: &str = "\
svg{background:#fff;font:12px system-ui,-apple-system,'Segoe UI',sans-serif}\
text{fill:#1c1f24}.head{font-size:16px;font-weight:600}.title{font-size:13px;font-weight:600}\
.quiet{fill:#5d6673}.end{text-anchor:end}.mid{text-anchor:middle}\
.grid{stroke:#e3e6ea}.axis{stroke:#8a94a1}.range{stroke:#1c1f24;stroke-opacity:.65}\
.halo{paint-order:stroke;stroke:#fff;stroke-width:4px;stroke-linejoin:round}\
.line{fill:none;stroke-width:2}.guide{fill:none;stroke:#8a94a1;stroke-dasharray:2 4}\
.f0{fill:#c8552b}.f1{fill:#e59c74}.f2{fill:#2f6fd0}.f3{fill:#2594a0}.f4{fill:#83932b}.f5{fill:#8a6fd6}\
.f6{fill:#b5569b}.f7{fill:#8a8f98}\
.s0{stroke:#c8552b}.s1{stroke:#2f6fd0;stroke-dasharray:8 3}.s2{stroke:#2594a0;stroke-dasharray:3 3}\
.s3{stroke:#83932b;stroke-dasharray:10 3 2 3}.s4{stroke:#8a6fd6;stroke-dasharray:5 5}\
.p0{fill:#c8552b}.p1{fill:#2f6fd0}.p2{fill:#2594a0}.p3{fill:#83932b}.p4{fill:#8a6fd6}\
@media (prefers-color-scheme:dark){svg{background:#14171b}text{fill:#e4e7eb}.quiet{fill:#98a2ae}\
.grid{stroke:#2a2f36}.axis{stroke:#77818d}.range{stroke:#e4e7eb}.halo{stroke:#14171b}\
.guide{stroke:#77818d}.f2{fill:#5b93e6}.s1{stroke:#5b93e6}.p1{fill:#5b93e6}}";

/// The charts: the name of each file, and the SVG document. `overview.svg` has every workload;
/// each growth has a plot named after it.
pub(crate) fn charts(report: &Report) -> Vec<(String, String)> {
    let mut charts = vec![("overview.svg".to_owned(), overview::draw(report))];
    for growth in &report.growths {
        charts.push((format!("{}.svg", growth.name), growth::draw(growth)));
    }
    charts
}

/// A document as far as it is drawn.
struct Picture {
    body: String,
}

impl Picture {
    const fn new() -> Self {
        Self {
            body: String::new(),
        }
    }

    /// A text whose baseline begins at a place; its class says otherwise.
    fn text(&mut self, class: &str, (x, y): (f64, f64), text: &str) {
        let text = escaped(text);
        let _ = writeln!(
            self.body,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
        );
    }

    fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let _ = writeln!(
            self.body,
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        );
    }

    fn rectangle(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        let _ = writeln!(
            self.body,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" \
             height=\"{height:.1}\" rx=\"2\"/>"
        );
    }

    /// The whole document, with what it says for those who don't see it.
    fn finish(self, (width, height): (f64, f64), title: &str, description: &str) -> String {
        let (title, description) = (escaped(title), escaped(description));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-labelledby=\"title desc\">\n\
             <title id=\"title\">{title}</title>\n<desc id=\"desc\">{description}</desc>\n\
             <style>{STYLE}</style>\n{}</svg>\n",
            self.body
        )
    }
}

/// Where the entries of a legend go: each has a swatch of 24 pixels before its text. Gives the
/// places, left and baseline, and how many lines they take.
fn legend(texts: &[String], top: f64, width: f64) -> (Vec<(f64, f64)>, f64) {
    let (mut x, mut y) = (MARGIN, top);
    let mut places = Vec::new();
    for text in texts {
        let entry = 24.0 + estimated(text) + 18.0;
        if x > MARGIN && x + entry > width - MARGIN {
            (x, y) = (MARGIN, y + LINE);
        }
        places.push((x, y));
        x += entry;
    }
    (places, y + LINE)
}

/// How wide a text of twelve pixels will be, about.
fn estimated(text: &str) -> f64 {
    let letters = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
    f64::from(letters) * LETTER
}

/// The text on one line, cut with `…` where it would be wider than so many pixels.
fn shortened(text: &str, width: f64) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if estimated(&text) <= width {
        return text;
    }
    let mut out = String::new();
    for c in text.chars() {
        if estimated(&out) + 2.0 * LETTER > width {
            break;
        }
        out.push(c);
    }
    format!("{}…", out.trim_end())
}

/// The text for XML, in text and in quoted attributes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML has no word for these.
            '\u{fffe}' | '\u{ffff}' => {}
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
