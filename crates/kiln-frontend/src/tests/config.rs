//! Instructions that change the configuration, and what the history says.

use expect_test::expect;

use super::{check, check_with, options};
use crate::LowerOptions;

#[test]
fn commands() {
    check(
        r#"FROM debian
CMD ["a", "b c"]
ENTRYPOINT ["/x"]
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64 *    -- [1/1] FROM docker.io/library/debian:latest
            entrypoint Some(["/x"])
            cmd Some(["a", "b c"])
            base  base
            empty CMD ["a" "b c"]
            empty ENTRYPOINT ["/x"]
        "#]],
    );
}

#[test]
fn an_entrypoint_resets_the_command_of_the_base() {
    check(
        r#"FROM full
ENTRYPOINT ["/new"]
"#,
        expect![[r#"
            needs docker.io/library/full:latest for linux/amd64
            0() image docker.io/library/full:latest linux/amd64 *    -- [1/1] FROM docker.io/library/full:latest
            user app
            env ["PATH=/bin", "BASE=yes"]
            entrypoint Some(["/new"])
            workdir /srv
            shell Some(["/bin/bash", "-c"])
            base  base
            empty ENTRYPOINT ["/new"]
        "#]],
    );
}

#[test]
fn an_entrypoint_keeps_the_command_of_the_stage() {
    check(
        r#"FROM full
CMD ["mine"]
ENTRYPOINT ["/new"]
"#,
        expect![[r#"
            needs docker.io/library/full:latest for linux/amd64
            0() image docker.io/library/full:latest linux/amd64 *    -- [1/1] FROM docker.io/library/full:latest
            user app
            env ["PATH=/bin", "BASE=yes"]
            entrypoint Some(["/new"])
            cmd Some(["mine"])
            workdir /srv
            shell Some(["/bin/bash", "-c"])
            base  base
            empty CMD ["mine"]
            empty ENTRYPOINT ["/new"]
        "#]],
    );
}

#[test]
fn an_entrypoint_resets_the_command_of_a_base_stage() {
    check(
        r#"FROM debian AS a
CMD ["a"]
FROM a
ENTRYPOINT ["b"]
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64 *    -- [a 1/1] FROM docker.io/library/debian:latest
            entrypoint Some(["b"])
            base  base
            empty CMD ["a"]
            empty ENTRYPOINT ["b"]
        "#]],
    );
}

#[test]
fn the_shell_form() {
    check(
        r#"FROM debian
CMD a "b" \
 c
ENTRYPOINT exec x
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64 *    -- [1/1] FROM docker.io/library/debian:latest
            entrypoint Some(["/bin/sh", "-c", "exec x"])
            cmd Some(["/bin/sh", "-c", "a \"b\"  c"])
            base  base
            empty CMD ["/bin/sh" "-c" "a \"b\"  c"]
            empty ENTRYPOINT ["/bin/sh" "-c" "exec x"]
            ? 2: the shell form of `CMD` keeps signals from the program @ "CMD a \"b\" \\\n c" -> write `CMD ["program", "argument"]`
            ? 4: the shell form of `ENTRYPOINT` keeps signals from the program @ "ENTRYPOINT exec x" -> write `ENTRYPOINT ["program", "argument"]`
        "#]],
    );
}

#[test]
fn the_shell_form_with_another_shell() {
    check(
        r#"FROM debian
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN a | b
CMD c
RUN ["d"]
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/3] FROM docker.io/library/debian:latest
            1(0) run ["/bin/bash", "-o", "pipefail", "-c", "a | b"]    -- [2/3] RUN a | b
            2(1) run ["d"] *    -- [3/3] RUN ["d"]
            cmd Some(["/bin/bash", "-o", "pipefail", "-c", "c"])
            shell Some(["/bin/bash", "-o", "pipefail", "-c"])
            base  base
            empty SHELL [/bin/bash -o pipefail -c]
            layer RUN /bin/bash -o pipefail -c a | b # buildkit
            empty CMD ["/bin/bash" "-o" "pipefail" "-c" "c"]
            layer RUN d # buildkit
        "#]],
    );
}

#[test]
fn empty_commands() {
    check(
        r#"FROM full
CMD []
ENTRYPOINT []
"#,
        expect![[r#"
            needs docker.io/library/full:latest for linux/amd64
            0() image docker.io/library/full:latest linux/amd64 *    -- [1/1] FROM docker.io/library/full:latest
            user app
            env ["PATH=/bin", "BASE=yes"]
            workdir /srv
            shell Some(["/bin/bash", "-c"])
            base  base
            empty CMD []
            empty ENTRYPOINT []
        "#]],
    );
}

#[test]
fn only_the_last_counts() {
    check(
        r#"FROM debian
CMD ["a"]
CMD ["b"]
HEALTHCHECK NONE
HEALTHCHECK CMD c
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64 *    -- [1/1] FROM docker.io/library/debian:latest
            cmd Some(["b"])
            health Some(Healthcheck { test: ["CMD-SHELL", "c"], interval: None, timeout: None, start_period: None, start_interval: None, retries: None })
            base  base
            empty CMD ["a"]
            empty CMD ["b"]
            empty HEALTHCHECK {Test:[NONE] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}
            empty HEALTHCHECK {Test:[CMD-SHELL c] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}
            ? 2: only the last `CMD` of a stage takes effect @ "CMD [\"a\"]" -> remove it
            ? 4: only the last `HEALTHCHECK` of a stage takes effect @ "HEALTHCHECK NONE" -> remove it
        "#]],
    );
}

#[test]
fn health_checks() {
    check(
        r#"FROM debian
HEALTHCHECK --interval=1m30s --timeout=500ms --retries=3 CMD curl -f "x"
RUN a
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/2] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "a"] *    -- [2/2] RUN a
            health Some(Healthcheck { test: ["CMD-SHELL", "curl -f \"x\""], interval: Some(90s), timeout: Some(500ms), start_period: None, start_interval: None, retries: Some(3) })
            base  base
            empty HEALTHCHECK {Test:[CMD-SHELL curl -f "x"] Interval:1m30s Timeout:500ms StartPeriod:0s StartInterval:0s Retries:3}
            layer RUN /bin/sh -c a # buildkit
        "#]],
    );
}

#[test]
fn a_health_check_as_words() {
    check(
        r#"FROM debian
HEALTHCHECK --start-period=2h CMD ["a", "b"]
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64 *    -- [1/1] FROM docker.io/library/debian:latest
            health Some(Healthcheck { test: ["CMD", "a", "b"], interval: None, timeout: None, start_period: Some(7200s), start_interval: None, retries: None })
            base  base
            empty HEALTHCHECK {Test:[CMD a b] Interval:0s Timeout:0s StartPeriod:2h0m0s StartInterval:0s Retries:0}
        "#]],
    );
}

#[test]
fn no_health_check() {
    check(
        r#"FROM debian
HEALTHCHECK NONE
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64 *    -- [1/1] FROM docker.io/library/debian:latest
            health Some(Healthcheck { test: ["NONE"], interval: None, timeout: None, start_period: None, start_interval: None, retries: None })
            base  base
            empty HEALTHCHECK {Test:[NONE] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}
        "#]],
    );
}

#[test]
fn ports() {
    check(
        r#"FROM debian
EXPOSE 9000-9002/udp 80 443/TCP
EXPOSE 80
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64 *    -- [1/1] FROM docker.io/library/debian:latest
            ports {"443/tcp", "80/tcp", "9000/udp", "9001/udp", "9002/udp"}
            base  base
            empty EXPOSE [443/tcp 80/tcp 9000/udp 9001/udp 9002/udp]
            empty EXPOSE [80/tcp]
            ? 2: the protocol of `443/TCP` is not in lower case @ "443/TCP" -> write `443/tcp`
        "#]],
    );
}

#[test]
fn wrong_ports() {
    check(
        r#"FROM debian
EXPOSE 80/foo
EXPOSE abc
EXPOSE 70000
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            ! 2: invalid port `80/foo`: unknown protocol `foo` @ "80/foo"
            ! 3: invalid port `abc` @ "abc"
            ! 4: invalid port `70000` @ "70000"
        "#]],
    );
}

#[test]
fn volumes_and_labels() {
    check(
        r#"FROM debian
VOLUME /a /b
VOLUME ["/c d"]
LABEL a=1 b="2 3"
LABEL a=4
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64 *    -- [1/1] FROM docker.io/library/debian:latest
            volumes {"/a", "/b", "/c d"}
            labels {"a": "4", "b": "2 3"}
            base  base
            empty VOLUME [/a /b]
            empty VOLUME [/c d]
            empty LABEL a=1 b=2 3
            empty LABEL a=4
        "#]],
    );
}

#[test]
fn labels_of_the_build_win() {
    check_with(
        &LowerOptions {
            labels: [("a".to_owned(), "2".to_owned())].into(),
            ..options()
        },
        r#"FROM debian
LABEL a=1
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64 *    -- [1/1] FROM docker.io/library/debian:latest
            labels {"a": "2"}
            base  base
            empty LABEL a=1
        "#]],
    );
}

#[test]
fn users_and_directories() {
    check(
        r#"FROM full
WORKDIR sub
USER root
WORKDIR ../../etc/
RUN x
WORKDIR /
WORKDIR /a//b/
WORKDIR rel
RUN y
"#,
        expect![[r#"
            needs docker.io/library/full:latest for linux/amd64
            0() image docker.io/library/full:latest linux/amd64    -- [1/8] FROM docker.io/library/full:latest
            1(0) workdir /srv/sub "app"    -- [2/8] WORKDIR sub
            2(1) workdir /etc "root"    -- [3/8] WORKDIR ../../etc/
            3(2) run ["/bin/bash", "-c", "x"] PATH="/bin" BASE="yes" in /etc as root    -- [4/8] RUN x
            4(3) workdir /a/b "root"    -- [6/8] WORKDIR /a//b/
            5(4) workdir /a/b/rel "root"    -- [7/8] WORKDIR rel
            6(5) run ["/bin/bash", "-c", "y"] PATH="/bin" BASE="yes" in /a/b/rel as root *    -- [8/8] RUN y
            user root
            env ["PATH=/bin", "BASE=yes"]
            entrypoint Some(["/entry"])
            cmd Some(["run"])
            workdir /a/b/rel
            shell Some(["/bin/bash", "-c"])
            base  base
            layer WORKDIR /srv/sub
            empty USER root
            layer WORKDIR /etc
            layer RUN /bin/bash -c x # buildkit
            empty WORKDIR /
            layer WORKDIR /a//b/
            layer WORKDIR /a/b/rel
            layer RUN /bin/bash -c y # buildkit
            ? 2: the working directory `sub` is relative @ "sub" -> begin it with `/`: it depends on what the base image says
        "#]],
    );
}

#[test]
fn a_relative_directory_first() {
    check(
        r#"FROM debian
WORKDIR app
WORKDIR sub
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/3] FROM docker.io/library/debian:latest
            1(0) workdir /app ""    -- [2/3] WORKDIR app
            2(1) workdir /app/sub "" *    -- [3/3] WORKDIR sub
            workdir /app/sub
            base  base
            layer WORKDIR /app
            layer WORKDIR /app/sub
            ? 2: the working directory `app` is relative @ "app" -> begin it with `/`: it depends on what the base image says
        "#]],
    );
}

#[test]
fn stop_signals() {
    check(
        r#"FROM debian
STOPSIGNAL SIGKILL
STOPSIGNAL 9
STOPSIGNAL rtmin+3
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64 *    -- [1/1] FROM docker.io/library/debian:latest
            stopsignal Some("rtmin+3")
            base  base
            empty STOPSIGNAL SIGKILL
            empty STOPSIGNAL 9
            empty STOPSIGNAL rtmin+3
        "#]],
    );
}

#[test]
fn wrong_stop_signals() {
    check(
        r#"FROM debian
STOPSIGNAL SIGNOPE
STOPSIGNAL 0
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            ! 2: `SIGNOPE` is not a signal @ "SIGNOPE"
            ! 3: `0` is not a signal @ "0"
        "#]],
    );
}

#[test]
fn a_maintainer() {
    check(
        r#"FROM debian
MAINTAINER Me <me@example.com>
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64 *    -- [1/1] FROM docker.io/library/debian:latest
            author Some("Me <me@example.com>")
            base  base
            empty MAINTAINER Me <me@example.com>
            ? 2: `MAINTAINER` is deprecated @ "MAINTAINER" -> use `LABEL org.opencontainers.image.authors=…`
        "#]],
    );
}

#[test]
fn run_with_heredocs() {
    check(
        r#"FROM debian
RUN <<EOF
echo a
echo b
EOF
RUN <<-SCRIPT
	#!/usr/bin/python3
	print(1)
SCRIPT
RUN cat <<A - <<B
one $x
A
two
B
"#,
        expect![[r##"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/4] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "echo a\necho b\n"]    -- [2/4] RUN <<EOF (echo a...)
            2(1) run ["/bin/sh", "-c", "/dev/pipes/SCRIPT"] <</dev/pipes/SCRIPT 755 "#!/usr/bin/python3\nprint(1)\n"    -- [3/4] RUN <<-SCRIPT (#!/usr/bin/python3...)
            3(2) run ["/bin/sh", "-c", "cat <<A - <<B\none $x\nA\ntwo\nB"] *    -- [4/4] RUN cat <<A - <<B
            base  base
            layer RUN /bin/sh -c echo a\necho b\n # buildkit
            layer RUN /bin/sh -c /dev/pipes/SCRIPT # buildkit
            layer RUN /bin/sh -c cat <<A - <<B\none $x\nA\ntwo\nB # buildkit
        "##]],
    );
}

#[test]
fn run_networks() {
    check(
        r#"FROM debian
RUN --network=none a
RUN --network=host b
RUN --network=default --security=sandbox c
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/4] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "a"] net None    -- [2/4] RUN --network=none a
            2(1) run ["/bin/sh", "-c", "b"] net Host    -- [3/4] RUN --network=host b
            3(2) run ["/bin/sh", "-c", "c"] *    -- [4/4] RUN --network=default --security=sandbox c
            base  base
            layer RUN /bin/sh -c a # buildkit
            layer RUN /bin/sh -c b # buildkit
            layer RUN /bin/sh -c c # buildkit
        "#]],
    );
}

#[test]
fn names_in_progress_have_their_variables_replaced() {
    check(
        r#"FROM debian
ENV A=1
run echo "$A" $B
copy "$A" /x
workdir /$A
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64    -- [1/4] FROM docker.io/library/debian:latest
            1(0) run ["/bin/sh", "-c", "echo \"$A\" $B"] A="1"    -- [2/4] RUN echo "1" $B
            2() context    -- [internal] load build context
            3(1,2) copy "1" from context to "/x"    -- [3/4] COPY 1 /x
            4(3) workdir /1 "" *    -- [4/4] WORKDIR /1
            env ["A=1"]
            workdir /1
            base  base
            empty ENV A=1
            layer RUN /bin/sh -c echo "$A" $B # buildkit
            layer COPY 1 /x # buildkit
            layer WORKDIR /1
            ? 1: `FROM` is not in lower case, as most instructions are @ "FROM" -> write `from`
            ? 2: `ENV` is not in lower case, as most instructions are @ "ENV" -> write `env`
        "#]],
    );
}

#[test]
fn odd_characters_in_the_history() {
    check(
        r#"FROM debian
CMD ["a\tb", "\u0001", "é"]
ENV A="x y"
"#,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            0() image docker.io/library/debian:latest linux/amd64 *    -- [1/1] FROM docker.io/library/debian:latest
            env ["A=x y"]
            cmd Some(["a\tb", "\u{1}", "é"])
            base  base
            empty CMD ["a\tb" "\x01" "é"]
            empty ENV A=x y
        "#]],
    );
}
