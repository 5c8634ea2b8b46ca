//! Attestations: what is in each platform's root, and how it was made.
//!
//! A root is scanned once, whatever the outputs. With `SOURCE_DATE_EPOCH` nothing in an attestation
//! depends on when or where it was made.

use std::collections::{BTreeMap, BTreeSet};

use kiln_attest::{
    BillInfo, BillSubject, Build, ConfigSource, Inventory, Material, Predicate, ProvenanceMode,
    Request, SecretUse, SourceFile, Statement, Subject,
};
use kiln_base::Timestamp;
use kiln_graph::{Graph, Network, Op, RunMount, StepIndex};
use kiln_oci::{Digest, Digester, Platform};
use kiln_store::SnapshotId;
use kiln_sys::fs::{Dir, FileType};

use crate::build::in_image;
use crate::chain::Chain;
use crate::error::{BuildError, OutputError};
use crate::layers::ImageLayers;
use crate::plan::{PlannedBuild, PlannedResult};
use crate::remote::Exporter;
use crate::request::{BuildRequest, Context, NamedContext};

/// The file that a bill of materials is beside a result's files.
const SBOM_FILE: &str = "sbom.spdx.json";
/// Build arguments by which more than the result is scanned.
const FURTHER_SCANS: [&str; 2] = ["BUILDKIT_SBOM_SCAN_STAGE", "BUILDKIT_SBOM_SCAN_CONTEXT"];

/// What can be said of a build's results.
pub(crate) struct Attester<'m, 'a> {
    exporter: &'m Exporter<'a>,
    build: &'m PlannedBuild<'m>,
    /// What is in each platform's root; none where no bill of materials is asked for.
    inventories: Vec<Inventory>,
    invocation: String,
    started: Timestamp,
    finished: Timestamp,
}

/// One thing that is said of one platform's result.
#[derive(Debug, Clone)]
pub(crate) struct Attestation {
    pub(crate) predicate: Predicate,
    /// The file it is in beside a result's files; `None` where it is in images only.
    pub(crate) file: Option<String>,
}

/// Refuses scans that kiln does not do.
pub(crate) fn check_scans(build: &PlannedBuild<'_>) -> Result<(), OutputError> {
    if build.request.attest.sbom.is_none() {
        return Ok(());
    }
    let is_on = |value: &str| !matches!(value, "" | "0" | "false");
    for name in FURTHER_SCANS {
        let argument = build.request.build_args.get(name);
        let declared = build.dockerfile.text.lines().any(|line| {
            let mut words = line.split_whitespace();
            let is_argument = words
                .next()
                .is_some_and(|word| word.eq_ignore_ascii_case("ARG"));
            let value = |word: &str| {
                let value = word.strip_prefix(name)?.strip_prefix('=')?;
                Some(is_on(value.trim_matches(['"', '\''])))
            };
            is_argument && words.any(|word| value(word) == Some(true))
        });
        if argument.map_or(declared, |value| is_on(value)) {
            return Err(OutputError::FurtherScan(name));
        }
    }
    Ok(())
}

impl<'m, 'a> Attester<'m, 'a> {
    /// Scans the roots; `None` where nothing is asked for.
    pub(crate) fn new(
        exporter: &'m Exporter<'a>,
        build: &'m PlannedBuild<'m>,
        chains: &[Chain],
        started: Timestamp,
    ) -> Result<Option<Self>, BuildError> {
        let (engine, request) = (exporter.engine, build.request);
        if request.attest.is_empty() {
            return Ok(None);
        }
        let mut inventories = Vec::new();
        if request.attest.sbom.is_some() {
            let name = "scan for packages";
            exporter.reporter.step(name, exporter.cancel, |_| {
                for chain in chains {
                    let root = Dir::from_fd(engine.readable_root(chain)?);
                    let root = engine.machine.tree(root);
                    let found = kiln_attest::scan(&root, exporter.cancel);
                    inventories.push(found.map_err(OutputError::from)?);
                }
                Ok::<_, BuildError>(())
            })?;
        }
        for warning in inventories.iter().flat_map(|inventory| &inventory.warnings) {
            let text = format!("`{}` was not read: {}", warning.path, warning.reason);
            exporter.reporter.warn(&text, None);
        }
        let epoch = request.source_date_epoch;
        Ok(Some(Self {
            exporter,
            build,
            inventories,
            invocation: match epoch {
                Some(_) => invocation_of(exporter.graph, build),
                None => SnapshotId::random().as_str().to_owned(),
            },
            started: started.clamp_to(epoch),
            finished: engine.now().clamp_to(epoch),
        }))
    }

    /// What is said of one platform's result; `layers` are there where it is an image.
    pub(crate) fn attestations(
        &self,
        number: usize,
        layers: Option<ImageLayers<'_, '_>>,
    ) -> Result<Vec<Attestation>, BuildError> {
        let mut all = Vec::new();
        let planned = &self.build.results[number];
        if let Some(inventory) = self.inventories.get(number) {
            all.push(Attestation {
                predicate: self.bill(inventory, &planned.platform),
                file: Some(SBOM_FILE.to_owned()),
            });
        }
        if let Some(request) = &self.build.request.attest.provenance {
            let layers = layers.filter(|_| request.mode == ProvenanceMode::Max);
            let described = self.describe(planned, layers)?;
            let predicate = described.predicate(request).map_err(OutputError::from)?;
            all.push(Attestation {
                predicate,
                file: (!request.inline_only).then(|| request.filename.clone()),
            });
        }
        Ok(all)
    }

    /// The provenance of each platform's result, as JSON.
    pub(crate) fn provenance(&self) -> Result<Vec<(Platform, String)>, BuildError> {
        let Some(request) = &self.build.request.attest.provenance else {
            return Ok(Vec::new());
        };
        let results = self.build.results.iter();
        let documents = results.map(|planned| {
            let described = self.describe(planned, None)?;
            let predicate = described.predicate(request).map_err(OutputError::from)?;
            Ok((planned.platform.clone(), predicate.as_json().to_owned()))
        });
        documents.collect()
    }

    fn bill(&self, inventory: &Inventory, platform: &Platform) -> Predicate {
        let name = self.build.request.tags.first();
        let mut info = BillInfo {
            name: name.map_or_else(|| "sbom".to_owned(), kiln_oci::Reference::familiar),
            subject: BillSubject::Image,
            created: self.finished,
            namespace: String::new(),
            tool: format!("kiln-{}", env!("CARGO_PKG_VERSION")),
        };
        let content = Digest::sha256(&inventory.spdx(&info));
        let platform = platform.to_string().replace('/', "-");
        info.namespace = format!(
            "https://spdx.org/spdxdocs/kiln-{platform}-{}",
            content.hex()
        );
        inventory.predicate(&info)
    }

    fn describe(
        &self,
        planned: &PlannedResult,
        layers: Option<ImageLayers<'_, '_>>,
    ) -> Result<Build, BuildError> {
        let (graph, request) = (self.exporter.graph, self.build.request);
        let text = &self.build.dockerfile.text;
        let own = graph.step(planned.target).meta.build;
        let contexts = context_names(self.build);
        let steps = kiln_attest::steps_of(graph, &[planned.target], text, &contexts);
        let used: Vec<StepIndex> = steps.iter().map(|(index, _)| *index).collect();
        let packed = in_image(graph, planned.target);
        let mut described = Vec::new();
        for (index, mut step) in steps {
            // Another build's lines are those of another Dockerfile.
            if graph.step(index).meta.build != own {
                step.lines.clear();
            }
            if let Some(layers) = layers
                && packed.contains(&index)
                && let Some(chain) = self.exporter.result(index)
            {
                let ready = layers.ready(chain)?;
                step.layers = vec![ready.into_iter().map(|layer| layer.blob).collect()];
            }
            described.push(step);
        }
        let runs_online = |op: &Op| matches!(op, Op::Run(run) if run.network != Network::None);
        Ok(Build {
            source: source(request, &self.build.dockerfile.name),
            request: asked(graph, &used, request),
            materials: materials(graph, &used, request),
            materials_complete: matches!(request.context, Context::Directory(_) | Context::Empty),
            network: used.iter().any(|index| runs_online(&graph.step(*index).op)),
            builder_platform: Platform::host(),
            vcs: BTreeMap::new(),
            invocation_id: self.invocation.clone(),
            started: self.started,
            finished: self.finished,
            steps: described,
            sources: vec![SourceFile {
                filename: self.build.dockerfile.name.clone(),
                language: "Dockerfile".to_owned(),
                data: text.clone().into_bytes(),
            }],
        })
    }

    /// The files that stand beside a platform's own: name and statement.
    pub(crate) fn files(
        &self,
        number: usize,
        root: &Dir,
    ) -> Result<Vec<(String, Vec<u8>)>, BuildError> {
        let mut files = Vec::new();
        let mut subjects = None;
        for attestation in self.attestations(number, None)? {
            let Some(name) = attestation.file else {
                continue;
            };
            let subjects = match &subjects {
                Some(known) => known,
                None => subjects.insert(self.subjects(root)?),
            };
            let statement = Statement::new(subjects.clone(), attestation.predicate);
            files.push((name, statement.to_bytes()));
        }
        Ok(files)
    }

    /// All regular files of a root, by path and digest.
    fn subjects(&self, root: &Dir) -> Result<Vec<Subject>, OutputError> {
        let mut subjects = Vec::new();
        self.add_subjects(root, "", &mut subjects)?;
        Ok(subjects)
    }

    fn add_subjects(
        &self,
        dir: &Dir,
        path: &str,
        subjects: &mut Vec<Subject>,
    ) -> Result<(), OutputError> {
        for entry in dir.entries()? {
            self.exporter.cancel.check()?;
            let name = format!("{path}{}", entry.name.to_string_lossy());
            match entry.file_type {
                FileType::Dir => {
                    self.add_subjects(&dir.open_dir(&entry.name)?, &format!("{name}/"), subjects)?;
                }
                FileType::File => {
                    let file = dir.open_file(&entry.name)?;
                    let digest = digest_of(file).map_err(|cause| OutputError::Write {
                        path: name.clone().into(),
                        cause,
                    })?;
                    subjects.push(Subject { name, digest });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn digest_of(mut file: std::fs::File) -> std::io::Result<Digest> {
    let mut digester = Digester::sha256();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = std::io::Read::read(&mut file, &mut buffer)?;
        if count == 0 {
            return Ok(digester.finish());
        }
        digester.update(&buffer[..count]);
    }
}

/// A name for what is built that says nothing of when.
fn invocation_of(graph: &Graph, build: &PlannedBuild<'_>) -> String {
    let steps = build
        .results
        .iter()
        .map(|result| graph.step(result.target).id.to_string());
    let text = steps.collect::<Vec<_>>().join(" ");
    Digest::sha256(text.as_bytes()).hex()[..32].to_owned()
}

fn source(request: &BuildRequest, dockerfile: &str) -> ConfigSource {
    match &request.context {
        Context::Git(url) | Context::Http(url) => ConfigSource {
            uri: Some(url.clone()),
            digest: BTreeMap::new(),
            path: Some(dockerfile.to_owned()),
        },
        Context::Directory(_) | Context::Empty | Context::Archive(_) => ConfigSource {
            path: Some(dockerfile.to_owned()),
            ..ConfigSource::default()
        },
    }
}

/// The names of contexts by number.
fn context_names(build: &PlannedBuild<'_>) -> Vec<String> {
    let count = build.context_names.keys().last().map_or(0, |last| last + 1);
    let name = |number| build.context_names.get(&number).cloned();
    (0..count)
        .map(|number| name(number).unwrap_or_else(|| "context".to_owned()))
        .collect()
}

fn asked(graph: &Graph, used: &[StepIndex], request: &BuildRequest) -> Request {
    let mut secrets = BTreeSet::new();
    let mut ssh = BTreeSet::new();
    for index in used {
        let Op::Run(run) = &graph.step(*index).op else {
            continue;
        };
        for mount in &run.mounts {
            let (list, id, required) = match mount {
                RunMount::Secret { id, required, .. } => (&mut secrets, id, required),
                RunMount::Ssh { id, required, .. } => (&mut ssh, id, required),
                _ => continue,
            };
            list.insert(SecretUse {
                id: id.clone(),
                optional: !required,
            });
        }
    }
    let mut locals = Vec::new();
    if matches!(request.context, Context::Directory(_)) {
        locals.extend(["context".to_owned(), "dockerfile".to_owned()]);
    }
    let is_local =
        |context: &&NamedContext| matches!(context, NamedContext::Files(Context::Directory(_)));
    let named = request.contexts.iter();
    locals.extend(
        named
            .filter(|(_, context)| is_local(context))
            .map(|(name, _)| name.clone()),
    );
    Request {
        frontend: "dockerfile.v0".to_owned(),
        target: request.target.clone(),
        build_args: request.build_args.clone(),
        labels: request.labels.clone(),
        options: BTreeMap::new(),
        secrets: secrets.into_iter().collect(),
        ssh: ssh.into_iter().collect(),
        locals,
    }
}

fn materials(graph: &Graph, used: &[StepIndex], request: &BuildRequest) -> Vec<Material> {
    let mut materials: Vec<Material> = Vec::new();
    for index in used {
        let material = match &graph.step(*index).op {
            Op::Image(image) => {
                let Ok(reference) = image.name.parse() else {
                    continue;
                };
                let is_layout = matches!(
                    request.contexts.get(&image.name),
                    Some(NamedContext::Layout { .. })
                );
                let (platform, digest) = (image.platform.clone(), image.manifest.clone());
                if is_layout {
                    Material::LocalImage {
                        reference,
                        platform,
                        digest,
                    }
                } else {
                    Material::Image {
                        reference,
                        platform,
                        digest,
                    }
                }
            }
            Op::Git(git) => Material::Git {
                url: git.git.to_string(),
                commit: git.commit.clone(),
            },
            Op::Http(http) => Material::Http {
                url: http.url.clone(),
                digest: http.digest.clone(),
            },
            _ => continue,
        };
        if !materials.contains(&material) {
            materials.push(material);
        }
    }
    materials
}
