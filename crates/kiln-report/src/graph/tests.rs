//! Graphs as lines of text in, drawings out.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::{Drawing, Node};

/// One step on a line: `stage | kind | title | inputs`.
fn drawing(text: &str) -> Drawing {
    let node = |line: &str| {
        let mut parts = line.split('|').map(str::trim);
        let mut part = || parts.next().unwrap_or_default().to_owned();
        let (stage, kind, title) = (part(), part(), part());
        let inputs = part();
        Node {
            title,
            stage,
            kind,
            inputs: inputs
                .split_whitespace()
                .map(|n| n.parse().unwrap())
                .collect(),
        }
    };
    Drawing::new(text.trim().lines().map(node).collect())
}

const TWO_STAGES: &str = "\
    build | image | [build 1/3] FROM golang:1.22 |
    context | context | [internal] load build context |
    build | copy | [build 2/3] COPY . /src | 0 1
    build | run | [build 3/3] RUN go build -o /app ./... | 2
    final | image | [final 1/2] FROM debian:12 |
    final | copy | [final 2/2] COPY --from=build /app /usr/bin/ | 4 3";

const HOSTILE: &str = "\
    <b>&\"x | run | RUN echo \"</title><script>alert(1)</script>\" \\ \u{1b}[31mred\u{202e} |
    <b>&\"x | ]]> | a very long title that goes on and on, far beyond the width of any box | 0 0 7";

#[track_caller]
fn check_text(text: &str, expected: &Expect) {
    expected.assert_eq(&drawing(text).text());
}

#[track_caller]
fn check_dot(text: &str, expected: &Expect) {
    expected.assert_eq(&drawing(text).dot());
}

#[track_caller]
fn check_svg(text: &str, expected: &Expect) {
    let svg = drawing(text).svg();
    assert!(!svg.contains("<script"));
    let without_style: String = svg
        .lines()
        .filter(|line| !line.starts_with("<style>"))
        .fold(String::new(), |all, line| all + line + "\n");
    expected.assert_eq(&without_style);
}

#[test]
fn as_a_tree() {
    check_text(
        TWO_STAGES,
        &expect![[r"
        [final 2/2] COPY --from=build /app /usr/bin/
        ├─ [build 3/3] RUN go build -o /app ./...
        │  [build 2/3] COPY . /src
        │  ├─ [internal] load build context
        │  [build 1/3] FROM golang:1.22
        [final 1/2] FROM debian:12
    "]],
    );
    check_text(
        HOSTILE,
        &expect![[r#"
        a very long title that goes on and on, far beyond the width of any box
        RUN echo "</title><script>alert(1)</script>" \ red
    "#]],
    );
    check_text("", &expect![[""]]);
    // A step that two need is drawn once; two results are two trees.
    check_text(
        "a | run | base |\n a | run | left | 0\n a | run | right | 0\n a | run | both | 1 2\n a | run | alone | 0",
        &expect![[r"
            both
            ├─ right
            │  base
            left
            base ↑

            alone
            base ↑
        "]],
    );
}

#[test]
fn as_dot() {
    check_dot(
        TWO_STAGES,
        &expect![[r#"
        digraph build {
          rankdir=TB;
          node [shape=box, style=rounded, fontname="sans-serif"];
          subgraph cluster_0 {
            label="build";
            s0 [label="[build 1/3] FROM golang:1.22", tooltip="[build 1/3] FROM golang:1.22"];
            s2 [label="[build 2/3] COPY . /src", tooltip="[build 2/3] COPY . /src"];
            s3 [label="[build 3/3] RUN go build -o /app ./...", tooltip="[build 3/3] RUN go build -o /app ./..."];
          }
          subgraph cluster_1 {
            label="context";
            s1 [label="[internal] load build context", tooltip="[internal] load build context"];
          }
          subgraph cluster_2 {
            label="final";
            s4 [label="[final 1/2] FROM debian:12", tooltip="[final 1/2] FROM debian:12"];
            s5 [label="[final 2/2] COPY --from=build /app /usr/bin/", tooltip="[final 2/2] COPY --from=build /app /usr/bin/"];
          }
          s0 -> s2;
          s1 -> s2 [style=dashed];
          s2 -> s3;
          s4 -> s5;
          s3 -> s5 [style=dashed];
        }
    "#]],
    );
    check_dot(
        HOSTILE,
        &expect![[r#"
        digraph build {
          rankdir=TB;
          node [shape=box, style=rounded, fontname="sans-serif"];
          subgraph cluster_0 {
            label="<b>&\"x";
            s0 [label="RUN echo \"</title><script>alert(1)</script>\" \\ red", tooltip="RUN echo \"</title><script>alert(1)</script>\" \\ red"];
            s1 [label="a very long title that goes on and on, far beyond the width…", tooltip="a very long title that goes on and on, far beyond the width of any box"];
          }
          s0 -> s1;
        }
    "#]],
    );
}

#[test]
fn as_svg() {
    check_svg(
        TWO_STAGES,
        &expect![[r#"
            <svg xmlns="http://www.w3.org/2000/svg" width="792" height="348" viewBox="0 0 792 348" role="img">
            <title>Build graph</title>
            <rect class="c0" x="20" y="10" width="12" height="12" rx="3"/><text class="legend" x="38" y="20">build</text>
            <rect class="c1" x="200" y="10" width="12" height="12" rx="3"/><text class="legend" x="218" y="20">context</text>
            <rect class="c2" x="380" y="10" width="12" height="12" rx="3"/><text class="legend" x="398" y="20">final</text>
            <path class="edge" d="M162 88C162 102 318 102 318 116"/><path class="tip" d="M314 116h8l-4 6z"/>
            <path class="edge read" d="M474 88C474 102 318 102 318 116"/><path class="tip" d="M314 116h8l-4 6z"/>
            <path class="edge" d="M318 168C318 182 318 182 318 196"/><path class="tip" d="M314 196h8l-4 6z"/>
            <path class="edge" d="M630 248C630 262 474 262 474 276"/><path class="tip" d="M470 276h8l-4 6z"/>
            <path class="edge read" d="M318 248C318 262 474 262 474 276"/><path class="tip" d="M470 276h8l-4 6z"/>
            <g><title>[build 1/3] FROM golang:1.22</title><rect class="box c0" x="20" y="42" width="284" height="46" rx="7"/><text x="32" y="62">[build 1/3] FROM golang:1.22</text><text class="kind" x="32" y="78">image</text></g>
            <g><title>[internal] load build context</title><rect class="box c1" x="332" y="42" width="284" height="46" rx="7"/><text x="344" y="62">[internal] load build context</text><text class="kind" x="344" y="78">context</text></g>
            <g><title>[build 2/3] COPY . /src</title><rect class="box c0" x="176" y="122" width="284" height="46" rx="7"/><text x="188" y="142">[build 2/3] COPY . /src</text><text class="kind" x="188" y="158">copy</text></g>
            <g><title>[build 3/3] RUN go build -o /app ./...</title><rect class="box c0" x="176" y="202" width="284" height="46" rx="7"/><text x="188" y="222">[build 3/3] RUN go build -o /app .…</text><text class="kind" x="188" y="238">run</text></g>
            <g><title>[final 1/2] FROM debian:12</title><rect class="box c2" x="488" y="202" width="284" height="46" rx="7"/><text x="500" y="222">[final 1/2] FROM debian:12</text><text class="kind" x="500" y="238">image</text></g>
            <g><title>[final 2/2] COPY --from=build /app /usr/bin/</title><rect class="box c2" x="332" y="282" width="284" height="46" rx="7"/><text x="344" y="302">[final 2/2] COPY --from=build /app…</text><text class="kind" x="344" y="318">copy</text></g>
            </svg>
        "#]],
    );
    check_svg(
        HOSTILE,
        &expect![[r#"
            <svg xmlns="http://www.w3.org/2000/svg" width="324" height="210" viewBox="0 0 324 210" role="img">
            <title>Build graph</title>
            <rect class="c0" x="20" y="10" width="12" height="12" rx="3"/><text class="legend" x="38" y="20">&lt;b&gt;&amp;&quot;x</text>
            <path class="edge" d="M162 110C162 124 162 124 162 138"/><path class="tip" d="M158 138h8l-4 6z"/>
            <g><title>RUN echo &quot;&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot; \ red</title><rect class="box c0" x="20" y="64" width="284" height="46" rx="7"/><text x="32" y="84">RUN echo &quot;&lt;/title&gt;&lt;script&gt;alert(1)…</text><text class="kind" x="32" y="100">run</text></g>
            <g><title>a very long title that goes on and on, far beyond the width of any box</title><rect class="box c0" x="20" y="144" width="284" height="46" rx="7"/><text x="32" y="164">a very long title that goes on and…</text><text class="kind" x="32" y="180">]]&gt;</text></g>
            </svg>
        "#]],
    );
    check_svg(
        "",
        &expect![[r#"
        <svg xmlns="http://www.w3.org/2000/svg" width="220" height="62" viewBox="0 0 220 62" role="img">
        <title>Build graph</title>
        </svg>
    "#]],
    );
}

#[test]
fn deep_branches_become_trees_of_their_own() {
    let mut lines = vec!["s | run | step 0 |".to_owned()];
    for n in 1..2000 {
        lines.push(format!("s | scratch | base {n} |"));
        lines.push(format!(
            "s | copy | step {n} | {} {}",
            lines.len() - 1,
            2 * (n - 1)
        ));
    }
    let text = drawing(&lines.join("\n")).text();
    let longest = text.lines().map(|line| line.chars().count()).max();
    assert!(longest < Some(80), "{longest:?}");
    for n in 0..2000 {
        let title = format!("step {n}");
        let drawn = text.lines().filter(|line| line.ends_with(&title));
        assert_eq!(drawn.count(), 1, "{title}");
    }
}

proptest! {
    #[test]
    fn boxes_never_overlap_and_inputs_are_above(
        inputs in proptest::collection::vec(proptest::collection::vec(0_usize..40, 0..4), 1..40)
    ) {
        let nodes = inputs.into_iter().map(|inputs| Node {
            title: "x".to_owned(), stage: "s".to_owned(), kind: "run".to_owned(), inputs,
        });
        let drawing = Drawing::new(nodes.collect());
        let placed = super::layout::layout(&drawing);
        for (place, (x, row)) in placed.boxes.iter().enumerate() {
            for (other_x, other_row) in &placed.boxes[..place] {
                prop_assert!(row != other_row || (x - other_x).abs() >= super::layout::BOX_WIDTH);
            }
            for input in &drawing.nodes()[place].inputs {
                prop_assert!(placed.boxes[*input].1 < *row);
            }
        }
        let titles = drawing.text().lines().filter(|line| line.ends_with('x')).count();
        prop_assert_eq!(titles, drawing.nodes().len());
    }
}
