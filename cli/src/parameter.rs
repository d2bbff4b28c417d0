//! Parameters over time and over clusters: what each version said, and what differs from what another cluster has.

use std::{collections::BTreeMap, fs, path::Path};

use crds::v1alpha1::{Parameter, ParameterVersion};
use decide::kept::{self, Held};
use kube::{Api, ResourceExt as _, api::ListParams};
use serde::{Deserialize, Serialize};

use crate::{
    age,
    args::{CompareArgs, ExportArgs, ParameterCommand},
    cluster::Cluster,
    error::{Error, Result, doing},
    kept as lookup,
    output::{self, Format},
    table::table,
};

/// Exit code where something differs.
const DRIFT: u8 = 1;
/// Objects in one answer.
const PAGE: u32 = 500;

pub async fn parameter(
    cluster: &Cluster,
    asked: &ParameterCommand,
    format: Option<Format>,
) -> Result<u8> {
    match asked {
        ParameterCommand::History { name } => history(cluster, name, format).await,
        ParameterCommand::Export(asked) => export(cluster, asked).await,
        ParameterCommand::Compare(asked) => compare(cluster, asked, format).await,
    }
}

/// A version, and what it said.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Past {
    #[serde(flatten)]
    version: ParameterVersion,
    value: String,
}

async fn history(cluster: &Cluster, name: &str, format: Option<Format>) -> Result<u8> {
    let parameter: Parameter = cluster.get("Parameter", name).await?;
    let mut past = Vec::new();
    for version in parameter.status.map(|s| s.versions).unwrap_or_default() {
        let said = lookup::version(cluster, &version.revision_name).await?;
        let value = said.map_or_else(|| "<gone>".to_owned(), |said| shown(&said.held()));
        past.push(Past { version, value });
    }
    let now = jiff::Timestamp::now();
    let row = |Past { version, value }: &Past| {
        let age = age::between(version.changed_at.0, now);
        let (number, by) = (version.version.to_string(), version.changed_by.clone());
        vec![number, age, by, value.clone()]
    };
    let people = |_| {
        let rows: Vec<_> = past.iter().map(row).collect();
        table(&["VERSION", "AGE", "BY", "VALUE"], &rows)
    };
    let full = format!("parameter.pilothouse.dev/{name}");
    output::result(&past, format, &full, people).map(|()| 0)
}

fn shown(held: &Held) -> String {
    match held {
        Held::Plain(value) => value.clone(),
        Held::Secret(place) => format!("Secret {}, key {}", place.name, place.key),
    }
}

/// Parameters of a cluster by namespace and name, told by digests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Export {
    /// Digests of values, and of the places of secret ones.
    parameters: BTreeMap<String, BTreeMap<String, String>>,
}

impl Export {
    fn of(parameters: &[Parameter]) -> Self {
        let mut export = Self::default();
        for parameter in parameters {
            let namespace = parameter.namespace().unwrap_or_default();
            let digest = kept::latest(parameter).value.digest();
            let of_namespace = export.parameters.entry(namespace).or_default();
            of_namespace.insert(parameter.name_any(), digest);
        }
        export
    }

    /// What differs in the namespaces that both have, in the words of this one.
    fn drift(&self, other: &Self) -> Vec<[String; 3]> {
        let none = BTreeMap::new();
        let mut drift = Vec::new();
        for (namespace, theirs) in &other.parameters {
            let ours = self.parameters.get(namespace).unwrap_or(&none);
            let names = ours
                .keys()
                .chain(theirs.keys().filter(|n| !ours.contains_key(*n)));
            for name in names {
                let what = match (ours.get(name), theirs.get(name)) {
                    (Some(ours), Some(theirs)) if ours == theirs => continue,
                    (Some(_), Some(_)) => "another value",
                    (Some(_), None) => "only here",
                    (None, _) => "only there",
                };
                drift.push([namespace.clone(), name.clone(), what.to_owned()]);
            }
        }
        drift
    }
}

async fn all(cluster: &Cluster, every_namespace: bool) -> Result<Vec<Parameter>> {
    let api = if every_namespace {
        Api::all(cluster.client.clone())
    } else {
        cluster.api()
    };
    let (mut page, mut found) = (ListParams::default().limit(PAGE), Vec::new());
    loop {
        let list = api.list(&page).await.map_err(doing("list Parameters"))?;
        found.extend(list.items);
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(found),
        }
    }
}

async fn export(cluster: &Cluster, asked: &ExportArgs) -> Result<u8> {
    let mut export = Export::of(&all(cluster, asked.all_namespaces).await?);
    if !asked.all_namespaces {
        // A namespace without any is one whose Parameters are missing elsewhere.
        let own = cluster.namespace.clone();
        export.parameters.entry(own).or_default();
    }
    let json = serde_json::to_string_pretty(&export).map_err(Error::Json)?;
    output::text(&format!("{json}\n")).map(|()| 0)
}

/// A difference, and the export that it is to.
#[derive(Serialize)]
struct Drift {
    export: String,
    namespace: String,
    name: String,
    what: String,
}

async fn compare(cluster: &Cluster, asked: &CompareArgs, format: Option<Format>) -> Result<u8> {
    let mut drift = Vec::new();
    for path in &asked.exports {
        let other = read(path)?;
        let mut own = Export::default();
        for namespace in other.parameters.keys() {
            let api: Api<Parameter> = Api::namespaced(cluster.client.clone(), namespace);
            let list = api.list(&ListParams::default()).await;
            let list = list.map_err(doing(format!("list Parameters of {namespace}")))?;
            own.parameters.extend(Export::of(&list.items).parameters);
        }
        let of = path.display().to_string();
        let differs = own.drift(&other).into_iter();
        drift.extend(differs.map(|[namespace, name, what]| Drift {
            export: of.clone(),
            namespace,
            name,
            what,
        }));
    }
    let row = |d: &Drift| {
        [&d.export, &d.namespace, &d.name, &d.what]
            .map(String::clone)
            .to_vec()
    };
    let people = |_| {
        if drift.is_empty() {
            return "the same everywhere\n".to_owned();
        }
        let rows: Vec<_> = drift.iter().map(row).collect();
        table(&["EXPORT", "NAMESPACE", "PARAMETER", "DIFFERENCE"], &rows)
    };
    output::result(&drift, format, "", people)?;
    Ok(if drift.is_empty() { 0 } else { DRIFT })
}

fn read(path: &Path) -> Result<Export> {
    let text = fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.display().to_string(),
        source,
    })?;
    serde_json::from_str(&text).map_err(|source| Error::Answer {
        what: format!("export {}", path.display()),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(of: &[(&str, &str, &str)]) -> Export {
        let parameter = |(namespace, name, value): &(&str, &str, &str)| {
            let spec = serde_json::json!({"value": value});
            let mut parameter = Parameter::new(name, serde_json::from_value(spec).expect("a spec"));
            parameter.metadata.namespace = Some((*namespace).to_owned());
            parameter
        };
        Export::of(&of.iter().map(parameter).collect::<Vec<_>>())
    }

    #[test]
    fn drift_is_named_in_the_namespaces_that_the_other_has() {
        let ours = export(&[("a", "x", "1"), ("a", "y", "1"), ("b", "z", "1")]);
        let theirs = export(&[("a", "x", "1"), ("a", "y", "2"), ("a", "w", "1")]);
        let of = |name: &str, what: &str| ["a".to_owned(), name.to_owned(), what.to_owned()];
        assert_eq!(
            ours.drift(&theirs),
            [of("y", "another value"), of("w", "only there")]
        );
        assert_eq!(
            theirs.drift(&export(&[("a", "x", "1")])),
            [of("w", "only here"), of("y", "only here")]
        );
        assert!(ours.drift(&ours).is_empty());
    }
}
