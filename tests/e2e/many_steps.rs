//! Builds of more steps than overlayfs stacks directories: layers are merged for mounts, and no image
//! shows it.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use testkit::{Absent, Finished, Kiln, Scratch, Who};

use crate::base;

/// A variable that switches merging off, up to as many steps as the kernel can do without.
const AS_THEY_ARE: &str = "499";

/// Steps that take away, replace, link, move and list what steps far below them made. Listings tell
/// how many names files have.
fn script(step: usize) -> String {
    let (far, near) = (step.saturating_sub(77), step.saturating_sub(3));
    match step % 10 {
        0 => format!(
            "mkdir -p /d{step}/sub && echo {step} > /d{step}/f && ln /d{step}/f /d{step}/sub/g"
        ),
        1 => format!(
            "rm -rf /d{} /l{far} && mkdir -p /many && echo {step} > /many/{step}",
            near - near % 10
        ),
        2 => format!("rm -rf /again && mkdir /again && echo {step} > /again/{step}"),
        3 => format!("mkdir -p /d{step} && echo {step} > /d{step}/f && ln /d{step}/f /l{step}"),
        4 => format!(
            "if test -e /l{far}; then ln /l{far} /n{step}; rm /d{far}/f; fi; chmod 0711 /many"
        ),
        5 => format!("mknod /p{step} p && ln -s /p{step} /s{step} && chown 12:34 /p{step}"),
        6 => "find / -xdev ! -type d ! -name 'list*' -exec stat -c '%n %h %a %u:%g %s' {} + \
              | grep -v '^/etc/' | sort > /list"
            .to_owned(),
        7 => format!("if test -d /d{far}; then mv /d{far} /m{step}; fi; echo {step} >> /many/log"),
        8 => format!(
            "rm -rf /turn; if test $(({step} / 10 % 2)) = 0; then mkdir /turn && echo {step} > /turn/{step}; else echo {step} > /turn; fi"
        ),
        _ => format!(
            "rm -f /p{far} /s{far} /n{far}; touch /many/{}",
            far - far % 10 + 1
        ),
    }
}

fn context(name: &str, steps: usize, script: impl Fn(usize) -> String) -> Result<PathBuf, Absent> {
    let folder = Scratch::folder(name);
    fs::copy(testkit::find_program("busybox")?, folder.join("busybox")).unwrap();
    let mut dockerfile = "FROM scratch\nCOPY busybox /bin/busybox\n\
         RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n"
        .to_owned();
    for step in 1..=steps {
        writeln!(dockerfile, "RUN {}", script(step)).unwrap();
    }
    fs::write(folder.join("Dockerfile"), dockerfile).unwrap();
    Ok(folder)
}

fn build(kiln: &Kiln, context: &PathBuf, above: Option<&str>) -> Finished {
    let mut command = kiln.command().env("SOURCE_DATE_EPOCH", "1000");
    if let Some(above) = above {
        command = command.env("KILN_FLATTEN_ABOVE", above);
    }
    let command = command.args(["build", "--progress=plain", "--tag", "many"]);
    command.arg(context).run().ok()
}

/// The manifest of the image of so many steps, and how many snapshots the store has then.
fn built(
    who: Who,
    name: &str,
    steps: usize,
    above: Option<&str>,
) -> Result<(String, usize), Absent> {
    let name = format!("many-{name}-{steps}");
    let folder = context(&name, steps, script)?;
    let kiln = Kiln::new(who, &name)?;
    build(&kiln, &folder, above);
    let snapshots = || {
        fs::read_dir(kiln.store().join("snapshots"))
            .unwrap()
            .count()
    };
    let count = snapshots();
    let again = build(&kiln, &folder, above);
    assert_eq!(snapshots(), count, "steps ran again: {again}");
    let listed = kiln.ok(&["run", "--rm", "many", "ls", "/"]);
    assert!(listed.contains("many\n"), "{listed}");
    Ok((kiln.ok(&["inspect", "--manifest", "many"]), count))
}

#[test]
fn merged_layers_change_no_image() {
    base::run("many_steps::merged_layers_change_no_image", || {
        let (plain, layers) = built(Who::Root, "plain", 450, Some(AS_THEY_ARE))?;
        assert_eq!(layers, 452);
        let (merged, snapshots) = built(Who::Root, "merged", 450, None)?;
        assert_eq!(plain, merged);
        assert_eq!(snapshots, layers + 452 / 32);
        let (merged, _) = built(Who::User, "merged", 450, None)?;
        assert_eq!(plain, merged);
        Ok(())
    });
}

#[test]
fn layers_merged_at_every_second_step_change_no_image() {
    base::run(
        "many_steps::layers_merged_at_every_second_step_change_no_image",
        || {
            let (plain, _) = built(Who::Root, "plain", 120, Some(AS_THEY_ARE))?;
            let (merged, _) = built(Who::Root, "merged", 120, Some("4"))?;
            assert_eq!(plain, merged);
            Ok(())
        },
    );
}

#[test]
fn a_thousand_steps_are_no_limit() {
    base::run("many_steps::a_thousand_steps_are_no_limit", || {
        let folder = context("many-thousand", 1000, |step| format!("echo {step} > /made"))?;
        let kiln = Kiln::new(Who::Root, "many-thousand")?;
        build(&kiln, &folder, None);
        assert_eq!(kiln.ok(&["run", "--rm", "many", "cat", "/made"]), "1000\n");
        // A stage that begins with the image, and one that takes files from it.
        let dockerfile = "FROM many AS one\nRUN cp /made /copy\n\
             FROM scratch\nCOPY --from=one /copy /made /\n";
        let next = Scratch::folder("many-thousand-next");
        fs::write(next.join("Dockerfile"), dockerfile).unwrap();
        let out = next.join("out");
        let output = format!("type=local,dest={}", out.display());
        kiln.ok(&["build", "--output", &output, &next.display().to_string()]);
        assert_eq!(fs::read_to_string(out.join("copy")).unwrap(), "1000\n");
        Ok(())
    });
}
