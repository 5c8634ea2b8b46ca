//! Rows about `RUN`.

use std::fs;

use testkit::{Program, Scratch};

use super::lab::Lab;
use super::row;

#[test]
fn run_mount_type_bind() {
    row(|lab| {
        lab.tree("src/a 0644 from the context\nsrc/sub/b 0644 b");
        lab.outside("named/n", "named\n");
        let named = lab.folder("outside/named");
        lab.build(
            r#"
            FROM base AS other
            RUN mkdir /data && echo other > /data/file && mkdir /work
            FROM other
            RUN --mount=type=bind,target=/c,source=src test "$(cat /c/a)" = "from the context" && ! touch /c/new
            RUN --mount=type=bind,dst=/c,src=/src/sub,ro=true cat /c/b
            RUN --mount=type=bind,destination=/c,readonly cat /c/src/a && ! touch /c/new
            RUN --mount=type=bind,target=/c,rw echo lost > /c/new
            RUN --mount=type=bind,target=/c,readwrite=true test ! -e /c/new && touch /c/src/a
            RUN --mount=type=bind,target=/c,rw=false ! touch /c/new
            RUN --mount=from=other,source=/data/file,target=/f test "$(cat /f)" = other
            RUN --mount=type=bind,from=other,target=/o test "$(cat /o/data/file)" = other
            RUN --mount=type=bind,from=base,target=/o test -x /o/bin/busybox && test ! -e /o/data
            RUN --mount=type=bind,from=named,target=/o test "$(cat /o/n)" = named
            WORKDIR /app
            RUN --mount=type=bind,target=here test -e /app/here/src/a
            RUN test ! -e /app/here && test ! -e /c && test ! -e /f
            "#,
        )
        .arg(format!("--build-context=named={}", named.display()))
        .ok();
        for (mount, part) in [
            ("type=bind,target=/", "target"),
            ("type=bind,source=src", "target"),
            ("type=bind,target=/c,from=$x", "from"),
            ("type=bind,target=/c,size=3", "size"),
            ("type=bind,target=/c,source=absent", "absent"),
        ] {
            let text = format!("FROM base\nRUN --mount={mount} true\n");
            lab.build(&text).fails(&["Dockerfile:2", part]);
        }
        Ok(())
    });
}

#[test]
fn run_mount_type_cache() {
    row(|lab| {
        lab.tree("seed/file 0644 seed");
        lab.build(
            r#"
            FROM base AS seed
            RUN mkdir /d && echo seeded > /d/s
            FROM base
            RUN --mount=type=cache,target=/c stat -c '%a %u:%g' /c | grep -x '755 0:0' && echo one > /c/x
            RUN --mount=type=cache,dst=/c/ test "$(cat /c/x)" = one
            RUN --mount=type=cache,target=/elsewhere,id=/c test "$(cat /elsewhere/x)" = one
            RUN --mount=type=cache,target=/c,id=other test ! -e /c/x
            RUN --mount=type=cache,target=/c,ro test -e /c/x && ! touch /c/y
            RUN --mount=type=cache,target=/c,readonly ! touch /c/y
            RUN --mount=type=cache,target=/m,mode=1770,uid=1000,gid=1001 stat -c '%a %u:%g' /m | grep -x '1770 1000:1001'
            RUN --mount=type=cache,target=/s,id=seeded,from=seed,source=/d test "$(cat /s/s)" = seeded && echo more > /s/t
            RUN --mount=type=cache,target=/s,id=seeded,from=seed,source=/d test -e /s/s && test -e /s/t
            RUN --mount=type=cache,target=/p,sharing=private touch /p/x
            RUN --mount=type=cache,target=/l,sharing=locked touch /l/x
            RUN test ! -e /c && test ! -e /p && test ! -e /l
            "#,
        )
        .ok();
        // Another namespace has other contents.
        let text = "
            FROM base
            RUN --mount=type=cache,target=/c test ! -e /c/x && echo ns > /c/x
        ";
        lab.build(text)
            .args(&["--build-arg", "BUILDKIT_CACHE_MOUNT_NS=elsewhere"])
            .ok();
        // What is in it is not part of the step's key.
        let again = "FROM base\nRUN --mount=type=cache,target=/c cat /c/x\n";
        lab.build(again).ok();
        let change = "FROM base\nRUN --mount=type=cache,target=/c echo changed > /c/x\n";
        lab.build(change).ok();
        let cached = lab.build(again).args(&["--progress=plain"]).ok();
        assert!(cached.stderr.contains("CACHED"), "{cached}");
        sharing_between_processes(lab);
        lab.build("FROM base\nRUN --mount=type=cache,target=/c,sharing=some true\n")
            .fails(&["Dockerfile:2", "some"]);
        Ok(())
    });
}

/// Two builds at once, each with a step that marks the mount and waits for the other's mark.
fn sharing_between_processes(lab: &Lab) {
    // In `shared` both see the other's file, in `private` neither does.
    let meet = "touch /m/$me; for i in $(seq 100); do \
                [ $(ls /m | wc -l) = 2 ] && exit 0; sleep 0.05; done; exit 1";
    let alone = "touch /m/$me; sleep 0.5; [ $(ls /m | wc -l) = 1 ]";
    // In `locked` there is never more than one at a time.
    let turn = "mkdir /m/busy || exit 1; sleep 0.3; rmdir /m/busy";
    for (sharing, script) in [("shared", meet), ("private", alone), ("locked", turn)] {
        let texts = ["one", "two"].map(|me| {
            let name = format!("{sharing}-{me}.Dockerfile");
            let text = format!(
                "FROM base\nRUN --mount=type=cache,id={sharing}-{slug},target=/m,\
                 sharing={sharing} me={me}; {script}\n",
                slug = lab.slug()
            );
            lab.outside(&name, text)
        });
        std::thread::scope(|scope| {
            for file in texts {
                let context = &lab.context;
                let kiln = &lab.kiln;
                scope.spawn(move || {
                    let command = kiln.command().args(["build", "--file"]).arg(file);
                    let _ = command.arg(context).run().ok();
                });
            }
        });
    }
}

#[test]
fn run_mount_type_tmpfs() {
    row(|lab| {
        lab.build(
            r"
            FROM base
            RUN --mount=type=tmpfs,target=/t,size=1m df -k /t | tail -n 1 | awk '{ exit $2 != 1024 }' && ! dd if=/dev/zero of=/t/big bs=1024 count=2048
            RUN --mount=type=tmpfs,dst=/t grep ' /t tmpfs ' /proc/mounts && touch /t/x
            RUN test ! -e /t
            ",
        )
        .ok();
        lab.build("FROM base\nRUN --mount=type=tmpfs,target=/t,size=many true\n")
            .fails(&["Dockerfile:2", "many"]);
        Ok(())
    });
}

#[test]
fn run_mount_type_secret() {
    row(|lab| {
        let key = lab.outside("key", "from a file\n");
        lab.build(
            r#"
            FROM base
            RUN --mount=type=secret,id=key test "$(cat /run/secrets/key)" = "from a file"
            RUN --mount=type=secret,id=key stat -c '%a %u:%g' /run/secrets/key | grep -x '400 0:0'
            RUN --mount=type=secret,source=key,target=/k,mode=0444,uid=1000,gid=1001 stat -c '%a %u:%g' /k | grep -x '444 1000:1001'
            RUN --mount=type=secret,src=key cat /run/secrets/key
            RUN --mount=type=secret,target=/x/token test "$(cat /x/token)" = "from the environment"
            RUN --mount=type=secret,id=token,env=T test "$T" = "from the environment" && test ! -e /run/secrets/token
            RUN --mount=type=secret,id=token,env=T,target=/t test "$T" = "$(cat /t)"
            RUN --mount=type=secret,id=absent test ! -e /run/secrets/absent
            RUN --mount=type=secret,id=absent,env=T,required=false test -z "${T+set}"
            RUN test ! -e /run/secrets && test ! -e /k && test ! -e /x
            "#,
        )
        .arg(format!("--secret=id=key,src={}", key.display()))
        .arg("--secret=id=token,env=SOME_TOKEN")
        .env("SOME_TOKEN", "from the environment")
        .ok();
        for (mount, part) in [
            ("id=absent,required", "absent"),
            ("id=absent,required=true", "absent"),
            ("id=key,from=base", "from"),
            ("id=key,sharing=shared", "sharing"),
        ] {
            let text = format!("FROM base\nRUN --mount=type=secret,{mount} true\n");
            lab.build(&text).fails(&["Dockerfile:2", part]);
        }
        // The value is no part of the key: another one is not looked at.
        let text = "FROM base\nRUN --mount=type=secret,id=key cat /run/secrets/key >/dev/null\n";
        let build = |value: &str| {
            let key = lab.outside("changing", value);
            let secret = format!("--secret=id=key,src={}", key.display());
            lab.build(text).arg(secret).arg("--progress=plain").ok()
        };
        build("one");
        let second = build("two");
        assert!(second.stderr.contains("CACHED"), "{second}");
        Ok(())
    });
}

/// A program of the host with the libraries it needs, in a folder of the context.
fn copy_with_libraries(lab: &Lab, program: &str) -> Result<(), testkit::Absent> {
    let path = testkit::find_program(program)?;
    let libraries = Program::new("ldd").arg(&path).run().ok().text();
    let words = libraries.split_whitespace();
    let files = words.filter(|word| word.starts_with('/'));
    let path = path.display().to_string();
    let root = lab.context.join("root");
    for file in files.chain([path.as_str()]) {
        let target = root.join(file.trim_start_matches('/'));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
    let _ = Program::new("chmod")
        .args(["-R", "u=rwX,go=rX"])
        .arg(root)
        .run()
        .ok();
    Ok(())
}

#[test]
fn run_mount_type_ssh() {
    row(|lab| {
        copy_with_libraries(lab, "ssh-add")?;
        let folder = lab.folder("agent");
        let key = folder.join("key");
        let keygen = lab.program("ssh-keygen");
        let _ = keygen
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "the-key", "-f"])
            .arg(&key)
            .run()
            .ok();
        let socket = folder.join("socket");
        let agent = lab.program("ssh-agent").arg("-D").arg("-a").arg(&socket);
        let mut agent = agent.start(&lab.folder("logs").join("agent"));
        Scratch::stop_at_end(&format!("agent-{}", lab.who().name()), agent.id());
        while !socket.exists() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let add = lab.program("ssh-add").env("SSH_AUTH_SOCK", &socket);
        let _ = add.arg("-q").arg(&key).run().ok();

        let text = r#"
            FROM base
            COPY root /
            RUN --mount=type=ssh ssh-add -l | grep the-key && test "$SSH_AUTH_SOCK" = /run/buildkit/ssh_agent.0
            RUN --mount=type=ssh,id=default,target=/agent,mode=0666,uid=1000,gid=1001 test "$SSH_AUTH_SOCK" = /agent && stat -c '%a %u:%g' /agent | grep -x '666 1000:1001'
            RUN --mount=type=ssh stat -c '%a %u:%g' $SSH_AUTH_SOCK | grep -x '600 0:0'
            RUN --mount=type=ssh,id=absent test ! -e "$SSH_AUTH_SOCK"
            RUN test -z "${SSH_AUTH_SOCK+set}" && test ! -e /run/buildkit
        "#;
        lab.build(text)
            .arg("--ssh=default")
            .env("SSH_AUTH_SOCK", &socket)
            .ok();
        // kiln is the agent of a key in a file.
        let text = r"
            FROM base
            COPY root /
            RUN --mount=type=ssh,id=mine ssh-add -l | grep ED25519
            RUN --mount=type=ssh,id=other,required ssh-add -l | grep the-key
        ";
        lab.build(text)
            .arg(format!("--ssh=mine={}", key.display()))
            .arg(format!("--ssh=other={}", socket.display()))
            .ok();
        for (mount, part) in [("id=absent,required", "absent"), ("source=x", "source")] {
            let text = format!("FROM base\nRUN --mount=type=ssh,{mount} true\n");
            lab.build(&text).fails(&["Dockerfile:2", part]);
        }
        agent.kill().unwrap();
        agent.wait().unwrap();
        Ok(())
    });
}

#[test]
fn mount_values_expansion() {
    row(|lab| {
        lab.tree("v1/file 0644 one\n\"a,b/file\" 0644 comma");
        lab.build(
            r#"
            FROM base
            ARG V=v1 RO=true MODE=0700 ID=1000 SIZE=1m
            ENV TO=/here
            RUN --mount=type=bind,source=$V,target=${TO} test "$(cat /here/file)" = one
            RUN --mount=type=cache,target=$TO,id=c$V,mode=$MODE,uid=$ID,gid=${GID:-7} stat -c '%a %u:%g' /here | grep -x '700 1000:7'
            RUN --mount=type=tmpfs,target=$TO,size=$SIZE grep ' /here tmpfs ' /proc/mounts
            RUN --mount='type=bind,"source=a,b",target=/q' test "$(cat /q/file)" = comma
            "#,
        )
        .ok();
        lab.build("FROM base\nARG V=base\nRUN --mount=from=$V,target=/x true\n")
            .fails(&["Dockerfile:3", "$V"]);
        Ok(())
    });
}

#[test]
fn run_network() {
    row(|lab| {
        lab.build(
            r#"
            FROM base
            RUN --network=none test "$(cat /proc/net/dev | wc -l)" = 3 && ifconfig lo | grep UP
            RUN --network=default true
            "#,
        )
        .ok();
        let host = "FROM base\nRUN --network=host true\n";
        lab.build(host).fails(&["Dockerfile:2", "network.host"]);
        lab.build(host).arg("--allow=network.host").ok();
        lab.build("FROM base\nRUN --network=some true\n")
            .fails(&["Dockerfile:2", "some"]);
        Ok(())
    });
}

#[test]
fn run_security() {
    row(|lab| {
        // The same question in both: may this step mount something?
        let text = r"
            FROM base
            RUN --security=sandbox ! mount -t tmpfs none /mnt 2> /dev/null && grep -x 'Seccomp:.2' /proc/self/status
            RUN --security=insecure mkdir -p /mnt && mount -t tmpfs none /mnt && grep -x 'Seccomp:.0' /proc/self/status
        ";
        lab.build(text)
            .fails(&["Dockerfile:3", "security.insecure"]);
        lab.build(text).arg("--allow=security.insecure").ok();
        Ok(())
    });
}

#[test]
fn run_device() {
    row(|lab| {
        lab.build("FROM base\nRUN --device=vendor.com/class=name true\n")
            .fails(&["Dockerfile:2", "device"]);
        lab.missing("devices by CDI; BuildKit has them in its labs channel only");
        Ok(())
    });
}

#[test]
fn run_exec_and_shell_form() {
    row(|lab| {
        lab.build(
            r#"
            FROM base
            RUN ["sh", "-c", "echo $0 > /exec", "zero"]
            RUN test "$(cat /exec)" = zero
            RUN [ "not", json ] || echo shell > /shell
            RUN test "$(cat /shell)" = shell
            SHELL ["/bin/sh", "-e", "-c"]
            RUN false; exit 0
            "#,
        )
        .fails(&["Dockerfile:7"]);
        let said = lab
            .build("FROM base\nSHELL [\"/bin/busybox\", \"echo\", \"said:\"]\nRUN a  b\n")
            .arg("--progress=plain")
            .ok();
        assert!(said.stderr.contains("said: a  b"), "{said}");
        Ok(())
    });
}

#[test]
fn run_heredoc() {
    row(|lab| {
        lab.build(
            r#"
            FROM base
            ARG A=arg
            RUN <<EOF
            echo one > /one
            echo $A "$0" >> /one
            EOF
            RUN test "$(head -n 1 /one)" = one && grep '^arg ' /one
            RUN <<EOF
            #!/bin/awk -f
            BEGIN { print "awk" > "/two" }
            EOF
            RUN test "$(cat /two)" = awk && test ! -e /dev/pipes
            RUN cat <<ONE > /three && cat <<'TWO' >> /three
            $A
            ONE
            $A
            TWO
            RUN test "$(cat /three | tr '\n' ' ')" = 'arg $A '
            RUN <<-EOF sh -e
            	cat > /four <<-INNER
            		tabs
            	INNER
            EOF
            RUN test "$(cat /four)" = tabs
            RUN --mount=type=tmpfs,target=/t <<EOF
            grep ' /t tmpfs ' /proc/mounts
            EOF
            "#,
        )
        .ok();
        lab.build("FROM base\nRUN [\"cat\", \"<<EOF\"] <<EOF\ntext\nEOF\n")
            .fails(&["Dockerfile:2"]);
        Ok(())
    });
}
