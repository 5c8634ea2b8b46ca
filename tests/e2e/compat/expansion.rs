//! Rows about variable expansion.

use std::fmt::Write as _;

use super::lab::Lab;
use super::row;

/// Puts each expression into a label, and compares the label's value.
#[track_caller]
fn check(lab: &Lab, cases: &[(&str, &str)]) {
    let mut text = String::from(
        "FROM scratch\nENV SET=value EMPTY= A=a.b.c P=/usr/local/lib STAR=x*y*z INNER=SET\n",
    );
    for (index, (expression, _)) in cases.iter().enumerate() {
        let _ = writeln!(text, "LABEL case{index}={expression}");
    }
    let config = lab.build(&text).config();
    for (index, (expression, expected)) in cases.iter().enumerate() {
        let value = &config["config"]["Labels"][format!("case{index}")];
        assert_eq!(value, expected, "{expression}");
    }
}

#[test]
fn defaults_alternatives_and_errors_with_colon() {
    row(|lab| {
        check(
            lab,
            &[
                ("$SET", "value"),
                ("${SET}x", "valuex"),
                ("${NONE:-word}", "word"),
                ("${EMPTY:-word}", "word"),
                ("${SET:-word}", "value"),
                ("${SET:+word}", "word"),
                ("[${EMPTY:+word}]", "[]"),
                ("${SET:?message}", "value"),
            ],
        );
        lab.build("FROM scratch\nENV A=${EMPTY:?must be there}\n")
            .fails(&["Dockerfile:2", "must be there"]);
        Ok(())
    });
}

#[test]
fn defaults_alternatives_and_errors_without_colon() {
    row(|lab| {
        check(
            lab,
            &[
                ("${NONE-word}", "word"),
                ("[${EMPTY-word}]", "[]"),
                ("${EMPTY+word}", "word"),
                ("[${NONE+word}]", "[]"),
                ("[${EMPTY?message}]", "[]"),
            ],
        );
        lab.build("FROM scratch\nENV A=${NONE?must be there}\n")
            .fails(&["Dockerfile:2", "must be there"]);
        Ok(())
    });
}

#[test]
fn prefixes_and_suffixes_removed() {
    row(|lab| {
        check(
            lab,
            &[
                ("${A#*.}", "b.c"),
                ("${A##*.}", "c"),
                ("${A%.*}", "a.b"),
                ("${A%%.*}", "a"),
                ("${P##*/}", "lib"),
                ("${A#?.}", "b.c"),
                ("${STAR#x\\*}", "y*z"),
                ("${A#nothing}", "a.b.c"),
            ],
        );
        Ok(())
    });
}

#[test]
fn patterns_replaced() {
    row(|lab| {
        check(
            lab,
            &[
                ("${A/./-}", "a-b.c"),
                ("${A//./-}", "a-b-c"),
                ("${A/b/}", "a..c"),
                ("${P//\\//:}", ":usr:local:lib"),
                ("${A/?./x}", "xb.c"),
            ],
        );
        Ok(())
    });
}

#[test]
fn expressions_in_expressions() {
    row(|lab| {
        check(
            lab,
            &[
                ("${NONE:-${SET}}", "value"),
                ("${NONE:-${EMPTY:-${A%%.*}}}", "a"),
                ("${SET:+<${P}>}", "</usr/local/lib>"),
                ("${A/b/${SET}}", "a.value.c"),
            ],
        );
        Ok(())
    });
}

#[test]
fn quotes() {
    row(|lab| {
        check(
            lab,
            &[
                ("'$SET'", "$SET"),
                ("\"$SET and ${SET}\"", "value and value"),
                ("\\$SET", "$SET"),
                ("\"\\$SET\"", "$SET"),
                ("'a'\"b\"c", "abc"),
            ],
        );
        Ok(())
    });
}

#[test]
fn special_parameters() {
    row(|lab| {
        check(
            lab,
            &[
                ("[$1]", "[]"),
                ("[$@]", "[]"),
                ("[$?]", "[]"),
                ("[$#]", "[]"),
            ],
        );
        Ok(())
    });
}

#[test]
fn where_variables_are_expanded() {
    row(|lab| {
        lab.tree("src/file 0644 x");
        let config = lab
            .build(
                r#"
                ARG IMAGE=base
                FROM ${IMAGE}
                ARG V=v S=src D=dir PORT=80 SIG=SIGINT WHO=app N=1
                ENV E=$V
                LABEL l=$V
                ADD $S/file /$D/
                COPY ${S} /${D}/copied/
                EXPOSE $PORT
                STOPSIGNAL $SIG
                VOLUME /vol-$V
                WORKDIR /work-$V
                USER $WHO
                ARG M=$V$V
                RUN test "$M" = vv && test -e /dir/file && test -e /dir/copied/file
                RUN echo '$V' ${V} && test '$V' != v
                ONBUILD LABEL late=$LATE
                ONBUILD RUN true $V
                CMD echo $V
                ENTRYPOINT ["$V"]
                "#,
            )
            .args(&["--tag", "expanded"])
            .config();
        let of = |name: &str| config["config"][name].to_string();
        assert!(of("Env").contains("E=v"), "{config}");
        assert_eq!(of("Labels"), r#"{"l":"v"}"#);
        assert_eq!(of("ExposedPorts"), r#"{"80/tcp":{}}"#);
        assert_eq!(of("StopSignal"), "\"SIGINT\"");
        assert_eq!(of("Volumes"), r#"{"/vol-v":{}}"#);
        assert_eq!(of("WorkingDir"), "\"/work-v\"");
        assert_eq!(of("User"), "\"app\"");
        assert_eq!(of("Cmd"), r#"["/bin/sh","-c","echo $V"]"#);
        assert_eq!(of("Entrypoint"), r#"["$V"]"#);
        Ok(())
    });
}
