//! Rows about the same bytes for the same inputs.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::row;

const EPOCH: &str = "1500000000";

#[test]
fn source_date_epoch_of_the_environment() {
    row(|lab| {
        let config = lab
            .build("FROM base\nARG SOURCE_DATE_EPOCH\nRUN test $SOURCE_DATE_EPOCH = 1500000000\n")
            .env("SOURCE_DATE_EPOCH", EPOCH)
            .config();
        assert_eq!(config["created"], "2017-07-14T02:40:00Z", "{config}");
        let history = config["history"].as_array().unwrap();
        assert_eq!(
            history.last().unwrap()["created"],
            "2017-07-14T02:40:00Z",
            "{config}"
        );
        // What came with the base stays as it is.
        assert_ne!(history[0]["created"], "2017-07-14T02:40:00Z", "{config}");
        Ok(())
    });
}

#[test]
fn times_of_local_and_tar_outputs() {
    row(|lab| {
        let folder = lab.folder("out");
        let dest = folder.join("local");
        lab.build("FROM scratch\nCOPY <<EOF /file\nx\nEOF\n")
            .env("SOURCE_DATE_EPOCH", EPOCH)
            .arg(format!("--output=type=local,dest={}", dest.display()))
            .arg(format!(
                "--output=type=tar,dest={}",
                folder.join("t.tar").display()
            ))
            .ok();
        let time = fs::metadata(dest.join("file")).unwrap().mtime();
        assert_eq!(time.to_string(), EPOCH);
        let listed = lab.program("tar").args(["--utc", "--full-time", "-tvf"]);
        let listed = listed.arg(folder.join("t.tar")).run().ok();
        assert!(listed.text().contains("2017-07-14 02:40:00"), "{listed}");
        Ok(())
    });
}

#[test]
fn same_inputs_give_the_same_bytes() {
    row(|lab| {
        let build = |name: &str| {
            let kiln = lab.fresh(name);
            super::lab::make_base(&kiln, "b0").unwrap();
            let text = "FROM scratch\nCOPY file /\nCOPY <<EOF /here\nx\nEOF\nWORKDIR /w\n";
            lab.file("file", "content\n");
            let build = lab.build_by(&kiln, text).env("SOURCE_DATE_EPOCH", EPOCH);
            build.args(&["--tag", "same"]).ok();
            kiln.ok(&["inspect", "--manifest", "same"])
        };
        assert_eq!(build("one"), build("two"));
        Ok(())
    });
}
