//! How far Pod Security bounds whoever may create pods. A level that the API server's own configuration sets for namespaces without a label cannot be seen from here.

use crds::v1alpha1::CommandSeverity as Severity;
use k8s_openapi::api::core::v1::Namespace;

use super::finding::Place;

const LABEL: &str = "pod-security.kubernetes.io/enforce";
/// Namespaces that are named.
const NAMED: usize = 5;

/// How bad it is, and why.
pub fn of(namespaces: &[Namespace], place: Place<'_>) -> (Severity, String) {
    let Place::Namespace(name) = place else {
        return (Severity::High, in_the_cluster(namespaces));
    };
    let named = |n: &&Namespace| n.metadata.name.as_deref() == Some(name);
    let Some(namespace) = namespaces.iter().find(named) else {
        let note = format!("it is not known what Pod Security lets into namespace {name}");
        return (Severity::High, note);
    };
    match level(namespace) {
        Some(level @ ("restricted" | "baseline")) => {
            let note = format!("namespace {name} enforces Pod Security {level}: {LABEL}={level}");
            (Severity::Medium, note)
        }
        Some(level) => {
            let note = format!("namespace {name} lets every pod in: {LABEL}={level}");
            (Severity::High, note)
        }
        None => {
            let note = format!("namespace {name} lets every pod in: it has no label {LABEL}");
            (Severity::High, note)
        }
    }
}

fn in_the_cluster(namespaces: &[Namespace]) -> String {
    let is_open = |n: &&Namespace| !matches!(level(n), Some("restricted" | "baseline"));
    let open = namespaces.iter().filter(is_open);
    let names: Vec<_> = open.filter_map(|n| n.metadata.name.as_deref()).collect();
    if names.is_empty() {
        return format!("no namespace that could be read is without {LABEL}");
    }
    let shown = names[..names.len().min(NAMED)].join(", ");
    match names.len().checked_sub(NAMED) {
        None | Some(0) => format!("every pod is let in by Pod Security in {shown}"),
        Some(more) => format!("every pod is let in by Pod Security in {shown} and {more} more"),
    }
}

fn level(namespace: &Namespace) -> Option<&str> {
    let labels = namespace.metadata.labels.as_ref()?;
    labels.get(LABEL).map(String::as_str)
}
