//! Properties that hold for every file.

use kiln_dockerfile::Diagnostic;
use kiln_graph::GraphBuilder;
use proptest::prelude::*;

use super::{fetched, image, options};
use crate::{Facts, Lowering, lower};

/// Instructions that refer to each other, so that random files reach deep.
const LINES: [&str; 37] = [
    "FROM scratch",
    "FROM debian AS a",
    "FROM a AS b",
    "FROM b",
    "FROM onbuild AS a",
    "FROM chained",
    "FROM $A",
    "FROM --platform=$P b",
    "ARG A=debian",
    "ARG A",
    "ARG P=linux/arm64",
    "ENV A=$A$A",
    "ENV A=${A:-x}y B=\"$A\"",
    "RUN x $A",
    "RUN --mount=type=cache,target=$A x",
    "RUN <<EOF\n$A\nEOF",
    "COPY --from=a /x /y",
    "COPY --from=0 /x /y",
    "COPY --from=2 /x /y",
    "COPY --from=debian /x /y",
    "COPY --link --chown=$A x y/",
    "COPY <<EOF /x\n$A ${B\nEOF",
    "ADD --chmod=$A x /y",
    "WORKDIR $A/..",
    "USER $A",
    "EXPOSE 1-65535 $A",
    "VOLUME $A /v",
    "STOPSIGNAL $A",
    "LABEL $A=$B",
    "ONBUILD RUN y $A",
    "ONBUILD COPY --from=a /x /y",
    "CMD x",
    "ENTRYPOINT [\"x\"]",
    "HEALTHCHECK CMD x",
    "ADD https://a/b /c",
    "ADD https://a/b.git#x . /c/",
    "RUN --mount=from=a,target=/x --mount=type=cache,target=y --mount=type=secret,id=$X x",
];

proptest! {
    #[test]
    fn every_file_is_lowered_or_refused(
        lines in prop::collection::vec(prop::sample::select(LINES.to_vec()), 0..25),
    ) {
        let text = lines.join("\n");
        let (dockerfile, _) = kiln_dockerfile::parse(&text);
        let mut facts = Facts::default();
        // Each round asks for at least one image that was not known before.
        for _ in 0..20 {
            match lower(&dockerfile, &options(), &facts, &GraphBuilder::new()) {
                Ok(Lowering::Needs(needs)) => {
                    prop_assert!(needs.bases.len() + needs.sources.len() > 0);
                    for base in needs.bases {
                        prop_assert!(facts.get(&base.image, &base.platform).is_none());
                        facts.insert(&base, image(&base.image));
                    }
                    for source in needs.sources {
                        prop_assert!(facts.source(&source.source).is_none());
                        facts.insert_source(&source, fetched(&source.source));
                    }
                }
                Ok(Lowering::Done(lowered)) => {
                    let layers = lowered.config.history.iter().filter(|entry| !entry.empty_layer);
                    let steps = lowered.graph().steps().len();
                    prop_assert!(lowered.target.as_usize() < steps);
                    prop_assert!(layers.count() <= steps);
                    return Ok(());
                }
                Err(errors) => {
                    prop_assert!(errors.iter().any(Diagnostic::is_error));
                    for error in &errors {
                        prop_assert!(text.get(error.span.start..error.span.end).is_some());
                    }
                    return Ok(());
                }
            }
        }
        prop_assert!(false, "images are asked for without end");
    }
}
