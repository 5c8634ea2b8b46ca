//! Rows about what a `RUN` step sees, and what it leaves.

use super::row;

#[test]
fn path_of_a_base_without_one() {
    row(|lab| {
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let text = format!("FROM base\nRUN test \"$PATH\" = {path}\n");
        let config = lab.build(&text).config();
        assert_eq!(
            config["config"]["Env"][0],
            format!("PATH={path}"),
            "{config}"
        );
        Ok(())
    });
}

#[test]
fn host_name_and_files_of_the_network() {
    row(|lab| {
        lab.build(
            "
            FROM base
            RUN test $(hostname) = buildkitsandbox && grep localhost /etc/hosts
            RUN grep ' /etc/hosts ' /proc/mounts && grep ' /etc/resolv.conf ' /proc/mounts
            ",
        )
        .ok();
        Ok(())
    });
}

#[test]
fn mount_points_leave_no_trace() {
    row(|lab| {
        lab.tree("busybox-only 0644 x");
        let image = lab
            .build(
                r#"
                FROM scratch
                COPY --from=base /bin/busybox /bin/busybox
                RUN --mount=type=tmpfs,target=/a/b/c ["/bin/busybox", "true"]
                "#,
            )
            .flat();
        assert_eq!(image.files.len(), 2, "{}", image.tree());
        let config = lab.build("FROM base\nRUN true\n").config();
        let layers = config["rootfs"]["diff_ids"].as_array().unwrap();
        let again = lab
            .build("FROM base\nRUN true\n")
            .arg("--no-cache")
            .config();
        assert_eq!(
            layers.last(),
            again["rootfs"]["diff_ids"].as_array().unwrap().last()
        );
        Ok(())
    });
}

#[test]
fn entrypoint_of_the_base_is_not_used_by_run() {
    row(|lab| {
        lab.build("FROM base AS a\nENTRYPOINT [\"/bin/false\"]\nFROM a\nRUN true\n")
            .ok();
        Ok(())
    });
}
