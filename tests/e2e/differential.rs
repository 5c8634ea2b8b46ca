//! The same small Dockerfile, built by kiln and by BuildKit, has to give the same image.
//!
//! Cases are `tests/differential/cases/*.Dockerfile`, each with an optional ignore file beside it.
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
    add_directory add_file add_not_a_tar add_tar add_tar_bz2_and_xz add_tar_chown add_tar_gz
    add_tar_onto_existing arg_and_env_precedence arg_platform arg_scopes cmd_broken_json_is_shell
    cmd_exec cmd_shell copy_chmod_new_directories copy_chmod_octal copy_chmod_set_id
    copy_chown_and_chmod copy_chown_name_only copy_chown_names copy_chown_numbers
    copy_chown_user_only copy_directory_contents copy_directory_contents_slash
    copy_directory_onto_existing copy_dot_dot_is_clamped copy_empty_directory
    copy_escaped_brackets copy_everything copy_file copy_file_to_directory copy_file_to_new_name
    copy_from_image copy_from_keeps_special_modes copy_from_stage copy_from_stage_by_number
    copy_from_stage_wildcard copy_from_symlink_chain copy_hard_links copy_hidden_files
    copy_ignores_user copy_json_form_with_space copy_modes copy_onto_symlink_in_image
    copy_question_mark_and_class copy_relative_destination copy_replaces_file_under_link
    copy_symlink_to_directory copy_symlink_to_file copy_symlinks_inside_directory
    copy_tar_is_not_unpacked copy_through_symlinked_parent copy_wildcard
    copy_wildcard_in_directory entrypoint_exec entrypoint_keeps_own_cmd
    entrypoint_resets_inherited_cmd entrypoint_shell env_default_forms env_forms expose_forms
    healthcheck_exec healthcheck_none healthcheck_shell history_only_metadata
    ignore_comments_and_spaces ignore_double_star ignore_file ignore_with_exceptions label_forms
    onbuild_stored onbuild_triggered_in_file run_as_user run_changes_mode_only run_creates_files
    run_environment run_exec_form run_hard_and_symbolic_links run_hard_link_to_lower
    run_large_and_empty_files run_long_names run_mount_points_are_cleaned run_odd_names
    run_opaque_directory run_proc_and_dev_leave_nothing run_removes_files run_renames
    run_replaces_directory_with_file run_shell_instruction run_umask_and_limits
    run_volume_keeps_changes run_working_directory run_writes_hosts_file stages_inherit
    stages_unused_is_skipped stopsignal_and_maintainer syntax_case_and_tabs
    syntax_continuations_and_comments syntax_escape_directive user_forms volume_forms
    workdir_as_user workdir_in_scratch workdir_variable
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

        let ours = kiln
            .command()
            .args(["build", "--network=host", "--tag", &image, "--file"]);
        let _ = ours.arg(&file).arg(context).run().ok();
        let theirs = docker
            .command()
            .args(["build", "--network=host", "--tag", &image, "--file"]);
        let _ = theirs.arg(&file).arg(context).run().ok();

        let ours = kiln.run(&["save", "--format", "docker", &image]).ok();
        let theirs = docker.run(&["save", &image]).ok();
        let ours = FlatImage::from_docker_archive(&ours.stdout);
        let theirs = FlatImage::from_docker_archive(&theirs.stdout);
        let differences = ours.differences(&theirs, ["kiln", "BuildKit"]);
        let allowed = ALLOWED.iter().find(|(known, _)| *known == case);
        let allowed = allowed.map_or(&[][..], |(_, lines)| lines);
        let left = differences.lines().filter(|line| !allowed.contains(line));
        let left: Vec<&str> = left.collect();
        assert!(left.is_empty(), "differences:\n{}", left.join("\n"));
        Ok(())
    });
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
