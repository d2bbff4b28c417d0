//! The product's own image: the static binaries of this workspace, stripped, FROM scratch.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    checkout::Checkout,
    error::{About, Error, Result},
    image::{Image, Layer},
    steps::Log,
};

const REPOSITORY: &str = "pilothouse/pilothouse";
/// What is in the image.
pub const PROGRAMS: [&str; 5] = [
    "kubectl-pilothouse",
    "operator",
    "server",
    "toolkit",
    "webhook",
];

pub struct Product {
    pub archive: PathBuf,
    pub tag: String,
    /// Stripped binaries, as in the image.
    pub binaries: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// What a release is called.
    Version,
    /// Version and content, so that a cluster tells one build from the next.
    Content,
}

impl Product {
    pub fn name(&self) -> String {
        format!("{REPOSITORY}:{}", self.tag)
    }
}

/// Builds the binaries of these programs and writes the image into `out`.
pub fn build(
    checkout: &Checkout,
    log: &Log,
    release: bool,
    programs: &[&str],
    out: &Path,
    tag: Tag,
) -> Result<Product> {
    let binaries = out.join("bin");
    fs::create_dir_all(&binaries).about("create", &binaries)?;
    let mut layer = Layer::default();
    let mut content = Sha256::new();
    for built in compile(checkout, log, release, programs)? {
        let name = built
            .file_name()
            .expect("cargo names files")
            .to_string_lossy()
            .into_owned();
        let stripped = binaries.join(&name);
        log.run(Command::new("strip").arg("-o").arg(&stripped).arg(&built))?;
        let data = fs::read(&stripped).about("read", &stripped)?;
        content.update(&data);
        layer.file(&name, 0o755, &data);
    }
    let tag = match tag {
        Tag::Version => env!("CARGO_PKG_VERSION").to_owned(),
        Tag::Content => format!(
            "{}-{}",
            env!("CARGO_PKG_VERSION"),
            hex::encode(&content.finalize()[..6])
        ),
    };
    let archive = out.join(format!("pilothouse-{}.tar", env!("CARGO_PKG_VERSION")));
    let product = Product {
        archive,
        tag,
        binaries,
    };
    Image {
        name: &product.name(),
        entrypoint: &["/operator"],
        user: "65532:65532",
    }
    .write(layer, &product.archive)?;
    Ok(product)
}

/// Compiles these programs and returns where cargo put them, in this order. They are picked by name and not by package, here and in tests: the same
/// dependencies have the same features then, and are compiled once.
pub fn compile(
    checkout: &Checkout,
    log: &Log,
    release: bool,
    programs: &[&str],
) -> Result<Vec<PathBuf>> {
    let mut cargo = checkout.cargo();
    cargo.args(["build", "--workspace"]);
    cargo.args(programs.iter().flat_map(|program| ["--bin", program]));
    if release {
        cargo.arg("--release");
    }
    let built = executables(log, &mut cargo)?;
    let find = |program: &&str| {
        let found = built.iter().find(|path| path.ends_with(program));
        found
            .cloned()
            .ok_or_else(|| Error::Refused(format!("cargo built no program {program}")))
    };
    programs.iter().map(find).collect()
}

/// Has cargo compile, and returns the programs that come of it.
pub fn executables(log: &Log, cargo: &mut Command) -> Result<Vec<PathBuf>> {
    cargo.args(["--quiet", "--message-format=json-render-diagnostics"]);
    let mut built = Vec::new();
    for message in log.read(cargo)?.lines() {
        let message: Value = serde_json::from_str(message).map_err(|source| Error::Json {
            what: "cargo".into(),
            source,
        })?;
        built.extend(message["executable"].as_str().map(PathBuf::from));
    }
    Ok(built)
}

/// Generates crds/yaml, the templates of charts/pilothouse-crds and docs/reference; with `--check`, says what would change.
pub fn generate(checkout: &Checkout, log: &Log, arguments: &[&str]) -> Result<()> {
    let crdgen = compile(checkout, log, false, &["crdgen"])?.remove(0);
    log.run(
        Command::new(crdgen)
            .args(arguments)
            .current_dir(&checkout.root),
    )
}
