//! Physical and logical lines, directives, comments and recovery.

use expect_test::expect;

use super::check;

#[test]
fn the_empty_file_is_an_error() {
    check(
        r#""#,
        expect![[r#"
        ! 1: the file has no instructions @ "" -> begin a stage with `FROM <image>`
    "#]],
    );
}

#[test]
fn a_file_of_comments_is_an_error() {
    check(
        r#"# nothing

   # here
"#,
        expect![[r#"
            ! 1: the file has no instructions @ "" -> begin a stage with `FROM <image>`
        "#]],
    );
}

#[test]
fn a_file_without_a_stage_is_an_error() {
    check(
        r#"ARG a=1
"#,
        expect![[r#"
            ARG a="1"
            ! 1: the file has no stages to build @ "" -> begin a stage with `FROM <image>`
        "#]],
    );
}

#[test]
fn keywords_have_no_case() {
    check(
        r#"from scratch as A
rUn true
"#,
        expect![[r#"
            FROM "scratch" AS a
              RUN shell "true"
        "#]],
    );
}

#[test]
fn leading_blanks_and_tabs_do_not_matter() {
    check(
        r#"  FROM 	 scratch
	 RUN   echo  a   b  
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "echo  a   b"
        "#]],
    );
}

#[test]
fn the_last_line_needs_no_newline() {
    check(
        r#"FROM scratch
RUN a"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "a"
        "#]],
    );
}

#[test]
fn windows_line_ends() {
    check(
        "FROM scratch\r\nRUN a && \\\r\n  b\r\nENV a=b\r\n",
        expect![[r#"
            FROM "scratch"
              RUN shell "a &&   b"
              ENV a="b"
        "#]],
    );
}

#[test]
fn a_byte_order_mark_is_skipped() {
    check(
        "﻿FROM scratch\n",
        expect![[r#"
        FROM "scratch"
    "#]],
    );
}

#[test]
fn a_byte_order_mark_before_a_directive() {
    check(
        "﻿# escape=`\nFROM scratch\nRUN a `\n b\n",
        expect![[r##"
        # escape=`
        FROM "scratch"
          RUN shell "a  b"
    "##]],
    );
}

#[test]
fn continuations_keep_the_blanks_that_follow() {
    check(
        r#"FROM scratch
RUN a \
    b\
c
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "a     bc"
        "#]],
    );
}

#[test]
fn blanks_after_the_escape_character_are_allowed() {
    check(
        r#"FROM scratch
RUN a \  	
  b
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "a   b"
        "#]],
    );
}

#[test]
fn comments_inside_a_continuation_vanish() {
    check(
        r#"FROM scratch
RUN a && \
# one
   # two
  b # three
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "a &&   b # three"
        "#]],
    );
}

#[test]
fn empty_lines_inside_a_continuation_are_warned_of() {
    check(
        r#"FROM scratch
RUN a && \

  
  b
RUN c
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "a &&   b"
              RUN shell "c"
        "#]],
    );
}

#[test]
fn an_escaped_escape_character_does_not_continue() {
    check(
        r#"FROM scratch
RUN a \\
RUN b \\\
RUN c
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "a \\\\"
              RUN shell "b \\\\\\"
              RUN shell "c"
        "#]],
    );
}

#[test]
fn a_continuation_at_the_end_of_the_file() {
    check(
        r#"FROM scratch
RUN a \
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "a"
        "#]],
    );
}

#[test]
fn only_a_continuation() {
    check(
        r#"FROM scratch
\
RUN a
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "a"
        "#]],
    );
}

#[test]
fn a_comment_is_not_continued() {
    check(
        r#"FROM scratch
# a comment \
RUN a
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "a"
        "#]],
    );
}

#[test]
fn the_escape_directive() {
    check(
        r#"# escape=`
FROM scratch
RUN a `
  c:\
ENV a=`"b
"#,
        expect![[r##"
            # escape=`
            FROM "scratch"
              RUN shell "a   c:\\"
              ENV a="`\"b"
        "##]],
    );
}

#[test]
fn the_escape_directive_can_be_indented_and_spaced() {
    check(
        r#"  #   EsCaPe  =   `  
FROM scratch
RUN a `
 b
"#,
        expect![[r##"
            # escape=`
            FROM "scratch"
              RUN shell "a  b"
        "##]],
    );
}

#[test]
fn the_escape_directive_has_two_values() {
    check(
        r#"# escape=x
FROM scratch
"#,
        expect![[r#"
            FROM "scratch"
            ! 1: invalid escape character `x` @ "x" -> it can be `\` or a backtick
        "#]],
    );
}

#[test]
fn a_directive_after_a_comment_is_a_comment() {
    check(
        r#"# hello
# escape=`
FROM scratch
RUN a `
RUN b
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "a `"
              RUN shell "b"
        "#]],
    );
}

#[test]
fn a_directive_after_an_empty_line_is_a_comment() {
    check(
        r#"
# escape=`
FROM scratch
RUN a `
RUN b
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "a `"
              RUN shell "b"
        "#]],
    );
}

#[test]
fn unknown_directives_end_the_directives() {
    check(
        r#"# foo=bar
# escape=`
FROM scratch
RUN a `
RUN b
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "a `"
              RUN shell "b"
        "#]],
    );
}

#[test]
fn directives_come_once() {
    check(
        r#"# escape=`
# escape=\
FROM scratch
"#,
        expect![[r##"
            # escape=`
            FROM "scratch"
            ! 2: only one `escape` parser directive can be used @ "# escape=\\"
        "##]],
    );
}

#[test]
fn the_syntax_and_check_directives() {
    check(
        r#"# syntax=docker/dockerfile:1 and more
# check=skip=JSONArgsRecommended;error=true
FROM scratch
"#,
        expect![[r##"
            # syntax=docker/dockerfile:1
            # check=skip=JSONArgsRecommended;error=true
            FROM "scratch"
        "##]],
    );
}

#[test]
fn a_shebang_line_hides_escape_but_not_syntax() {
    check(
        r#"#!/usr/bin/env -S docker build
# syntax=docker/dockerfile:1
# escape=`
FROM scratch
RUN a `
RUN b
"#,
        expect![[r##"
            # syntax=docker/dockerfile:1
            FROM "scratch"
              RUN shell "a `"
              RUN shell "b"
        "##]],
    );
}

#[test]
fn syntax_in_a_double_slash_comment() {
    check(
        r#"// syntax=example.com/other
FROM scratch
"#,
        expect![[r##"
            # syntax=example.com/other
            FROM "scratch"
            ! 1: unknown instruction `//` @ "//"
        "##]],
    );
}

#[test]
fn syntax_in_json() {
    check(
        r#"{"syntax": "example.com/other"}"#,
        expect![[r##"
        # syntax=example.com/other
        ! 1: unknown instruction `{"syntax":` @ "{\"syntax\":"
    "##]],
    );
}

#[test]
fn an_unknown_instruction_gets_a_suggestion() {
    check(
        r#"FROM scratch
RUNN make
COPPY a b
%% x
RUN ok
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "ok"
            ! 2: unknown instruction `RUNN` @ "RUNN" -> did you mean `RUN`?
            ! 3: unknown instruction `COPPY` @ "COPPY" -> did you mean `COPY`?
            ! 4: unknown instruction `%%` @ "%%"
        "#]],
    );
}

#[test]
fn every_error_is_told() {
    check(
        r#"FROM
FROM a b
FROM a AS 1x
ENV
WORKDIR
RUN ok
"#,
        expect![[r#"
            FROM ""
            FROM "a"
            FROM "a"
              RUN shell "ok"
            ! 1: `FROM` requires either one or three arguments @ "FROM" -> write `FROM <image> [AS <name>]`
            ! 2: `FROM` requires either one or three arguments @ "a b" -> write `FROM <image> [AS <name>]`
            ! 3: invalid name for build stage: `1x` @ "1x" -> a name begins with a letter and has letters, digits, `-`, `_` and `.`
            ! 4: `ENV` requires at least one argument @ "ENV"
            ! 5: `WORKDIR` requires exactly one argument @ "WORKDIR"
        "#]],
    );
}

#[test]
fn instructions_before_the_first_stage() {
    check(
        r#"RUN a
ARG b=1
ENV c=d
FROM scratch
"#,
        expect![[r#"
            ARG b="1"
            FROM "scratch"
            ! 1: `RUN` before the first `FROM` @ "RUN a" -> only `ARG` can come before it
            ! 3: `ENV` before the first `FROM` @ "ENV c=d" -> only `ARG` can come before it
        "#]],
    );
}

#[test]
fn stages_and_their_names() {
    check(
        r#"ARG V=1 W
FROM a:$V AS Build-1
RUN x
FROM --platform=$BUILDPLATFORM build-1 AS b.c_d
FROM 0
"#,
        expect![[r#"
            ARG V="1" W
            FROM "a:$V" AS build-1
              RUN shell "x"
            FROM --platform="$BUILDPLATFORM" "build-1" AS b.c_d
            FROM "0"
        "#]],
    );
}

#[test]
fn wide_characters() {
    check(
        r#"FROM scratch
RUN écho "日本" \
  ünd so
ENV ключ=значение
LÄBEL a=b
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "écho \"日本\"   ünd so"
              ENV ключ="значение"
            ! 5: unknown instruction `LÄBEL` @ "LÄBEL" -> did you mean `LABEL`?
        "#]],
    );
}

#[test]
fn other_white_space_is_not_a_separator() {
    check(
        "FROM scratch\nRUN\u{a0}a\nENV a=b\u{2003}c=d\n",
        expect![[r#"
            FROM "scratch"
              ENV a="b" c="d"
            ! 2: unknown instruction `RUN a` @ "RUN\u{a0}a"
        "#]],
    );
}

#[test]
fn null_bytes_and_control_characters() {
    check(
        "FROM scratch\nRUN a\u{0}b\u{1b}[0m\n\u{0}\n",
        expect![[r#"
            FROM "scratch"
              RUN shell "a\0b\u{1b}[0m"
            ! 3: unknown instruction `�` @ "\0"
        "#]],
    );
}
