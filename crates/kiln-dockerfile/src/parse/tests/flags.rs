//! Flags: quoting, repetition, and what is wrong with them.

use expect_test::expect;

use super::check;

#[test]
fn run_flags() {
    check(
        r#"FROM scratch
RUN --mount=type=cache,target=/c --mount=target=/b,from=x --network=none --security=sandbox --device=a make -j
RUN --network=host --security=insecure a
"#,
        expect![[r#"
            FROM "scratch"
              RUN --mount=["type=cache", "target=/c"] --mount=["target=/b", "from=x"] --network=None --security=Sandbox --device=a shell "make -j"
              RUN --network=Host --security=Insecure shell "a"
        "#]],
    );
}

#[test]
fn run_flag_errors() {
    check(
        r#"FROM scratch
RUN --mout=type=cache a
RUN --network=bridge a
RUN --security=none a
RUN --network=host --network=none a
RUN --mount=from=$x,target=/y a
RUN --mount='type=bind,"x' a
RUN --mount a
"#,
        expect![[r#"
            FROM "scratch"
            ! 2: unknown flag `--mout` @ "--mout=type=cache" -> did you mean `--mount`?
            ! 3: invalid network mode `bridge` @ "--network=bridge" -> it can be `default`, `none` or `host`
            ! 4: invalid security mode `none` @ "--security=none" -> it can be `sandbox` or `insecure`
            ! 5: duplicate flag `--network` @ "--network=none"
            ! 6: `from` doesn't support variable expansion @ "--mount=from=$x,target=/y" -> define an alias stage with `FROM` and name that
            ! 7: the fields of the mount are not valid CSV @ "--mount='type=bind,\"x'"
            ! 8: missing a value on flag `--mount` @ "--mount" -> write `--mount=…`
        "#]],
    );
}

#[test]
fn flags_can_be_quoted() {
    check(
        r#"FROM scratch
RUN --mount='type=bind,"target=/a,b"' a
COPY --chown="a b" x y
COPY "--chown=a" x y
COPY --chown=a\ b x y
"#,
        expect![[r#"
            FROM "scratch"
              RUN --mount=["type=bind", "target=/a,b"] shell "a"
              COPY --chown="a b" "x" -> "y"
              COPY "\"--chown=a\"" "x" -> "y"
              COPY --chown="a b" "x" -> "y"
        "#]],
    );
}

#[test]
fn two_dashes_end_the_flags() {
    check(
        r#"FROM scratch
COPY -- --from a
RUN -- --network=none
RUN --
"#,
        expect![[r#"
            FROM "scratch"
              COPY "--from" -> "a"
              RUN shell "--network=none"
              RUN shell ""
            ? 4: `RUN` without a command @ "RUN"
        "#]],
    );
}

#[test]
fn flags_only_count_before_the_arguments() {
    check(
        r#"FROM scratch
COPY a --from=b c
RUN a --network=none
"#,
        expect![[r#"
            FROM "scratch"
              COPY "a" "--from=b" -> "c"
              RUN shell "a --network=none"
        "#]],
    );
}

#[test]
fn boolean_flags() {
    check(
        r#"FROM scratch
COPY --link=TRUE a b
COPY --link= a b
COPY --link=yes a b
COPY --link --link a b
COPY --chown a b
"#,
        expect![[r#"
            FROM "scratch"
              COPY --link "a" -> "b"
            ! 3: missing a value on flag `--link` @ "--link=" -> write `--link=…`
            ! 4: `yes` is not a boolean value for flag `--link` @ "--link=yes"
            ! 5: duplicate flag `--link` @ "--link"
            ! 6: missing a value on flag `--chown` @ "--chown" -> write `--chown=…`
        "#]],
    );
}

#[test]
fn unknown_flags_get_a_suggestion() {
    check(
        r#"FROM scratch
COPY --form=x a b
COPY --checksum=x a b
ADD --from=x a b
ADD --keep-git a b
ENV --x a=b
CMD --x a
COPY --=x a b
"#,
        expect![[r#"
            FROM "scratch"
            ! 2: unknown flag `--form` @ "--form=x" -> did you mean `--from`?
            ! 3: unknown flag `--checksum` @ "--checksum=x"
            ! 4: unknown flag `--from` @ "--from=x"
            ! 5: unknown flag `--keep-git` @ "--keep-git"
            ! 6: unknown flag `--x` @ "--x"
            ! 7: unknown flag `--x` @ "--x"
            ! 8: unknown flag `--` @ "--=x"
        "#]],
    );
}

#[test]
fn flags_continue_over_lines() {
    check(
        r#"FROM scratch
RUN --network=none \
  # a comment
  --security=insecure \
  make
"#,
        expect![[r#"
            FROM "scratch"
              RUN --network=None --security=Insecure shell "make"
        "#]],
    );
}
