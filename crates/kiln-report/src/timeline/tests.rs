//! A record in, a page and a table out.

use std::time::Duration;

use expect_test::{Expect, expect};
use kiln_base::Timestamp;

use super::*;

fn step(name: &str, start: u64, duration: u64, status: StepStatus, log: &str) -> StepRecord {
    StepRecord {
        name: name.to_owned(),
        stage: "build".to_owned(),
        start: Duration::from_millis(start),
        duration: Duration::from_millis(duration),
        status,
        bytes: (status == StepStatus::Done).then_some(1_234_567),
        log: log.to_owned(),
        log_cut: log.len() > 40,
    }
}

fn record() -> BuildRecord {
    BuildRecord {
        name: "example.com/app:1.2".to_owned(),
        started: Timestamp::from_seconds(1_700_000_000),
        duration: Duration::from_millis(74_250),
        status: BuildStatus::Failed,
        platforms: vec!["linux/amd64".to_owned(), "linux/arm64".to_owned()],
        error: Some(BuildFailure {
            message: "the command `make` ended with the exit code 2".to_owned(),
            causes: vec!["the step `[build 3/4] RUN make` failed".to_owned()],
            place: Some(("Dockerfile".to_owned(), 4)),
            excerpt: vec![
                SourceLine {
                    number: 3,
                    text: "COPY . .".to_owned(),
                    marked: false,
                },
                SourceLine {
                    number: 4,
                    text: "RUN make".to_owned(),
                    marked: true,
                },
                SourceLine {
                    number: 5,
                    text: "USER app".to_owned(),
                    marked: false,
                },
            ],
        }),
        steps: vec![
            step(
                "[build 1/4] FROM docker.io/library/golang:1.22",
                0,
                20_400,
                StepStatus::Done,
                "",
            ),
            step(
                "[build 2/4] WORKDIR /src",
                20_400,
                0,
                StepStatus::Cached,
                "",
            ),
            step(
                "[build 3/4] RUN make",
                21_000,
                53_000,
                StepStatus::Failed,
                "cc -o a a.c\n\u{1b}[31ma.c:1: error: expected ';'\u{1b}[0m\nmake: *** [all] Error 1\n",
            ),
            step(
                "[test 1/1] RUN ./check --all",
                30_000,
                44_000,
                StepStatus::Cancelled,
                "ok 1\n",
            ),
        ],
        outputs: vec!["sha256:0123456789abcdef".to_owned()],
        warnings: vec!["`FROM` and `as` have not the same case (line 1)".to_owned()],
        facts: vec![("Builder".to_owned(), "kiln 0.1.0".to_owned())],
    }
}

const HOSTILE: &str =
    "</pre></title><script>alert(1)</script>\" onload='x'\u{1b}]0;t\u{7}\u{202e}&amp;";

fn hostile() -> BuildRecord {
    let mut record = record();
    record.name = HOSTILE.to_owned();
    record.platforms = vec![HOSTILE.to_owned()];
    record.outputs = vec![HOSTILE.to_owned()];
    record.warnings = vec![HOSTILE.to_owned()];
    record.facts = vec![(HOSTILE.to_owned(), HOSTILE.to_owned())];
    record.error = Some(BuildFailure {
        message: HOSTILE.to_owned(),
        causes: vec![HOSTILE.to_owned()],
        place: Some((HOSTILE.to_owned(), 1)),
        excerpt: vec![SourceLine {
            number: 1,
            text: HOSTILE.to_owned(),
            marked: true,
        }],
    });
    for step in &mut record.steps {
        step.name = HOSTILE.to_owned();
        step.stage = HOSTILE.to_owned();
        step.log = HOSTILE.to_owned();
    }
    record
}

/// The page without its style.
fn page(record: &BuildRecord) -> String {
    let page = html(record);
    let (head, rest) = page.split_once("<style>").unwrap();
    let (_, body) = rest.split_once("</style>").unwrap();
    format!("{head}{body}")
}

#[track_caller]
fn check_table(record: &BuildRecord, width: usize, expected: &Expect) {
    let text = table(record, width);
    for line in text.lines().take_while(|line| !line.is_empty()) {
        assert!(
            unicode_width::UnicodeWidthStr::width(line) <= width,
            "{line}"
        );
    }
    expected.assert_eq(&text);
}

#[test]
fn a_page() {
    expect![[r#"
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="referrer" content="no-referrer">
        <title>example.com/app:1.2: failed</title>

        </head>
        <body>
        <main>
        <header>
        <h1>example.com/app:1.2</h1>
        <span class="badge failed">failed</span><span class="when">2023-11-14T22:13:20Z</span>
        </header>
        <dl>
        <div><dt>Duration</dt><dd class="big">1m14s</dd></div>
        <div><dt>Steps</dt><dd class="big">4</dd></div>
        <div><dt>From the cache</dt><dd class="big">1 of 4</dd></div>
        <div><dt>Work in steps</dt><dd class="big">1m57s</dd></div>
        <div><dt>Data</dt><dd class="big">1.2 MB</dd></div>
        <div><dt>Platforms</dt><dd>linux/amd64, linux/arm64</dd></div>
        <div><dt>Builder</dt><dd>kiln 0.1.0</dd></div>
        </dl>
        <h2>What went wrong</h2>
        <div class="error">
        <p><code>Dockerfile:4</code></p>
        <p>the command `make` ended with the exit code 2</p>
        <p class="cause">caused by: the step `[build 3/4] RUN make` failed</p>
        <pre><span class="number">3 | </span>COPY . .
        <span class="marked"><span class="number">4 | </span>RUN make</span><span class="number">5 | </span>USER app
        </pre>
        </div>
        <h2>Warnings</h2>
        <ul>
        <li>`FROM` and `as` have not the same case (line 1)</li>
        </ul>
        <h2>Steps</h2>
        <p class="legend"><span><i class="done"></i>done (1)</span><span><i class="cached"></i>cached (1)</span><span><i class="failed"></i>failed (1)</span><span><i class="cancelled"></i>cancelled (1)</span></p>
        <div class="steps">
        <div class="row axis"><span class="name">Step</span><span class="ticks"><span>0</span><span>37.1s</span><span>1m14s</span></span><span class="time">Time</span><span class="size">Data</span></div>
        <div class="row done"><span class="name">[build 1/4] FROM docker.io/library/golang:1.22</span><svg class="bar" viewBox="0 0 1000 12" preserveAspectRatio="none" role="img" aria-label="done, from 0ms on"><rect class="done" x="0" y="1" width="274" height="10"/></svg><span class="time">20.4s</span><span class="size">1.2 MB</span></div>
        <div class="row cached"><span class="name">[build 2/4] WORKDIR /src</span><svg class="bar" viewBox="0 0 1000 12" preserveAspectRatio="none" role="img" aria-label="cached, from 20.4s on"><rect class="cached" x="274" y="1" width="4" height="10"/></svg><span class="time">cached</span><span class="size"></span></div>
        <details open><summary class="row failed"><span class="name">[build 3/4] RUN make</span><svg class="bar" viewBox="0 0 1000 12" preserveAspectRatio="none" role="img" aria-label="failed, from 21.0s on"><rect class="failed" x="282" y="1" width="714" height="10"/></svg><span class="time">53.0s</span><span class="size"></span></summary><div class="cut">The beginning is not kept.</div><pre>cc -o a a.c
        a.c:1: error: expected &#39;;&#39;
        make: *** [all] Error 1</pre></details>
        <details><summary class="row cancelled"><span class="name">[test 1/1] RUN ./check --all</span><svg class="bar" viewBox="0 0 1000 12" preserveAspectRatio="none" role="img" aria-label="cancelled, from 30.0s on"><rect class="cancelled" x="404" y="1" width="592" height="10"/></svg><span class="time">44.0s</span><span class="size"></span></summary><pre>ok 1</pre></details>
        </div>
        <h2>Outputs</h2>
        <ul>
        <li>sha256:0123456789abcdef</li>
        </ul>
        <footer>Made by kiln.</footer>
        </main>
        </body>
        </html>
    "#]].assert_eq(&page(&record()));
}

#[test]
fn a_page_of_nothing() {
    let record = BuildRecord {
        status: BuildStatus::Succeeded,
        error: None,
        steps: Vec::new(),
        outputs: Vec::new(),
        warnings: Vec::new(),
        facts: Vec::new(),
        platforms: Vec::new(),
        ..record()
    };
    expect![[r#"
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="referrer" content="no-referrer">
        <title>example.com/app:1.2: succeeded</title>

        </head>
        <body>
        <main>
        <header>
        <h1>example.com/app:1.2</h1>
        <span class="badge succeeded">succeeded</span><span class="when">2023-11-14T22:13:20Z</span>
        </header>
        <dl>
        <div><dt>Duration</dt><dd class="big">1m14s</dd></div>
        <div><dt>Steps</dt><dd class="big">0</dd></div>
        <div><dt>From the cache</dt><dd class="big">0 of 0</dd></div>
        <div><dt>Work in steps</dt><dd class="big">0ms</dd></div>
        </dl>
        <h2>Steps</h2>
        <p>No step ran.</p>
        <footer>Made by kiln.</footer>
        </main>
        </body>
        </html>
    "#]].assert_eq(&page(&record));
    check_table(
        &record,
        80,
        &expect![[r"
        example.com/app:1.2 succeeded in 1m14s
        0 steps, 0 cached

    "]],
    );
}

#[test]
fn hostile_texts_stay_texts() {
    let page = page(&hostile());
    assert!(!page.contains("<script"), "{page}");
    assert!(!page.contains("onload='"), "{page}");
    assert!(!page.contains(['\u{1b}', '\u{202e}']));
    // Every tag is one that the page is made of.
    let known = [
        "html", "head", "meta", "title", "style", "body", "main", "header", "h1", "h2", "span",
        "dl", "div", "dt", "dd", "p", "code", "pre", "ul", "li", "i", "details", "summary", "svg",
        "rect", "footer", "!DOCTYPE",
    ];
    for tag in page.split('<').skip(1) {
        let name: String = tag
            .trim_start_matches('/')
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '!')
            .collect();
        assert!(known.contains(&name.as_str()), "{tag}");
    }
    assert!(!table(&hostile(), 80).contains(['\u{1b}', '\u{202e}', '\u{7}']));
}

#[test]
fn a_table() {
    check_table(
        &record(),
        100,
        &expect![[r"
        example.com/app:1.2 failed in 1m14s
        4 steps, 1 cached

        [build 1/4] FROM docker.io/library/gola…   20.4s     1.2 MB  done     ████████
        [build 2/4] WORKDIR /src                                     cached           ·
        [build 3/4] RUN make                       53.0s             failed           ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓
        [test 1/1] RUN ./check --all               44.0s             cancelled             ░░░░░░░░░░░░░░░░░

        Dockerfile:4: the command `make` ended with the exit code 2
        caused by: the step `[build 3/4] RUN make` failed
    "]],
    );
    check_table(
        &record(),
        60,
        &expect![[r"
        example.com/app:1.2 failed in 1m14s
        4 steps, 1 cached

        [build 1/4] FROM doc…   20.4s     1.2 MB  done     ██
        [build 2/4] WORKDIR…                      cached     ·
        [build 3/4] RUN make    53.0s             failed     ▓▓▓▓▓▓
        [test 1/1] RUN ./che…   44.0s             cancelled    ░░░░░

        Dockerfile:4: the command `make` ended with the exit code 2
        caused by: the step `[build 3/4] RUN make` failed
    "]],
    );
}

#[test]
fn numbers_for_people() {
    let time = |millis| human_duration(Duration::from_millis(millis));
    assert_eq!(
        [
            time(0),
            time(999),
            time(1250),
            time(59_999),
            time(125_000),
            time(3_720_000)
        ],
        ["0ms", "999ms", "1.2s", "59.9s", "2m05s", "1h02m"]
    );
    assert_eq!(
        [
            human_bytes(0),
            human_bytes(999),
            human_bytes(1_500),
            human_bytes(2_000_000),
            human_bytes(u64::MAX)
        ],
        ["0 B", "999 B", "1.5 kB", "2.0 MB", "18446.7 PB"]
    );
}
