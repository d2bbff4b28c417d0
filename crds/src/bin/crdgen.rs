//! Writes `crds/yaml/`, the chart's copies and `docs/reference/` from the types; with `--check`, names the files that differ and writes none.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use crds::{reference, v1alpha1};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

fn main() -> ExitCode {
    let check = std::env::args().any(|argument| argument == "--check");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lives in the workspace");
    let stale: Vec<_> = generated()
        .into_iter()
        .filter(|(path, text)| differs(&root.join(path), text))
        .collect();
    for (path, text) in &stale {
        if check {
            eprintln!(
                "{} differs from the types; run `cargo xtask crds`",
                path.display()
            );
        } else if let Err(error) = write(&root.join(path), text) {
            eprintln!("cannot write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    if check && !stale.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn generated() -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    for crd in v1alpha1::all() {
        let plural = &crd.spec.names.plural;
        let yaml = serde_saphyr::to_string(&crd).expect("a CustomResourceDefinition is plain data");
        files.insert(
            format!("charts/pilothouse-crds/templates/{plural}.yaml").into(),
            for_chart(&crd),
        );
        files.insert(format!("crds/yaml/{plural}.yaml").into(), yaml);
        files.insert(
            format!("docs/reference/{plural}.md").into(),
            reference::page(&crd),
        );
    }
    files
}

/// The chart keeps CRDs on uninstall, so that removing Pilothouse does not remove what people wrote.
fn for_chart(crd: &CustomResourceDefinition) -> String {
    let mut kept = crd.clone();
    kept.metadata.annotations =
        Some([("helm.sh/resource-policy".to_owned(), "keep".to_owned())].into());
    // Templates in field docs are for people, not for Helm.
    serde_saphyr::to_string(&kept)
        .expect("a CustomResourceDefinition is plain data")
        .replace("{{", "{{ \"{{\" }}")
}

fn differs(path: &Path, text: &str) -> bool {
    fs::read_to_string(path).map_or(true, |old| old != text)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(path.parent().expect("generated files live in folders"))?;
    fs::write(path, text)
}
