//! Heredocs.

use expect_test::expect;

use super::check;

#[test]
fn run_a_body() {
    check(
        r#"FROM scratch
RUN <<EOF
echo a
  $b
EOF
RUN c
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "<<EOF" <<EOF("echo a\n  $b\n") => body "echo a\n  $b\n"
              RUN shell "c"
        "#]],
    );
}

#[test]
fn run_a_body_with_tabs() {
    check(
        r#"FROM scratch
RUN <<-EOF
	echo a
		b
	EOF
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "<<-EOF" <<-EOF("echo a\nb\n") => body "echo a\nb\n"
        "#]],
    );
}

#[test]
fn run_a_quoted_body() {
    check(
        r#"FROM scratch
RUN <<'EOF'
echo $a
EOF
RUN <<"E O F"
x
E O F
RUN << EOF
y
EOF
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "<<'EOF'" <<EOF raw("echo $a\n") => body "echo $a\n"
              RUN shell "<<\"E O F\"" <<E O F raw("x\n") => body "x\n"
              RUN shell "<< EOF" <<EOF("y\n") => body "y\n"
        "#]],
    );
}

#[test]
fn run_a_script() {
    check(
        r#"FROM scratch
RUN <<EOF
#!/usr/bin/env python3
print(1)
EOF
RUN <<-X
	#!/bin/sh
	echo
X
"#,
        expect![[r##"
            FROM "scratch"
              RUN shell "<<EOF" <<EOF("#!/usr/bin/env python3\nprint(1)\n") => script EOF "#!/usr/bin/env python3\nprint(1)\n"
              RUN shell "<<-X" <<-X("#!/bin/sh\necho\n") => script X "#!/bin/sh\necho\n"
        "##]],
    );
}

#[test]
fn run_a_command_with_heredocs() {
    check(
        r#"FROM scratch
RUN cat <<A > /a && cat 3<<-B <<'C' > /b
one
A
	two
	B
three
C
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "cat <<A > /a && cat 3<<-B <<'C' > /b" <<A("one\n") 3<<-B("two\n") <<C raw("three\n") => shell "cat <<A > /a && cat 3<<-B <<'C' > /b\none\nA\n\ttwo\nB\nthree\nC"
        "#]],
    );
}

#[test]
fn heredocs_are_found_in_the_joined_line() {
    check(
        r#"FROM scratch
RUN cat \
  # comment
  <<A \
  | sort
# not a comment
b \
a
A
"#,
        expect![[r##"
            FROM "scratch"
              RUN shell "cat   <<A   | sort" <<A("# not a comment\nb \\\na\n") => shell "cat   <<A   | sort\n# not a comment\nb \\\na\nA"
        "##]],
    );
}

#[test]
fn an_empty_body() {
    check(
        r#"FROM scratch
RUN <<EOF
EOF
COPY <<EOF /a
EOF
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "<<EOF" <<EOF("") => body ""
              COPY <<EOF("") -> "/a"
        "#]],
    );
}

#[test]
fn a_body_without_end() {
    check(
        r#"FROM scratch
RUN <<EOF
echo
"#,
        expect![[r#"
            FROM "scratch"
            ! 2: unterminated heredoc `EOF` @ "<<EOF" -> end it with a line that is only `EOF`
        "#]],
    );
}

#[test]
fn a_body_with_windows_line_ends() {
    check(
        "FROM scratch\r\nRUN <<EOF\r\necho\r\nEOF\r\nRUN b\r\n",
        expect![[r#"
            FROM "scratch"
              RUN shell "<<EOF" <<EOF("echo\r\n") => body "echo\r\n"
              RUN shell "b"
        "#]],
    );
}

#[test]
fn here_strings_and_shifts_are_not_heredocs() {
    check(
        r#"FROM scratch
RUN cat <<<word
RUN echo $((1 << 2))
RUN echo "<<EOF"
RUN echo 'a' \<<b
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "cat <<<word"
            ! 3: unterminated heredoc `2))` @ "<< 2))" -> end it with a line that is only `2))`
        "#]],
    );
}

#[test]
fn an_odd_quote_hides_a_heredoc() {
    check(
        r#"FROM scratch
RUN echo it's <<EOF
EOF
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "echo it's <<EOF"
            ! 3: unknown instruction `EOF` @ "EOF"
        "#]],
    );
}

#[test]
fn no_heredocs_in_json() {
    check(
        r#"FROM scratch
RUN ["cat", "<<EOF"]
COPY ["<<EOF", "/a"]
"#,
        expect![[r#"
            FROM "scratch"
              RUN exec ["cat", "<<EOF"]
            ! 3: heredoc `EOF` has no body @ "[\"<<EOF\", \"/a\"]" -> a heredoc can't be used in the JSON form
        "#]],
    );
}

#[test]
fn no_heredocs_elsewhere() {
    check(
        r#"FROM scratch
ENV a=<<EOF
CMD cat <<EOF
"#,
        expect![[r#"
            FROM "scratch"
              ENV a="<<EOF"
              CMD shell "cat <<EOF"
        "#]],
    );
}

#[test]
fn copy_files() {
    check(
        r#"FROM scratch
COPY <<a.txt <<-"b.txt" c /d/
one $x
a.txt
	two
b.txt
"#,
        expect![[r#"
            FROM "scratch"
              COPY <<a.txt("one $x\n") <<-b.txt raw("two\n") "c" -> "/d/"
        "#]],
    );
}

#[test]
fn add_a_file() {
    check(
        r#"FROM scratch
ADD --chmod=600 <<EOF /a
x
EOF
"#,
        expect![[r#"
            FROM "scratch"
              ADD --chmod="600" <<EOF("x\n") -> "/a"
        "#]],
    );
}

#[test]
fn a_destination_cannot_be_a_heredoc() {
    check(
        r#"FROM scratch
COPY a <<EOF
x
EOF
"#,
        expect![[r#"
            FROM "scratch"
            ! 2: `COPY` cannot accept a heredoc as a destination @ "<<EOF"
        "#]],
    );
}

#[test]
fn two_heredocs_of_one_name() {
    check(
        r#"FROM scratch
RUN cat <<A <<A
one
A
two
A
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "cat <<A <<A" <<A("one\n") <<A("two\n") => shell "cat <<A <<A\none\nA\ntwo\nA"
        "#]],
    );
}

#[test]
fn onbuild_with_a_heredoc() {
    check(
        r#"FROM scratch
ONBUILD RUN <<EOF
echo a
EOF
ONBUILD COPY <<-X /a
	b
	X
"#,
        expect![[r#"
            FROM "scratch"
              ONBUILD "RUN <<EOF\necho a\nEOF" => RUN shell "<<EOF" <<EOF("echo a\n") => body "echo a\n"
              ONBUILD "COPY <<-X /a\n\tb\nX" => COPY <<-X("b\n") -> "/a"
        "#]],
    );
}

#[test]
fn an_expansion_in_a_delimiter() {
    check(
        r#"FROM scratch
RUN <<$A
x
$A
RUN <<\B
y
B
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "<<$A" <<$A("x\n") => body "x\n"
              RUN shell "<<\\B" <<B("y\n") => body "y\n"
        "#]],
    );
}
