//! Every workload, a bar for each program: the time, and how many times kiln's it is.

use super::super::number;
use super::scale::Scale;
use super::{LINE, MARGIN, Picture, legend, shortened};
use crate::model::{Program, Report, Row, Table};

const WIDTH: f64 = 860.0;
/// Where the bars begin: the programs' names are to the left.
const LEFT: f64 = 130.0;
/// Where the longest bar ends: its figures are to the right.
const RIGHT: f64 = 700.0;
const BAR: f64 = 13.0;
const BAR_STEP: f64 = 18.0;
const GROUP_GAP: f64 = 14.0;

pub(super) fn draw(report: &Report) -> String {
    let mut picture = Picture::new();
    let title = "Time of each program on each workload";
    picture.text("head", (MARGIN, 30.0), title);
    let machine = &report.machine;
    let machine = format!(
        "{}, {} cores, {}",
        days(report),
        machine.cores,
        machine.processor
    );
    let subtitle = "Median wall time, logarithmic, and the multiple of kiln's; a thin line is from the shortest to the longest.";
    for (text, y) in [(subtitle, 50.0), (&machine, 68.0)] {
        let text = shortened(text, WIDTH - 2.0 * MARGIN);
        picture.text("quiet", (MARGIN, y), &text);
    }
    let top = programs(&mut picture, report) + LINE;
    let height = report.tables.iter().map(group_height).sum::<f64>();
    let scale = Scale::around(seconds(report), LEFT, RIGHT);
    let bottom = top + height;
    for tick in scale.ticks() {
        let x = scale.at(tick);
        picture.line("grid", (x, top), (x, bottom));
        picture.text("quiet mid", (x, top - 6.0), &number::tick(tick));
        picture.text("quiet mid", (x, bottom + 16.0), &number::tick(tick));
    }
    let mut y = top;
    for table in &report.tables {
        group(&mut picture, table, &scale, y);
        y += group_height(table);
    }
    picture.finish((WIDTH, bottom + 16.0 + MARGIN), title, &description(report))
}

/// The day of all tables, or the first and the last.
fn days(report: &Report) -> String {
    let head = &report.machine;
    let machines = report.tables.iter().map(|table| &table.measured);
    let dates = || machines.clone().map(|it| &it.as_ref().unwrap_or(head).date);
    match (dates().min(), dates().max()) {
        (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
        (Some(day), _) => day.clone(),
        (None, _) => head.date.clone(),
    }
}

/// The legend; gives where it ends.
fn programs(picture: &mut Picture, report: &Report) -> f64 {
    let found = report.programs.iter().filter_map(|facts| {
        let version = facts.version.as_ref().ok()?;
        let text = format!("{} {version}", facts.program.name());
        Some((facts.program, shortened(&text, 190.0)))
    });
    let (programs, texts): (Vec<Program>, Vec<String>) = found.unzip();
    let (places, end) = legend(&texts, 96.0, WIDTH);
    for ((program, text), (x, y)) in programs.iter().zip(&texts).zip(places) {
        picture.rectangle(colour(*program), (x, y - 10.0), (16.0, 12.0));
        picture.text("", (x + 24.0, y), text);
    }
    end
}

fn group_height(table: &Table) -> f64 {
    let bars = table.rows.iter().map(|_| BAR_STEP).sum::<f64>();
    LINE + 4.0 + bars + GROUP_GAP
}

fn group(picture: &mut Picture, table: &Table, scale: &Scale, top: f64) {
    let title = format!("{}. {}", table.letter, table.title);
    // Bold letters are wider.
    let title = shortened(&title, (WIDTH - 2.0 * MARGIN) * 0.85);
    picture.text("title halo", (MARGIN, top + 16.0), &title);
    let mut y = top + LINE + 4.0;
    let (first, last) = (y - 2.0, top + group_height(table) - GROUP_GAP - 3.0);
    picture.line("axis", (LEFT, first), (LEFT, last));
    for row in &table.rows {
        let name = row.program.name();
        picture.text("quiet end", (LEFT - 8.0, y + 11.0), name);
        bar(picture, table, row, (scale, y));
        y += BAR_STEP;
    }
}

fn bar(picture: &mut Picture, table: &Table, row: &Row, (scale, y): (&Scale, f64)) {
    let (Some(figure), Some((low, high))) = (row.figure(table.unit), row.range(table.unit)) else {
        picture.text("quiet halo", (LEFT + 8.0, y + 11.0), "failed");
        return;
    };
    let end = scale.at(figure.wall.as_secs_f64());
    let width = (end - LEFT).max(2.0);
    picture.rectangle(colour(row.program), (LEFT, y), (width, BAR));
    let (low, high) = (scale.at(low.as_secs_f64()), scale.at(high.as_secs_f64()));
    let middle = y + BAR / 2.0;
    if high - low >= 1.0 {
        picture.line("range", (low, middle), (high, middle));
    }
    let mut label = number::time(figure.wall);
    if let (true, Some(times)) = (row.program != Program::Kiln, table.times_kiln(row)) {
        label = format!("{label} · {}×", number::digits(times));
    }
    let x = (LEFT + width).max(high) + 6.0;
    picture.text("halo", (x, y + 11.0), &label);
}

/// All times that are drawn.
fn seconds(report: &Report) -> impl Iterator<Item = f64> {
    let rows = report
        .tables
        .iter()
        .flat_map(|table| table.rows.iter().map(|row| (row, table.unit)));
    rows.flat_map(|(row, unit)| {
        let median = row.figure(unit).map(|figure| figure.wall);
        let longest = row.range(unit).map(|(_, high)| high);
        [median, longest]
            .into_iter()
            .flatten()
            .map(|time| time.as_secs_f64())
    })
}

const fn colour(program: Program) -> &'static str {
    match program {
        Program::Kiln => "f0",
        Program::KilnRootless => "f1",
        Program::BuildKit => "f2",
        Program::Docker => "f3",
        Program::Buildah => "f4",
        Program::Kaniko => "f5",
        Program::Builderd => "f6",
        Program::Mkfs => "f7",
    }
}

/// The figures in words.
fn description(report: &Report) -> String {
    let tables = report.tables.iter().map(|table| {
        let rows = table.rows.iter().map(|row| {
            let time = row
                .figure(table.unit)
                .map(|figure| number::time(figure.wall));
            let time = time.unwrap_or_else(|| "failed".to_owned());
            format!("{} {time}", row.program.name())
        });
        let rows: Vec<String> = rows.collect();
        format!("{}: {}.", table.title, rows.join("; "))
    });
    tables.collect::<Vec<_>>().join(" ")
}
