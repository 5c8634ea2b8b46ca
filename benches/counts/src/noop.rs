//! A build that has been done before: what is left is to find that out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use kiln_attest::AttestRequest;
use kiln_base::CancelToken;
use kiln_base::events::Silent;
use kiln_engine::{
    Allow, BuildRequest, CacheUse, Context, Dockerfile, Engine, FileTimes, Flatten, Pull, Settings,
    StepSettings, Trust,
};
use kiln_graph::Network;
use kiln_layer::LayerCompression;
use kiln_oci::{Family, Platform};
use kiln_registry::{Client, ClientConfig, CredentialSource, Proxy, RetryPolicy};
use kiln_store::Store;
use kiln_sys::files;
use kiln_sys::namespace::{self, Grade, GradeWish};

use crate::path::Walk;
use crate::{Failure, input};

const CONTEXT: &str = "context";
const STORE: &str = "store";
/// The only program of the base.
const PROGRAM: &str = "/bin/busybox";

pub(crate) fn prepare() -> Result<(), Failure> {
    input::make_sources(&format!("{CONTEXT}/src"), 1_000)?;
    files::write(format!("{CONTEXT}/Dockerfile"), dockerfile().as_bytes())?;
    let program = files::read(PROGRAM)?;
    files::write_new(format!("{CONTEXT}/busybox"), &program, 0o755)?;
    files::create_dir(STORE, 0o700)?;
    let grade = namespace::enter(GradeWish::Strongest)?;
    build(grade)?;
    // The second build is the first that finds everything; the third is like all that follow.
    build(grade)
}

pub(crate) fn load() -> Result<Walk, Failure> {
    let grade = namespace::enter(GradeWish::Strongest)?;
    Ok(Box::new(move || build(grade)))
}

/// Twenty steps: two copies, and processes that do nothing.
fn dockerfile() -> String {
    let mut text =
        format!("FROM scratch\nCOPY busybox {PROGRAM}\nSHELL [\"{PROGRAM}\", \"sh\", \"-c\"]\n");
    for step in 0..18 {
        let _ = writeln!(text, "RUN : step {step}");
    }
    text.push_str("COPY src /src\n");
    text
}

/// All that a process does for it: open the store, build, put the image into the store.
fn build(grade: Grade) -> Result<(), Failure> {
    let clock = input::clock();
    let engine = Engine::new(
        Store::open(Path::new(STORE), clock.clone())?,
        Client::new(ClientConfig {
            hosts: BTreeMap::new(),
            credentials: CredentialSource::default(),
            proxy: Proxy::None,
            retry: RetryPolicy::standard(0),
            user_agent: String::new(),
        }),
        clock,
        Settings {
            grade,
            jobs: NonZeroUsize::MIN,
            now: input::later,
            resolv_conf: String::new(),
            flatten: Flatten::STANDARD,
        },
    );
    black_box(engine.build(&request()?, &Silent, &CancelToken::new())?);
    Ok(())
}

fn request() -> Result<BuildRequest, Failure> {
    Ok(BuildRequest {
        name: String::new(),
        context: Context::Directory(PathBuf::from(CONTEXT)),
        contexts: BTreeMap::new(),
        dockerfile: Dockerfile::Default,
        target: None,
        build_args: BTreeMap::new(),
        labels: BTreeMap::new(),
        platforms: vec![Platform::new("linux", "amd64")],
        tags: vec!["counts:1".parse()?],
        outputs: Vec::new(),
        cache: CacheUse::Use,
        cache_from: Vec::new(),
        cache_to: Vec::new(),
        pull: Pull::Missing,
        steps: StepSettings {
            network: Network::None,
            extra_hosts: Vec::new(),
            allow: Allow::default(),
            shm_size: None,
            ulimits: Vec::new(),
            cgroup_parent: None,
            resources: BTreeMap::new(),
        },
        secrets: BTreeMap::new(),
        ssh: BTreeMap::new(),
        proxies: Vec::new(),
        jobs: NonZeroUsize::MIN,
        source_date_epoch: None,
        file_times: FileTimes::Clamp,
        format: Family::Oci,
        compression: LayerCompression::default(),
        annotations: Vec::new(),
        attest: AttestRequest::default(),
        trust: Trust::ImageOnly,
        explain: false,
    })
}
