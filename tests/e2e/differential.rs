//! The same small Dockerfile, built by kiln and by BuildKit, has to give the same image.
//!
//! Cases are `tests/differential/cases/*.Dockerfile`, each with an optional ignore file beside it.
//! A last line `# with: …` has further arguments of both commands; `{context}` in it is the context.
//! All share one build context and one tiny base image, [`BASE`]. Configuration and file tree are
//! compared; times, texts of the history and digests are not. What may differ, and why, is in
//! `docs/dev/differences.md`, and in [`ALLOWED`].

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use testkit::{Absent, Docker, FlatImage, Kiln, Program, Scratch, Who, make_tree};

use crate::base;

macro_rules! differential {
    ($($case:ident)*) => {
        const CASES: &[&str] = &[$(stringify!($case)),*];

        $(#[test] fn $case() { check(stringify!($case)); })*
    };
}

differential! {
    add_chmod add_chown add_directory add_directory_with_archives add_file add_json
    add_link_to_file add_not_a_tar add_several add_tar add_tar_and_file add_tar_as_user
    add_tar_bz2_and_xz add_tar_chown add_tar_gz add_tar_onto_existing add_tar_onto_link
    add_tar_relative add_tar_under_a_name add_tar_wildcard add_wildcard arg_and_env_precedence
    arg_build_arg arg_build_arg_empty arg_build_arg_global arg_default_from_arg
    arg_empty_default arg_global_is_not_seen arg_global_overridden_in_stage
    arg_in_run_environment arg_inherited_by_stage arg_platform arg_proxy_is_predefined
    arg_redeclared arg_scopes cmd_broken_json_is_shell cmd_empty_exec cmd_exec
    cmd_in_parent_stage cmd_inherited cmd_last_wins cmd_shell cmd_shell_with_custom_shell
    copy_chmod_file copy_chmod_new_directories copy_chmod_octal copy_chmod_set_id
    copy_chmod_three_digits copy_chmod_zero copy_chown_and_chmod copy_chown_creates_directories
    copy_chown_hard_links copy_chown_large copy_chown_link copy_chown_name_only copy_chown_names
    copy_chown_number_and_name copy_chown_numbers copy_chown_user_only copy_chown_variable
    copy_chown_zero copy_class_range copy_destination_dots copy_directory_contents
    copy_directory_contents_slash copy_directory_onto_existing copy_directory_slash_dot
    copy_dot_dot_is_clamped copy_dot_files_by_star copy_dot_files_by_wildcard
    copy_empty_directory copy_escaped_brackets copy_everything copy_file copy_file_over_file
    copy_file_to_directory copy_file_to_new_name copy_from_absolute_link copy_from_chain
    copy_from_empty_directory copy_from_fifo copy_from_hard_links copy_from_image
    copy_from_keeps_special_modes copy_from_link_with_dots copy_from_owners
    copy_from_several_stages copy_from_stage copy_from_stage_by_number
    copy_from_stage_file_to_root copy_from_stage_relative_source copy_from_stage_root
    copy_from_stage_wildcard copy_from_symlink_chain copy_from_upper_case_stage copy_hard_links
    copy_hidden_files copy_ignores_user copy_into_root_dot copy_into_sticky
    copy_json_form_with_space copy_large_tree_twice copy_leading_slash_source copy_modes
    copy_negated_class copy_nested_destination copy_onto_directory_link
    copy_onto_directory_with_modes copy_onto_file_link_in_directory copy_onto_symlink_in_image
    copy_question_mark_and_class copy_relative_destination copy_replaces_file_under_link
    copy_same_file_twice copy_special_names copy_symlink_to_directory copy_symlink_to_file
    copy_symlinks_inside_directory copy_tar_is_not_unpacked copy_through_broken_link
    copy_through_symlinked_parent copy_trailing_slash_file_source copy_two_directories
    copy_variable_default copy_variable_paths copy_wildcard copy_wildcard_directories
    copy_wildcard_in_directory copy_wildcard_without_directory_match
    copy_with_working_directory_and_dot entrypoint_empty entrypoint_exec
    entrypoint_keeps_own_cmd entrypoint_resets_inherited_cmd entrypoint_shell
    entrypoint_then_cmd env_default_forms env_forms env_inherited env_order expose_forms
    expose_inherited expose_ranges healthcheck_defaults healthcheck_exec healthcheck_fractions
    healthcheck_inherited healthcheck_none healthcheck_none_over_inherited healthcheck_shell
    history_only_metadata ignore_class ignore_comments_and_spaces ignore_directory_slash
    ignore_does_not_hold_for_stages ignore_dot_files ignore_double_star ignore_double_star_end
    ignore_double_star_middle ignore_empty_lines_and_bom ignore_escaped
    ignore_everything_but_one_deep ignore_exception_only ignore_exception_then_ignored
    ignore_file ignore_holds_for_add ignore_link ignore_link_target ignore_nested_exception
    ignore_parents ignore_question_mark ignore_source_is_ignored_in_part ignore_space_in_name
    ignore_wildcard_sources ignore_with_exceptions label_by_flag label_forms label_inherited
    label_odd_values maintainer_last_wins mount_all_kinds mount_bind_context
    mount_bind_default_is_read_only mount_bind_dst_and_src mount_bind_file
    mount_bind_file_in_new_directory mount_bind_ignored_files mount_bind_image
    mount_bind_modes_and_owners mount_bind_nested mount_bind_onto_existing_directory
    mount_bind_onto_existing_file mount_bind_over_working_directory mount_bind_readwrite_context
    mount_bind_relative_target mount_bind_source mount_bind_stage mount_bind_stage_root
    mount_bind_through_link_in_stage mount_bind_two_of_one_stage mount_bind_writes_are_dropped
    mount_cache mount_cache_as_user mount_cache_between_stages mount_cache_default_id_is_target
    mount_cache_default_mode mount_cache_from_stage mount_cache_id mount_cache_not_in_layer
    mount_cache_onto_existing mount_cache_owner_and_mode mount_cache_read_only
    mount_cache_relative_target mount_cache_sharing_locked mount_cache_sharing_private
    mount_csv_quotes mount_exec_form mount_in_trigger mount_secret mount_secret_absent
    mount_secret_as_user mount_secret_default_mode mount_secret_leaves_nothing mount_secret_mode
    mount_secret_source_is_id mount_secret_target mount_secret_target_in_new_directory
    mount_secret_target_names_it mount_secret_two mount_ssh_absent mount_ssh_leaves_nothing
    mount_tmpfs mount_tmpfs_kind mount_tmpfs_onto_existing mount_tmpfs_over_tmp onbuild_arg
    onbuild_is_cleared onbuild_keeps_text onbuild_several onbuild_stored
    onbuild_triggered_in_file run_appends run_arguments_are_exact run_as_user
    run_as_user_with_umask run_capabilities run_changes_mode_only run_changes_owner_of_directory
    run_continuation_joined run_creates_files run_deletes_in_base run_device_files
    run_empty_file_and_directory run_environment run_exec_form run_exit_status_of_pipe
    run_file_to_link run_hard_and_symbolic_links run_hard_link_to_lower run_host_name_and_hosts
    run_json_with_blanks run_large_and_empty_files run_link_to_directory run_link_to_file
    run_long_names run_many_files run_mount_points_are_cleaned run_no_new_privileges
    run_odd_names run_opaque_directory run_proc_and_dev_leave_nothing run_proc_is_masked
    run_processes_are_ended run_quotes_and_escapes run_redirections_and_pipes
    run_removes_and_makes_again run_removes_files run_renames run_replaces_directory_with_file
    run_replaces_file run_set_id_bits run_shell_instruction run_shell_variables
    run_standard_input_is_empty run_sys_is_read_only run_touches_nothing run_umask
    run_umask_and_limits run_volume_keeps_changes run_working_directory
    run_working_directory_is_made run_writes_hosts_file shell_inherited stages_diamond
    stages_inherit stages_name_shadows_image stages_platform_build stages_platform_flag
    stages_same_name stages_unused_is_skipped stopsignal_and_maintainer stopsignal_number
    stopsignal_without_sig syntax_byte_order_mark syntax_case_and_tabs
    syntax_continuations_and_comments syntax_crlf syntax_escape_backtick syntax_escape_directive
    syntax_lower_case syntax_many_comments syntax_no_line_feed_at_end syntax_tabs target_stage
    target_upper_case user_forms user_inherited user_last_wins user_number_with_groups
    user_root_by_number variables_backslashes variables_home_is_set variables_in_expose
    variables_in_from variables_in_from_default variables_in_label variables_in_stopsignal
    variables_in_user variables_in_volume variables_in_workdir variables_legacy_env
    variables_nested variables_not_in_cmd variables_operators variables_path_is_extended
    variables_quotes variables_same_line variables_special_characters volume_forms
    volume_inherited volume_then_copy workdir_as_user workdir_deep_as_user workdir_existing
    workdir_in_scratch workdir_inherited workdir_relative_chain workdir_root
    workdir_through_link workdir_variable workdir_with_space
}

/// The image that cases begin with: busybox, a few users, a few files.
const BASE: &str = "diff-base";

const BASE_DOCKERFILE: &str = "\
FROM scratch
COPY busybox /bin/busybox
RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]
COPY root /
RUN mkdir -p /tmp /root /home/alice && chmod 1777 /tmp && chown alice:alice /home/alice
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CMD [\"sh\"]
";

const BASE_FILES: &str = "
    root/dev/       0755
    root/proc/      0755
    root/sys/       0755
    root/etc/passwd 0644 root:x:0:0:root:/root:/bin/sh\\nalice:x:1000:1000::/home/alice:/bin/sh
    root/etc/group  0644 root:x:0:\\nwheel:x:10:alice\\nstaff:x:50:\\nalice:x:1000:\\nextra:x:77:alice
    root/etc/motd   0644 welcome
";

const CONTEXT: &str = r#"
    a.txt               0644 alpha
    b.txt               0600 beta
    script.sh           0755 #!/bin/sh\necho script
    dir/x.txt           0644 x
    dir/y.md            0644 y
    dir/sub/z.txt       0644 z
    dir/sub/deep/w.md   0644 w
    other/x.txt         0644 another x
    other/sub/more.txt  0644 more
    link -> a.txt
    dirlink -> dir
    links/relative -> ../a.txt
    links/absolute -> /etc/passwd
    links/broken -> nowhere
    links/up -> ..
    "sp ace.txt"        0644 space
    [brackets].txt      0644 brackets
    hard/one            0644 linked
    hard/two = hard/one
    hard/three = hard/one
    modes/suid          4755 suid
    modes/none          0000 none
    modes/all           0777 all
    modes/sticky/       1777
    modes/private/      0700
    modes/private/f     0444 f
    empty/              0755
    dot/.hidden         0644 hidden
    dot/.folder/file    0644 file
    archives/broken.tar.gz 0644 this is no archive
"#;

/// Lines of a difference that are allowed, by case; each is explained in `docs/dev/differences.md`.
const ALLOWED: &[(&str, &[&str])] = &[
    (
        "add_tar_chown",
        &[
            "/out/tree: kiln dir 0755 7:8, BuildKit dir 0755 3:4",
            "/out/tree/dangling: kiln link 0777 7:8 /nowhere/at/all, BuildKit link 0777 3:4 /nowhere/at/all",
            "/out/tree/hard: kiln file 0640 7:8 4 bytes 2c8b08da5ce6, BuildKit file 0640 3:4 4 bytes 2c8b08da5ce6",
            "/out/tree/link: kiln link 0777 7:8 one, BuildKit link 0777 3:4 one",
            "/out/tree/one: kiln file 0640 7:8 4 bytes 2c8b08da5ce6, BuildKit file 0640 3:4 4 bytes 2c8b08da5ce6",
            "/out/tree/sub: kiln dir 0750 7:8, BuildKit dir 0750 3:4",
            "/out/tree/sub/two: kiln file 0644 7:8 4 bytes 27dd8ed44a83, BuildKit file 0644 3:4 4 bytes 27dd8ed44a83",
        ],
    ),
    (
        "copy_chmod_new_directories",
        &[
            "/usr: kiln dir 0711 0:0, BuildKit dir 0755 0:0",
            "/usr/bin: kiln dir 0711 0:0, BuildKit dir 0755 0:0",
        ],
    ),
    (
        "copy_chmod_set_id",
        &[
            "/tool: kiln file 6755 0:0 22 bytes 013c0d0d99f2, BuildKit file 0755 0:0 22 bytes 013c0d0d99f2",
        ],
    ),
    (
        "copy_from_fifo",
        &["/p/fifo: kiln fifo 0644 0:0, BuildKit absent"],
    ),
    (
        "run_mount_points_are_cleaned",
        &[
            "/dev: kiln absent, BuildKit dir 0755 0:0",
            "/etc: kiln absent, BuildKit dir 0755 0:0",
            "/proc: kiln absent, BuildKit dir 0755 0:0",
            "/sys: kiln absent, BuildKit dir 0755 0:0",
        ],
    ),
];

#[test]
fn every_file_is_a_case() {
    let mut files: Vec<String> = fs::read_dir(cases())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter_map(|name| Some(name.strip_suffix(".Dockerfile")?.replace('-', "_")))
        .collect();
    files.sort();
    let mut cases = CASES.to_vec();
    cases.sort_unstable();
    assert_eq!(files, cases);
}

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("differential/cases")
}

#[track_caller]
fn check(case: &str) {
    base::run(&format!("differential::{case}"), || {
        let docker = Docker::get()?;
        let (kiln, context) = set_up(docker)?;
        let name = case.replace('_', "-");
        let file = context.join(format!("{name}.Dockerfile"));
        let image = format!("diff-{name}");

        let further = further_arguments(&file, context);
        for command in [kiln.command(), docker.command()] {
            let build = command.args(["build", "--network=host", "--tag", &image, "--file"]);
            let _ = build.arg(&file).args(&further).arg(context).run().ok();
        }

        let ours = kiln.run(&["save", "--format", "docker", &image]).ok();
        let theirs = docker.run(&["save", &image]).ok();
        let ours = FlatImage::from_docker_archive(&ours.stdout);
        let theirs = FlatImage::from_docker_archive(&theirs.stdout);
        let differences = ours.differences(&theirs, ["kiln", "BuildKit"]);
        let allowed = ALLOWED.iter().find(|(known, _)| *known == case);
        let allowed = allowed.map_or(&[][..], |(_, lines)| lines);
        let left = differences.lines();
        let left = left.filter(|line| !allowed.contains(line) && !is_mount_stub(case, line));
        let left: Vec<&str> = left.collect();
        assert!(left.is_empty(), "differences:\n{}", left.join("\n"));
        Ok(())
    });
}

/// Whether this is a directory that BuildKit made for a mount and did not remove.
fn is_mount_stub(case: &str, line: &str) -> bool {
    case.starts_with("mount_") && line.ends_with(": kiln absent, BuildKit dir 0755 0:0")
}

/// What the last line of a case, `# with: …`, adds to the command.
fn further_arguments(file: &Path, context: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let last = text.lines().last().unwrap_or_default();
    let words = last.strip_prefix("# with: ").unwrap_or_default();
    let words = words.replace("{context}", &context.display().to_string());
    words.split_whitespace().map(str::to_owned).collect()
}

/// Makes the context and the base image once, and gives the base image to Docker.
fn set_up(docker: &Docker) -> Result<&'static (Kiln, PathBuf), Absent> {
    static READY: OnceLock<Result<(Kiln, PathBuf), Absent>> = OnceLock::new();
    let ready = READY.get_or_init(|| {
        let kiln = Kiln::new(Who::Root, "differential")?;
        let busybox = testkit::find_program("busybox")?;
        let from = Scratch::folder("differential-base");
        make_tree(&from, BASE_FILES);
        fs::copy(busybox, from.join("busybox")).unwrap();
        fs::write(from.join("Dockerfile"), BASE_DOCKERFILE).unwrap();
        let _ = kiln
            .command()
            .args(["build", "--tag", BASE])
            .arg(&from)
            .run()
            .ok();
        let archive = kiln.run(&["save", "--format", "docker", BASE]).ok();
        let _ = docker
            .command()
            .arg("load")
            .input(archive.stdout)
            .run()
            .ok();

        let context = Scratch::folder("differential-context");
        make_tree(&context, CONTEXT);
        make_archives(&context.join("archives"));
        for entry in fs::read_dir(cases()).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, context.join(path.file_name().unwrap())).unwrap();
        }
        Ok((kiln, context))
    });
    ready.as_ref().map_err(Clone::clone)
}

/// The same tree in every form that `ADD` unpacks.
fn make_archives(folder: &Path) {
    let tree = Scratch::folder("differential-archive");
    make_tree(
        &tree,
        "
        tree/one        0640 one
        tree/sub/       0750
        tree/sub/two    0644 two
        tree/link -> one
        tree/hard = tree/one
        tree/dangling -> /nowhere/at/all
        ",
    );
    for (option, name) in [
        ("--create", "plain.tar"),
        ("--gzip", "tree.tar.gz"),
        ("--bzip2", "tree.tar.bz2"),
        ("--xz", "tree.tar.xz"),
    ] {
        let tar = Program::new("tar").args(["--create", option, "--sort=name", "--owner=3:3"]);
        let tar = tar.args(["--group=4:4", "--file"]).arg(folder.join(name));
        let _ = tar.arg("--directory").arg(&tree).arg("tree").run().ok();
    }
}
