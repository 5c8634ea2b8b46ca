//! Disks' configurations as text, and what they are read as.

use super::*;

/// What the configuration with these targets and strategies is read as.
fn spec(target: &str, strategy: &str) -> Result<Spec, SpecError> {
    Spec::parse(&format!(
        r#"{{"config": {{
            "source": {{"docker_image": {{"image_uri": "app:1"}}}},
            "target": {{"microvm_rootfs": {target}}},
            "strategy": {strategy}
        }}}}"#
    ))
}

#[track_caller]
fn check_error(text: &str, expected: &str) {
    assert_eq!(Spec::parse(text).unwrap_err().to_string(), expected);
}

#[track_caller]
fn check_target_error(target: &str, expected: &str) {
    let error = spec(target, "{}").unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn the_documentation_s_examples_are_read() {
    let text = r#"{
      "config": {
        "source": {"docker_image": {
          "image_uri": "ghcr.io/company/webapp:v1.2.3",
          "registry_auth": {"username": "github_user", "password": "ghp_token"}
        }},
        "target": {"microvm_rootfs": {
          "format": "ext4",
          "init_strategy": "INIT_STRATEGY_SYSTEMD",
          "compression": "gzip",
          "size_limit_bytes": 2147483648
        }},
        "strategy": {"docker_strategy": {
          "optimize_for_size": true,
          "remove_dev_packages": true,
          "preserve_layers": false,
          "custom_commands": ["apt-get clean", "rm -rf /tmp/*"]
        }}
      }
    }"#;
    let spec = Spec::parse(text).unwrap();
    let Source::Image {
        name,
        auth: Some(auth),
    } = &spec.source
    else {
        panic!("{:?}", spec.source)
    };
    assert_eq!(name, "ghcr.io/company/webapp:v1.2.3");
    assert_eq!(auth.username.as_deref(), Some("github_user"));
    assert_eq!(auth.password.expose(), "ghp_token");
    assert!(!format!("{spec:?}").contains("ghp_token"));
    assert_eq!(spec.format, Some(DiskFormat::Ext4));
    assert_eq!(spec.compression, Some(FileCompression::Gzip));
    assert_eq!(spec.size_limit, Some(2_147_483_648));
    assert_eq!(spec.init, Some(InitName::Systemd));
    assert!(spec.optimise.size && spec.optimise.dev_packages && !spec.optimise.docs);
    assert_eq!(spec.commands, ["apt-get clean", "rm -rf /tmp/*"]);
}

#[test]
fn repositories_are_read() {
    let text = r#"{"config": {
        "source": {"git_repository": {
          "clone_url": "https://github.com/company/application.git",
          "ref": "main",
          "auth": {"token": "github_token"},
          "dockerfile_path": "Dockerfile.production"
        }},
        "target": {"microvm_rootfs": {"format": "ext4", "init_strategy": "INIT_STRATEGY_CUSTOM"}},
        "strategy": {"git_strategy": {
          "build_system": "docker",
          "build_args": {"ENV": "production", "BUILD_VERSION": "1"},
          "cache_dependencies": true
        }}
    }}"#;
    let spec = Spec::parse(text).unwrap();
    let Source::Git(git) = &spec.source else {
        panic!("{:?}", spec.source)
    };
    assert_eq!(git.url, "https://github.com/company/application.git");
    assert_eq!(git.reference.as_deref(), Some("main"));
    assert_eq!(git.dockerfile.as_deref(), Some("Dockerfile.production"));
    assert_eq!(git.build_args["ENV"], "production");
    assert_eq!(spec.init, Some(InitName::Custom));
}

#[test]
fn the_protocol_s_names_are_read() {
    let spec = spec(
        r#"{
            "initStrategy": 2,
            "runtimeConfig": {"entrypoint": ["/app"], "command": ["serve"], "workingDir": "/srv",
                "environment": {"camelCase": "a b", "B": ""}, "exposed_ports": ["80/tcp"]},
            "optimization": {"stripDebugSymbols": true, "removeDocs": true, "removeCache": true,
                "compressBinaries": false, "preservePaths": ["/keep"], "excludePatterns": ["*.pyc"]},
            "preserve_paths": ["/too"],
            "size_limit_bytes": "1024"
        }"#,
        r#"{"dockerExtract": {"flattenFilesystem": true, "excludePatterns": ["/x"]}}"#,
    )
    .unwrap();
    assert_eq!(spec.init, Some(InitName::Direct));
    assert_eq!(spec.runtime.entrypoint, Some(vec!["/app".to_owned()]));
    assert_eq!(spec.runtime.cmd, Some(vec!["serve".to_owned()]));
    assert_eq!(spec.runtime.working_dir.as_deref(), Some("/srv"));
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = [variable("B", ""), variable("camelCase", "a b")];
    assert_eq!(spec.runtime.env, expected);
    assert_eq!(spec.runtime.exposed_ports, ["80/tcp"]);
    assert!(spec.optimise.strip && spec.optimise.docs && spec.optimise.cache);
    assert_eq!(spec.preserve, ["/too", "/keep"]);
    assert_eq!(spec.exclude, ["*.pyc", "/x"]);
    assert_eq!(spec.size_limit, Some(1024));
}

#[test]
fn config_may_be_left_out() {
    let text = r#"{
        "source": {"docker_image": {"image_uri": "a"}},
        "target": {"microvm_rootfs": {}}
    }"#;
    assert!(Spec::parse(text).is_ok());
}

#[test]
fn what_is_unknown_is_named() {
    check_target_error(
        r#"{"fromat": "ext4"}"#,
        "`config.target.microvm_rootfs.fromat` is no part of a configuration",
    );
    check_target_error(
        r#"{"format": "ntfs"}"#,
        "`config.target.microvm_rootfs.format` is `ntfs`; it can be ext4, erofs, squashfs, cpio",
    );
    check_target_error(
        r#"{"size_limit_bytes": -1}"#,
        "`config.target.microvm_rootfs.size_limit_bytes` has to be a whole number of bytes",
    );
    check_target_error(
        r#"{"preserve_paths": ["a", 1]}"#,
        "`config.target.microvm_rootfs.preserve_paths[1]` has to be a text",
    );
    check_error("[]", "`the configuration` has to be an object");
    check_error("{", "the configuration is no JSON");
    check_error("{}", "`source` is missing");
    check_error(r#"{"config": {}}"#, "`config.source` is missing");
}

#[test]
fn what_can_t_be_done_is_refused() {
    let strategy = |text: &str| spec("{}", text).unwrap_err().to_string();
    assert_eq!(
        strategy(r#"{"docker_strategy": {"preserve_layers": true}}"#),
        "`config.strategy.docker_strategy.preserve_layers` can't be done: a disk has one file \
         system, into which all layers are merged"
    );
    assert!(strategy(r#"{"nodejs": {}}"#).contains("`config.strategy.nodejs` can't be done"));
    assert!(strategy(r#"{"git_strategy": {}}"#).contains("the source is no git repository"));
    assert_eq!(
        strategy(r#"{"docker_strategy": {}, "docker_extract": {}}"#),
        "`config.strategy.docker_strategy` and `config.strategy.docker_extract` can't both be given"
    );
    check_target_error(
        r#"{"optimization": {"compress_binaries": true}}"#,
        "`config.target.microvm_rootfs.optimization.compress_binaries` can't be done: packed \
         programs start slower and take more memory; compress the disk instead",
    );
    check_error(
        r#"{"config": {"tenant": {}}}"#,
        "`config.tenant` can't be done: it is part of a service, not of one disk",
    );
    check_error(
        r#"{"config": {}, "webhook": {}}"#,
        "`webhook` can't be done: it is part of a service, not of one disk",
    );
}

#[test]
fn a_name_is_given_once() {
    check_target_error(
        r#"{"init_strategy": 1, "initStrategy": 2}"#,
        "`config.target.microvm_rootfs.initStrategy` and \
         `config.target.microvm_rootfs.init_strategy` can't both be given",
    );
}

/// The source that a configuration names, as Rust shows it: without what is secret.
#[track_caller]
fn check_source(source: &str, expected: &str) {
    let text = format!(r#"{{"source": {source}, "target": {{"microvm_rootfs": {{}}}}}}"#);
    let shown = match Spec::parse(&text) {
        Ok(spec) => format!("{:?}", spec.source),
        Err(error) => error.to_string(),
    };
    assert_eq!(shown, expected);
}

#[test]
fn credentials_are_whole() {
    let image = |auth: &str| format!(r#"{{"docker_image": {{"image_uri": "a", "auth": {auth}}}}}"#);
    let with = |auth: &str| format!("Image {{ name: \"a\", auth: {auth} }}");
    check_source(&image("{}"), &with("None"));
    check_source(&image(r#"{"username": "", "password": ""}"#), &with("None"));
    check_source(
        &image(r#"{"token": "t", "registry": "ghcr.io"}"#),
        &with(
            "Some(ImageAuth { registry: Some(\"ghcr.io\"), username: None, password: [secret] })",
        ),
    );
    let place = "source.docker_image.auth";
    check_source(
        &image(r#"{"password": "p"}"#),
        &format!("`{place}.username` is missing"),
    );
    check_source(
        &image(r#"{"username": "u"}"#),
        &format!("`{place}.password` is missing"),
    );
    check_source(
        &image(r#"{"username": "u", "password": "p", "token": "t"}"#),
        &format!("`{place}.password` and `{place}.token` can't both be given"),
    );
    let git =
        |auth: &str| format!(r#"{{"git_repository": {{"clone_url": "u.git", "auth": {auth}}}}}"#);
    let with = |auth: &str| {
        format!(
            "Git(GitSource {{ url: \"u.git\", reference: None, context: None, dockerfile: None, \
             auth: {auth}, build_args: {{}} }})"
        )
    };
    check_source(&git(r#"{"token": "t"}"#), &with("Some(Token([secret]))"));
    check_source(
        &git(r#"{"username": "u", "token": "t"}"#),
        &with("Some(Password { user: \"u\", password: [secret] })"),
    );
    check_source(
        &git(r#"{"ssh_key": "-----BEGIN"}"#),
        "`source.git_repository.auth.ssh_key` can't be done: keys stay in an agent: leave it out, \
         and name the agent by `--ssh default`",
    );
}

#[test]
fn archives_have_a_url_and_one_header() {
    let archive =
        |more: &str| format!(r#"{{"archive": {{"download_url": "https://a/b.tar.gz"{more}}}}}"#);
    let with = |header: &str| {
        format!("Archive(ArchiveSource {{ url: \"https://a/b.tar.gz\", authorization: {header} }})")
    };
    check_source(&archive(r#", "format": "tar.gz""#), &with("None"));
    let header = r#", "auth_headers": {"authorization": "Bearer x"}"#;
    check_source(&archive(header), &with("Some([secret])"));
    check_source(
        &archive(r#", "auth_headers": {"X-Key": "x"}"#),
        "`source.archive.auth_headers.X-Key` can't be done: `Authorization` is the only header \
         that is sent",
    );
    check_source(
        &archive(r#", "archive_type": "zip""#),
        "`source.archive.archive_type` is `zip`; it can be tar, tar.gz, tar.xz, tar.bz2, tar.zst",
    );
    check_source(
        &archive(r#", "build_context": "sub""#),
        "`source.archive.build_context` can't be done: an archive is built as a whole",
    );
    check_source(
        r#"{"archive": {}}"#,
        "`source.archive.download_url` is missing",
    );
    check_source(
        r#"{"archive": {}, "git_repository": {}}"#,
        "`source.git_repository` and `source.archive` can't both be given",
    );
}

#[test]
fn limits_of_one_build_are_kept() {
    let parse = |limits: &str| {
        let text = format!(
            r#"{{"source": {{"docker_image": {{"image_uri": "a"}}}}, "limits": {limits},
            "target": {{"microvm_rootfs": {{"size_limit_bytes": 100}}}}}}"#
        );
        match Spec::parse(&text) {
            Ok(spec) => format!("{:?} {:?}", spec.size_limit, spec.limits),
            Err(error) => error.to_string(),
        }
    };
    let with = |size: u32, limits: &str| format!("Some({size}) Limits {{ {limits} }}");
    assert_eq!(parse("{}"), with(100, "seconds: None, no_network: false"));
    assert_eq!(
        parse(r#"{"max_disk_bytes": "50", "timeout_seconds": 90, "max_build_time_minutes": 1}"#),
        with(50, "seconds: Some(60), no_network: false")
    );
    assert_eq!(
        parse(r#"{"allow_external_network": false, "max_disk_bytes": 200}"#),
        with(100, "seconds: None, no_network: true")
    );
    assert_eq!(
        parse(r#"{"sandbox_level": 2}"#),
        "`limits.sandbox_level` can't be done: it is for a service with tenants, not for one disk"
    );
}
