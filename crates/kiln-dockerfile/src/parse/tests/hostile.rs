//! Properties that hold for every text.

use proptest::prelude::*;

use super::dump;
use crate::ast::{Command, CopySource, Dockerfile, Instruction};
use crate::{Diagnostic, Span, parse, parse_trigger, render};

/// Pieces that a Dockerfile is made of, so that random texts reach deep into the parser.
const PIECES: [&str; 60] = [
    "FROM",
    "RUN",
    "COPY",
    "ADD",
    "ENV",
    "ARG",
    "LABEL",
    "ONBUILD",
    "HEALTHCHECK",
    "CMD",
    "SHELL",
    "VOLUME",
    "EXPOSE",
    "USER",
    "WORKDIR",
    "STOPSIGNAL",
    "MAINTAINER",
    "ENTRYPOINT",
    "RUNN",
    "scratch",
    " AS b",
    " ",
    " ",
    " ",
    "\n",
    "\n",
    "\n",
    "\r\n",
    "\\\n",
    "\\",
    "`",
    "# escape=`\n",
    "# syntax=x\n",
    "<<EOF",
    "<<-EOF",
    "3<<'A'",
    "EOF\n",
    "\tEOF\n",
    "A\n",
    "\"",
    "'",
    "[\"a\"]",
    "[",
    "]",
    "--mount=type=cache,target=/x",
    "--from=",
    "--link",
    "--",
    "--chmod=u=rwX",
    "=",
    "a",
    "é",
    "日本",
    "$x",
    "${x:-y}",
    "\u{feff}",
    "\0",
    "#",
    "\t",
    "{",
];

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..60)
            .prop_map(|pieces| pieces.concat()),
        1 => any::<String>(),
    ]
}

fn command_spans(command: &Command, spans: &mut Vec<Span>) {
    spans.push(command.span);
    match &command.instruction {
        Instruction::Copy(copy) => {
            spans.push(copy.paths.destination.span);
            spans.extend(copy.paths.sources.iter().map(|source| match source {
                CopySource::Path(path) => path.span,
                CopySource::Heredoc(heredoc) => heredoc.body_span,
            }));
        }
        Instruction::Run(run) => {
            for heredoc in &run.heredocs {
                spans.extend([heredoc.span, heredoc.body_span]);
            }
        }
        Instruction::Env(pairs) | Instruction::Label(pairs) => {
            spans.extend(pairs.iter().map(|pair| pair.span));
        }
        Instruction::Onbuild(onbuild) => {
            if let Some(command) = &onbuild.parsed {
                command_spans(command, spans);
            }
        }
        Instruction::User(text) | Instruction::Workdir(text) => spans.push(text.span),
        _ => {}
    }
}

fn spans(dockerfile: &Dockerfile, diagnostics: &[Diagnostic]) -> Vec<Span> {
    let mut spans: Vec<Span> = diagnostics.iter().map(|found| found.span).collect();
    spans.extend(dockerfile.directives.syntax.iter().map(|text| text.span));
    spans.extend(dockerfile.directives.check.iter().map(|text| text.span));
    for stage in &dockerfile.stages {
        spans.extend([stage.from.span, stage.from.base.span]);
        for command in &stage.commands {
            command_spans(command, &mut spans);
        }
    }
    spans
}

proptest! {
    #[test]
    fn every_text_is_parsed_and_every_span_is_in_it(text in texts()) {
        let (dockerfile, diagnostics) = parse(&text);
        for span in spans(&dockerfile, &diagnostics) {
            prop_assert!(text.get(span.start..span.end).is_some(), "{span:?} in {text:?}");
        }
        for found in &diagnostics {
            render(found, "Dockerfile", &text);
        }
        dump::dump(&text, &dockerfile, &diagnostics);
    }

    #[test]
    fn every_trigger_is_parsed(text in texts()) {
        let (command, diagnostics) = parse_trigger(&text);
        prop_assert_eq!(command.is_none(), diagnostics.iter().any(Diagnostic::is_error));
    }

    #[test]
    fn a_tree_without_stages_has_an_error(text in texts()) {
        let (dockerfile, diagnostics) = parse(&text);
        if dockerfile.stages.is_empty() {
            prop_assert!(diagnostics.iter().any(Diagnostic::is_error));
        }
    }
}

/// Texts of a megabyte for which a careless parser takes quadratic or exponential time: this would
/// take hours.
#[test]
fn long_texts_end() {
    let repeated = [
        "FROM a\n",
        "RUN a \\\n",
        "\\\n",
        "# x\n",
        "RUN <<A\n",
        "RUN <<A <<B\nA\n",
        "ENV a=b\\\n",
        "--mount=a ",
        "\"",
        "[\"a\",",
        "[",
        "${a:-",
        "XXXX\n",
        "COPY <<A <<A ",
        "\n",
        "\t",
        "a=b ",
        "HEALTHCHECK --interval=1s \\\n",
        "ONBUILD ",
        "ARG a=$a$a\n",
        "日",
    ];
    for piece in repeated {
        for prefix in ["", "FROM a\nRUN ", "FROM a\nENV ", "FROM a\nCOPY "] {
            let text = prefix.to_owned() + &piece.repeat((1 << 20) / piece.len());
            parse(&text);
        }
    }
}
