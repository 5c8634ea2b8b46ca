//! What hardening finds and does.

use expect_test::{Expect, expect};
use kiln_base::CancelToken;
use kiln_rootfs::harden::{HardenOptions, HardenRule, harden};

use super::tree::{Nothing, content, text, tree};

/// Words: `-RULE` turns one off, `+PATTERN` preserves, `disarm` takes privileges.
fn options(words: &str) -> HardenOptions {
    let mut options = HardenOptions::all();
    for word in words.split_ascii_whitespace() {
        match word.split_at(1) {
            ("-", rule) => {
                assert!(options.rules.remove(&rule.parse::<HardenRule>().unwrap()));
            }
            ("+", pattern) => options.preserve.push(pattern.to_owned()),
            _ => options.remove_set_id = true,
        }
    }
    options
}

#[track_caller]
fn check(words: &str, given: &str, show: &[&str], expected: &Expect) {
    let mut tree = tree(given);
    let options = options(words);
    let findings = harden(&mut tree, &Nothing, &options, &CancelToken::new()).unwrap();
    let mut out = String::new();
    for finding in &findings {
        let (path, rule) = (finding.path.escape_ascii(), finding.rule);
        out += &format!("{path}: {rule}: {}\n", finding.outcome);
    }
    out += &format!("\n{}", text(&tree));
    for path in show {
        out += &format!("\n{path}:\n{}", content(&tree, path));
    }
    expected.assert_eq(&out);
}

#[test]
fn what_every_machine_has_for_itself_goes() {
    check(
        "",
        "etc/ssh/ssh_host_rsa_key 0600 x
         etc/ssh/ssh_host_rsa_key.pub 0644 x
         etc/ssh/sshd_config 0644 x
         etc/machine-id 0444 0123
         var/lib/dbus/machine-id -> /etc/machine-id
         var/lib/systemd/random-seed 0600 x
         root/.bash_history 0600 x
         srv/.bash_history 0600 x
         srv/app/.git/HEAD 0644 x
         srv/app/.git/objects/aa/bb 0444 x
         srv/app/src/.git 0644 gitdir: ../.git
         srv/app/docs/.git/README 0644 x",
        &[],
        &expect![[r#"
            etc/machine-id: machine-id: emptied
            etc/ssh/ssh_host_rsa_key: ssh-host-keys: removed
            etc/ssh/ssh_host_rsa_key.pub: ssh-host-keys: removed
            root/.bash_history: histories: removed
            srv/app/.git: repositories: removed
            srv/app/src/.git: repositories: removed
            var/lib/dbus/machine-id: machine-id: removed
            var/lib/systemd/random-seed: random-seed: removed

            etc/
            etc/machine-id 0 0444
            etc/ssh/
            etc/ssh/sshd_config 2
            root/
            srv/
            srv/.bash_history 2 0600
            srv/app/
            srv/app/docs/
            srv/app/docs/.git/
            srv/app/docs/.git/README 2
            srv/app/src/
            var/
            var/lib/
            var/lib/dbus/
            var/lib/systemd/
        "#]],
    );
}

#[test]
fn credentials_go_and_configuration_stays() {
    check(
        "",
        "etc/passwd 0644 app:x:1:1::/srv/app:/bin/sh
         root/.docker/config.json 0600 {\"auths\":{\"r\":{\"auth\":\"eA==\"}}}
         home/me/.docker/config.json 0600 {\"auths\":{\"r\":{}}}
         root/.aws/credentials 0600 x
         root/.aws/config 0600 x
         root/.ssh/id_ed25519 0600 x
         root/.ssh/id_ed25519.pub 0644 x
         root/.ssh/known_hosts 0644 x
         srv/app/.npmrc 0644 registry=https://r/\\n//r/:_authToken=x
         srv/app/.config/pip/pip.conf 0644 [global]\\nindex-url = https://u:p@h/simple
         srv/site/.netrc 0600 x
         srv/site/.aws/credentials 0600 x
         root/.config/gcloud/legacy_credentials/me/adc.json 0600 x
         root/.config/gcloud/configurations/default 0600 x",
        &["srv/app/.npmrc", "srv/app/.config/pip/pip.conf"],
        &expect![[r#"
            root/.aws/credentials: credentials: removed
            root/.config/gcloud/legacy_credentials: credentials: removed
            root/.docker/config.json: credentials: removed
            root/.ssh/id_ed25519: credentials: removed
            srv/app/.config/pip/pip.conf: credentials: secrets removed
            srv/app/.npmrc: credentials: secrets removed
            srv/site/.netrc: credentials: removed

            etc/
            etc/passwd 28
            home/
            home/me/
            home/me/.docker/
            home/me/.docker/config.json 19 0600
            root/
            root/.aws/
            root/.aws/config 2 0600
            root/.config/
            root/.config/gcloud/
            root/.config/gcloud/configurations/
            root/.config/gcloud/configurations/default 2 0600
            root/.docker/
            root/.ssh/
            root/.ssh/id_ed25519.pub 2
            root/.ssh/known_hosts 2
            srv/
            srv/app/
            srv/app/.config/
            srv/app/.config/pip/
            srv/app/.config/pip/pip.conf 38
            srv/app/.npmrc 20
            srv/site/
            srv/site/.aws/
            srv/site/.aws/credentials 2 0600

            srv/app/.npmrc:
            registry=https://r/

            srv/app/.config/pip/pip.conf:
            [global]
            index-url = https://h/simple
        "#]],
    );
}

#[test]
fn loose_modes_are_fixed_and_privileges_told() {
    let given = "tmp/ 1777
         srv/open/ 0777
         srv/open/file 0666 x
         srv/hard = srv/open/file
         usr/bin/su 4755 x
         usr/bin/wall 2755 x
         srv/group/ 2775";
    check(
        "",
        given,
        &[],
        &expect![[r#"
        srv/hard: world-writable: mode changed from 0666 to 0664
        srv/open: world-writable: mode changed from 0777 to 1777
        usr/bin/su: set-id: runs with its owner's or group's privileges: mode 4755
        usr/bin/wall: set-id: runs with its owner's or group's privileges: mode 2755

        srv/
        srv/group/ 2775
        srv/hard 2 0664
        srv/open/ 1777
        srv/open/file 2 0664
        tmp/ 1777
        usr/
        usr/bin/
        usr/bin/su 2 4755
        usr/bin/wall 2 2755
    "#]],
    );
    check(
        "disarm -world-writable",
        given,
        &[],
        &expect![[r#"
        usr/bin/su: set-id: privileges removed
        usr/bin/wall: set-id: privileges removed

        srv/
        srv/group/ 2775
        srv/hard 2 0666
        srv/open/ 0777
        srv/open/file 2 0666
        tmp/ 1777
        usr/
        usr/bin/
        usr/bin/su 2
        usr/bin/wall 2
    "#]],
    );
}

#[test]
fn accounts_without_a_password_are_locked() {
    check(
        "",
        "etc/passwd 0644 root::0:0::/root:/bin/sh\\nold::1:1::/:/bin/sh\\nx:x:2:2::/:/bin/sh
         etc/shadow 0640 root::1::::::\\nx:*:1::::::",
        &["etc/passwd", "etc/shadow"],
        &expect![[r#"
            etc/passwd: empty-passwords: locked root, old
            etc/shadow: empty-passwords: locked root

            etc/
            etc/passwd 66
            etc/shadow 27 0640

            etc/passwd:
            root:x:0:0::/root:/bin/sh
            old:*:1:1::/:/bin/sh
            x:x:2:2::/:/bin/sh

            etc/shadow:
            root:!:1::::::
            x:*:1::::::
        "#]],
    );
}

#[test]
fn what_is_preserved_is_told_and_left() {
    check(
        "-set-id +srv/app/.git/HEAD +etc/machine-id +etc/shadow",
        "srv/app/.git/HEAD 0644 x
         srv/lib/.git/HEAD 0644 x
         etc/machine-id 0444 0123
         etc/shadow 0640 root::1
         usr/bin/su 4755 x",
        &["etc/machine-id"],
        &expect![[r#"
            etc/machine-id: machine-id: left as it is: preserved
            etc/shadow: empty-passwords: left as it is: preserved
            srv/app/.git: repositories: left as it is: preserved
            srv/lib/.git: repositories: removed

            etc/
            etc/machine-id 5 0444
            etc/shadow 8 0640
            srv/
            srv/app/
            srv/app/.git/
            srv/app/.git/HEAD 2
            srv/lib/
            usr/
            usr/bin/
            usr/bin/su 2 4755

            etc/machine-id:
            0123
        "#]],
    );
}
