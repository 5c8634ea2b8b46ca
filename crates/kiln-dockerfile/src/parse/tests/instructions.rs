//! Each instruction in its forms.

use expect_test::expect;

use super::check;

#[test]
fn run_shell_and_exec() {
    check(
        r#"FROM scratch
RUN echo "a" 'b' $c
RUN ["/bin/echo", "a \"b\" \u00e9"]
RUN []
RUN
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "echo \"a\" 'b' $c"
              RUN exec ["/bin/echo", "a \"b\" é"]
              RUN exec []
              RUN shell ""
            ? 5: `RUN` without a command @ "RUN"
        "#]],
    );
}

#[test]
fn json_that_is_not_quite_json() {
    check(
        r#"FROM scratch
RUN ['a', 'b']
CMD ["a", "b",]
RUN [ -f x ] && [ -d y ]
RUN [ "$a" = b ]
ENTRYPOINT ["a" "b"]
"#,
        expect![[r#"
            FROM "scratch"
              RUN shell "['a', 'b']"
              CMD shell "[\"a\", \"b\",]"
              RUN shell "[ -f x ] && [ -d y ]"
              RUN shell "[ \"$a\" = b ]"
              ENTRYPOINT shell "[\"a\" \"b\"]"
            ? 2: not a JSON array, so taken as text @ "['a', 'b']" -> JSON has double quotes, and no comma after the last item
            ? 3: not a JSON array, so taken as text @ "[\"a\", \"b\",]" -> JSON has double quotes, and no comma after the last item
            ? 6: not a JSON array, so taken as text @ "[\"a\" \"b\"]" -> JSON has double quotes, and no comma after the last item
        "#]],
    );
}

#[test]
fn json_with_other_things_than_strings() {
    check(
        r#"FROM scratch
RUN ["a", 1]
CMD [["a"]]
COPY [null, "b"]
"#,
        expect![[r#"
            FROM "scratch"
            ! 2: an array in JSON syntax can have strings only @ "[\"a\", 1]"
            ! 3: an array in JSON syntax can have strings only @ "[[\"a\"]]"
            ! 4: an array in JSON syntax can have strings only @ "[null, \"b\"]"
        "#]],
    );
}

#[test]
fn cmd_and_entrypoint() {
    check(
        r#"FROM scratch
CMD ["a"]
CMD a b
CMD []
CMD
ENTRYPOINT [ "a" , "b" ]
ENTRYPOINT exec a
"#,
        expect![[r#"
            FROM "scratch"
              CMD exec ["a"]
              CMD shell "a b"
              CMD exec []
              CMD shell ""
              ENTRYPOINT exec ["a", "b"]
              ENTRYPOINT shell "exec a"
        "#]],
    );
}

#[test]
fn env_lists() {
    check(
        r#"FROM scratch
ENV a=b c="d e" f='g h' i=j\ k l=
ENV a=$b"c"${d:-e f}
"#,
        expect![[r#"
            FROM "scratch"
              ENV a="b" c="\"d e\"" f="'g h'" i="j\\ k" l=""
            ! 3: can't find `=` in `f}` @ "f}" -> write `name=value`, with quotes round a value that has spaces
        "#]],
    );
}

#[test]
fn env_legacy() {
    check(
        r#"FROM scratch
ENV name the  whole rest=x "quoted"
ENV name
ENV name 
ENV
"#,
        expect![[r#"
            FROM "scratch"
              ENV name="the  whole rest=x \"quoted\"" (legacy)
            ! 3: `ENV` must have two arguments @ "name" -> write `ENV name=value`
            ! 4: `ENV` must have two arguments @ "name" -> write `ENV name=value`
            ! 5: `ENV` requires at least one argument @ "ENV"
        "#]],
    );
}

#[test]
fn env_errors() {
    check(
        r#"FROM scratch
ENV a=b c
ENV =b
ENV a=b "c d"=e
"#,
        expect![[r#"
            FROM "scratch"
              ENV a="b" "c d"="e"
            ! 2: can't find `=` in `c` @ "c" -> write `name=value`, with quotes round a value that has spaces
            ! 3: `ENV` names can not be blank @ "=b"
        "#]],
    );
}

#[test]
fn label() {
    check(
        r#"FROM scratch
LABEL a=b "c d"="e f" g.h/i='j'
LABEL old way of it
"#,
        expect![[r#"
            FROM "scratch"
              LABEL a="b" "c d"="\"e f\"" g.h/i="'j'"
              LABEL old="way of it" (legacy)
        "#]],
    );
}

#[test]
fn arg() {
    check(
        r#"FROM scratch
ARG a
ARG a= b="" c="d e" f='g'
ARG =x
ARG
ARG --flag a
"#,
        expect![[r#"
            FROM "scratch"
              ARG a
              ARG a="" b="\"\"" c="\"d e\"" f="'g'"
              ARG a
            ! 4: `ARG` names can not be blank @ "=x"
            ! 5: `ARG` requires at least one argument @ "ARG"
            ? 6: `--flag` has no effect on `ARG` @ "--flag"
        "#]],
    );
}

#[test]
fn expose() {
    check(
        r#"FROM scratch
EXPOSE 80 443/tcp 8000-8010/udp $p/${q}
EXPOSE
EXPOSE --x 80
"#,
        expect![[r#"
            FROM "scratch"
              EXPOSE "80" "443/tcp" "8000-8010/udp" "$p/${q}"
            ! 3: `EXPOSE` requires at least one argument @ "EXPOSE"
            ! 4: unknown flag `--x` @ "--x"
        "#]],
    );
}

#[test]
fn volume() {
    check(
        r#"FROM scratch
VOLUME /a /b
VOLUME ["/c d", "/e"]
VOLUME
VOLUME [""]
VOLUME []
"#,
        expect![[r#"
            FROM "scratch"
              VOLUME "/a" "/b"
              VOLUME "/c d" "/e"
            ! 4: `VOLUME` requires at least one argument @ "VOLUME"
            ! 5: a volume can not be an empty string @ "[\"\"]"
            ! 6: `VOLUME` requires at least one argument @ "[]"
        "#]],
    );
}

#[test]
fn user_and_workdir() {
    check(
        r#"FROM scratch
USER a:b
USER "a" b
USER
WORKDIR /a b/c
WORKDIR
WORKDIR --x /a
"#,
        expect![[r#"
            FROM "scratch"
              USER "a:b"
              USER "\"a\" b"
              WORKDIR "/a b/c"
            ! 4: `USER` requires exactly one argument @ "USER"
            ! 6: `WORKDIR` requires exactly one argument @ "WORKDIR"
            ! 7: unknown flag `--x` @ "--x"
        "#]],
    );
}

#[test]
fn shell() {
    check(
        r#"FROM scratch
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
SHELL /bin/bash -c
SHELL []
SHELL
"#,
        expect![[r#"
            FROM "scratch"
              SHELL ["/bin/bash", "-o", "pipefail", "-c"]
            ! 3: `SHELL` requires the arguments to be in JSON form @ "/bin/bash -c" -> write `SHELL ["/bin/bash", "-c"]`
            ! 4: `SHELL` requires at least one argument @ "[]"
            ! 5: `SHELL` requires at least one argument @ "SHELL"
        "#]],
    );
}

#[test]
fn stopsignal() {
    check(
        r#"FROM scratch
STOPSIGNAL SIGTERM
STOPSIGNAL $s
STOPSIGNAL
STOPSIGNAL --x 9
"#,
        expect![[r#"
            FROM "scratch"
              STOPSIGNAL "SIGTERM"
              STOPSIGNAL "$s"
              STOPSIGNAL "9"
            ! 4: `STOPSIGNAL` requires exactly one argument @ "STOPSIGNAL"
            ? 5: `--x` has no effect on `STOPSIGNAL` @ "--x"
        "#]],
    );
}

#[test]
fn maintainer() {
    check(
        r#"FROM scratch
MAINTAINER A. Uthor <a@example.com>
MAINTAINER
"#,
        expect![[r#"
            FROM "scratch"
              MAINTAINER "A. Uthor <a@example.com>"
            ! 3: `MAINTAINER` requires exactly one argument @ "MAINTAINER"
        "#]],
    );
}

#[test]
fn healthcheck() {
    check(
        r#"FROM scratch
HEALTHCHECK NONE
HEALTHCHECK CMD curl -f localhost
HEALTHCHECK --interval=5s --timeout=1m30s --start-period=0 --start-interval=1ms --retries=3 cmd ["a", "b"]
"#,
        expect![[r#"
            FROM "scratch"
              HEALTHCHECK NONE
              HEALTHCHECK 0ns 0ns 0ns 0ns 0 shell "curl -f localhost"
              HEALTHCHECK 5s 90s 0ns 1ms 3 exec ["a", "b"]
        "#]],
    );
}

#[test]
fn healthcheck_errors() {
    check(
        r#"FROM scratch
HEALTHCHECK
HEALTHCHECK NONE x
HEALTHCHECK CMD
HEALTHCHECK CMD []
HEALTHCHECK curl
HEALTHCHECK --interval=5 CMD a
HEALTHCHECK --interval=1us CMD a
HEALTHCHECK --retries=-1 --timeout=x CMD a
HEALTHCHECK --retries=x CMD a
HEALTHCHECK --interval=1s NONE
"#,
        expect![[r#"
            FROM "scratch"
              HEALTHCHECK NONE
            ! 2: `HEALTHCHECK` requires at least one argument @ "HEALTHCHECK"
            ! 3: `HEALTHCHECK NONE` takes no arguments @ "x"
            ! 4: missing command after `HEALTHCHECK CMD` @ "CMD"
            ! 5: missing command after `HEALTHCHECK CMD` @ "CMD"
            ! 6: unknown type `curl` of health check @ "curl" -> write `HEALTHCHECK CMD …`
            ! 7: invalid duration `5` @ "--interval=5" -> write it like `30s` or `1m30s`
            ! 8: `--interval` cannot be less than 1ms @ "--interval=1us"
            ! 9: `--retries` cannot be negative @ "--retries=-1"
            ! 9: invalid duration `x` @ "--timeout=x" -> write it like `30s` or `1m30s`
            ! 10: `x` is not a number of retries @ "--retries=x"
            ? 11: `--interval=1s` has no effect on `HEALTHCHECK` @ "--interval=1s"
        "#]],
    );
}

#[test]
fn copy() {
    check(
        r#"FROM scratch
COPY a /b
COPY a b c/
COPY ["a b", "c"]
COPY a
COPY
COPY []
"#,
        expect![[r#"
            FROM "scratch"
              COPY "a" -> "/b"
              COPY "a" "b" -> "c/"
              COPY "a b" -> "c"
            ! 5: `COPY` requires at least two arguments @ "a" -> write `COPY <source>… <destination>`
            ! 6: `COPY` requires at least two arguments @ "COPY" -> write `COPY <source>… <destination>`
            ! 7: `COPY` requires at least two arguments @ "[]" -> write `COPY <source>… <destination>`
        "#]],
    );
}

#[test]
fn copy_flags() {
    check(
        r#"FROM scratch
COPY --from=build --chown=a:b --chmod=u=rwX,go=rX --link --exclude=*.md --exclude=x --parents a b c/
COPY --link=false --parents=true --from="a" x y
COPY --from= x y
"#,
        expect![[r#"
            FROM "scratch"
              COPY --from="build" --chown="a:b" --chmod="u=rwX,go=rX" --link --exclude="*.md" --exclude="x" --parents "a" "b" -> "c/"
              COPY --from="a" --parents "x" -> "y"
              COPY "x" -> "y"
        "#]],
    );
}

#[test]
fn add_flags() {
    check(
        r#"FROM scratch
ADD --checksum=sha256:00 --keep-git-dir --unpack=false --chown=1 --chmod=755 --link --exclude=a https://example.com/x /y
ADD --keep-git-dir=false --unpack a b
ADD a
"#,
        expect![[r#"
            FROM "scratch"
              ADD --checksum="sha256:00" --chown="1" --chmod="755" --link --exclude="a" --keep-git-dir=true --unpack=false "https://example.com/x" -> "/y"
              ADD --keep-git-dir=false --unpack=true "a" -> "b"
            ! 4: `ADD` requires at least two arguments @ "a" -> write `ADD <source>… <destination>`
        "#]],
    );
}

#[test]
fn onbuild() {
    check(
        r#"FROM scratch
ONBUILD RUN a && \
  b
onbuild copy --from=x a b
ONBUILD ENV a=b
"#,
        expect![[r#"
            FROM "scratch"
              ONBUILD "RUN a &&   b" => RUN shell "a &&   b"
              ONBUILD "copy --from=x a b" => COPY --from="x" "a" -> "b"
              ONBUILD "ENV a=b" => ENV a="b"
        "#]],
    );
}

#[test]
fn onbuild_keeps_blanks_at_the_end() {
    check(
        r#"FROM scratch
ONBUILD RUN a  
"#,
        expect![[r#"
            FROM "scratch"
              ONBUILD "RUN a  " => RUN shell "a"
        "#]],
    );
}

#[test]
fn onbuild_errors() {
    check(
        r#"FROM scratch
ONBUILD
ONBUILD ONBUILD RUN a
ONBUILD FROM a
ONBUILD maintainer a
ONBUILD RUNN a
ONBUILD COPY a
"#,
        expect![[r#"
            FROM "scratch"
              ONBUILD "RUNN a" => ?
              ONBUILD "COPY a" => ?
            ! 2: `ONBUILD` requires at least one argument @ "ONBUILD"
            ! 3: `ONBUILD` isn't allowed as an `ONBUILD` trigger @ "ONBUILD"
            ! 4: `FROM` isn't allowed as an `ONBUILD` trigger @ "FROM"
            ! 5: `MAINTAINER` isn't allowed as an `ONBUILD` trigger @ "maintainer"
            ? 6: the trigger will fail: unknown instruction `RUNN` @ "RUNN" -> did you mean `RUN`?
            ? 7: the trigger will fail: `COPY` requires at least two arguments @ "a" -> write `COPY <source>… <destination>`
        "#]],
    );
}

#[test]
fn from_errors() {
    check(
        r#"FROM
FROM a AS
FROM a OS b
FROM a as b c
FROM a AS ünder
FROM --platfrom=x a
FROM --platform a
"#,
        expect![[r#"
            FROM ""
            FROM "a"
            FROM "a"
            FROM "a"
            FROM "a"
            FROM "a"
            FROM "a"
            ! 1: `FROM` requires either one or three arguments @ "FROM" -> write `FROM <image> [AS <name>]`
            ! 2: `FROM` requires either one or three arguments @ "a AS" -> write `FROM <image> [AS <name>]`
            ! 3: `FROM` requires either one or three arguments @ "a OS b" -> write `FROM <image> [AS <name>]`
            ! 4: `FROM` requires either one or three arguments @ "a as b c" -> write `FROM <image> [AS <name>]`
            ! 5: invalid name for build stage: `ünder` @ "ünder" -> a name begins with a letter and has letters, digits, `-`, `_` and `.`
            ! 6: unknown flag `--platfrom` @ "--platfrom=x" -> did you mean `--platform`?
            ! 7: missing a value on flag `--platform` @ "--platform" -> write `--platform=…`
        "#]],
    );
}
