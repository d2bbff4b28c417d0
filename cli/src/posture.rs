//! Who can go around what Pilothouse guards, read with the caller's rights. What could not be read is named, and is no good news.

use std::{collections::BTreeMap, fmt::Debug};

use crds::v1alpha1::CommandSeverity as Severity;
use decide::posture::{Finding, Posture, World};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        core::v1::Namespace,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
};
use kube::{Api, Resource, api::ListParams};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    args::PostureArgs,
    cluster::Cluster,
    doctor::{self, Level},
    error::{Result, doing, status},
    output::{self, Format},
    table::table,
};

/// Exit code where something as bad as asked for was found.
const FOUND: u8 = 1;
/// Exit code where not everything could be looked at, whatever was found in the rest.
const NOT_SEEN: u8 = 2;
/// Rights and names of a row for people.
const SHOWN: usize = 3;
const HEAD: [&str; 7] = [
    "SEVERITY", "WAY", "SUBJECT", "WHERE", "BY", "RIGHTS", "NOTE",
];

/// All that was looked at.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    findings: Vec<Finding>,
    /// Of the cluster's own parts and of Pilothouse, unless they are among the others.
    of_the_system: Vec<Finding>,
    /// What stands guard, as doctor tells of it.
    guards: Vec<doctor::Finding>,
    not_read: Vec<String>,
}

pub async fn posture(
    cluster: &Cluster,
    asked: &PostureArgs,
    only: Option<&str>,
    format: Option<Format>,
) -> Result<u8> {
    let guards = doctor::guards(cluster, &asked.system_namespace).await;
    let (mut world, mut not_read) = read(cluster, only).await?;
    world.release.clone_from(&asked.system_namespace);
    world.status_is_kept = guards.iter().all(|guard| guard.level == Level::Good);
    let unseen = guards.iter().filter(|g| g.level == Level::NotChecked);
    not_read.extend(unseen.map(|guard| guard.found.clone()));
    let mut posture = Posture::of(&world);
    if asked.all {
        posture = posture.together();
    }
    let report = Report {
        findings: posture.findings,
        of_the_system: posture.of_the_system,
        guards,
        not_read,
    };
    output::result(&report, format, &report.bindings(), |wide| {
        report.page(wide)
    })?;
    Ok(report.code(asked.fail_on.into()))
}

/// The cluster as far as the caller may read it, and what they may not.
async fn read(cluster: &Cluster, only: Option<&str>) -> Result<(World, Vec<String>)> {
    let every = ListParams::default();
    let namespaces = match only {
        Some(name) => ListParams::default().fields(&format!("metadata.name={name}")),
        None => ListParams::default(),
    };
    let client = || cluster.client.clone();
    let (cluster_roles, cluster_role_bindings, roles, role_bindings, namespaces) = tokio::try_join!(
        list::<ClusterRole>(Api::all(client()), &every),
        list::<ClusterRoleBinding>(Api::all(client()), &every),
        list::<Role>(within(cluster, only), &every),
        list::<RoleBinding>(within(cluster, only), &every),
        list::<Namespace>(Api::all(client()), &namespaces),
    )?;
    let mut not_read = Vec::new();
    let world = World {
        cluster_roles: kept(cluster_roles, &mut not_read),
        cluster_role_bindings: kept(cluster_role_bindings, &mut not_read),
        roles: kept(roles, &mut not_read),
        role_bindings: kept(role_bindings, &mut not_read),
        namespaces: kept(namespaces, &mut not_read),
        ..World::default()
    };
    Ok((world, not_read))
}

fn within<K>(cluster: &Cluster, only: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match only {
        Some(namespace) => Api::namespaced(cluster.client.clone(), namespace),
        None => Api::all(cluster.client.clone()),
    }
}

/// Every object of a kind; or its name, where the caller may not read it.
async fn list<K>(api: Api<K>, wanted: &ListParams) -> Result<Result<Vec<K>, String>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let plural = K::plural(&());
    match api.list(wanted).await {
        Ok(list) => Ok(Ok(list.items)),
        Err(error) if status(&error) == Some(403) => Ok(Err(plural.into_owned())),
        Err(error) => Err(doing(format!("list {plural}"))(error)),
    }
}

fn kept<K>(read: Result<Vec<K>, String>, not_read: &mut Vec<String>) -> Vec<K> {
    read.unwrap_or_else(|plural| {
        not_read.push(format!("{plural}: you may not list them"));
        Vec::new()
    })
}

impl Report {
    fn code(&self, fail_on: Severity) -> u8 {
        let is_bad = self.findings.iter().any(|f| f.severity >= fail_on);
        let is_off = self.guards.iter().any(|g| g.level == Level::Broken);
        match (self.not_read.is_empty(), is_bad || is_off) {
            (false, _) => NOT_SEEN,
            (true, true) => FOUND,
            (true, false) => 0,
        }
    }

    /// Bindings by kind and name, as kubectl takes them.
    fn bindings(&self) -> String {
        let name = |f: &Finding| {
            let kind = f.binding.kind.to_lowercase();
            format!("{kind}.rbac.authorization.k8s.io/{}", f.binding.name)
        };
        let mut names: Vec<_> = self.findings.iter().map(name).collect();
        names.sort();
        names.dedup();
        names.join("\n")
    }

    fn page(&self, wide: bool) -> String {
        let parts = [
            self.found(wide),
            self.left_out(),
            doctor::text(&self.guards),
            self.unseen(),
            self.what_to_do(),
        ];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join("\n")
    }

    fn found(&self, wide: bool) -> String {
        if self.findings.is_empty() {
            return "nobody was found who goes around what is guarded\n".to_owned();
        }
        let rows: Vec<_> = self.findings.iter().map(|f| row(f, wide)).collect();
        table(&HEAD, &rows)
    }

    /// One row a subject.
    fn left_out(&self) -> String {
        if self.of_the_system.is_empty() {
            return String::new();
        }
        let mut subjects: BTreeMap<String, (Severity, Vec<&str>)> = BTreeMap::new();
        for finding in &self.of_the_system {
            let of = subjects.entry(finding.subject.to_string());
            let (worst, ways) = of.or_insert((finding.severity, Vec::new()));
            *worst = finding.severity.max(*worst);
            if !ways.contains(&finding.way) {
                ways.push(finding.way);
            }
        }
        let row = |(subject, (worst, ways)): (String, (Severity, Vec<&str>))| {
            vec![subject, format!("{worst:?}"), ways.join(", ")]
        };
        let rows: Vec<_> = subjects.into_iter().map(row).collect();
        format!(
            "Parts of the cluster and of Pilothouse, which have to hold what they hold (--all tells of each):\n{}",
            table(&["SUBJECT", "WORST", "WAYS"], &rows)
        )
    }

    fn unseen(&self) -> String {
        if self.not_read.is_empty() {
            return String::new();
        }
        let lines = self.not_read.iter().map(|what| format!("{what}\n"));
        format!(
            "Not everything could be looked at; have somebody look who may:\n{}",
            lines.collect::<String>()
        )
    }

    fn what_to_do(&self) -> String {
        let mut ways: Vec<&Finding> = Vec::new();
        for finding in &self.findings {
            if ways.iter().all(|told| told.way != finding.way) {
                ways.push(finding);
            }
        }
        let line = |f: &&Finding| {
            format!(
                "{} goes around {}. Instead: {}.\n",
                f.way, f.goes_around, f.instead
            )
        };
        let lines: String = ways.iter().map(line).collect();
        if lines.is_empty() {
            return lines;
        }
        format!("What to do:\n{lines}")
    }
}

fn row(finding: &Finding, wide: bool) -> Vec<String> {
    let place = finding.namespace.as_ref();
    let place = place.map_or("the whole cluster".to_owned(), |n| format!("namespace {n}"));
    let by =
        [&finding.binding, &finding.role].map(|object| format!("{} {}", object.kind, object.name));
    let mut rights = some(&finding.rights, "; ", wide);
    if !finding.names.is_empty() {
        rights = format!("{rights} of {}", some(&finding.names, ", ", wide));
    }
    vec![
        format!("{:?}", finding.severity),
        finding.way.to_owned(),
        finding.subject.to_string(),
        place,
        by.join(", "),
        rights,
        finding.note.clone().unwrap_or_default(),
    ]
}

/// The first of them, or all.
fn some(words: &[String], between: &str, all: bool) -> String {
    match words.len().checked_sub(SHOWN) {
        Some(more @ 1..) if !all => {
            format!("{} and {more} more", words[..SHOWN].join(between))
        }
        _ => words.join(between),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What a role that may execute in pods of a namespace is told as.
    fn exec(not_read: &[&str]) -> Report {
        let rule = json!({"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]});
        let role = json!({"metadata": {"name": "edit"}, "rules": [rule]});
        let subjects = json!([{"kind": "User", "name": "bob"}, {"kind": "ServiceAccount", "name": "c", "namespace": "kube-system"}]);
        let binding = json!({"metadata": {"name": "editors", "namespace": "shop"}, "subjects": subjects,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}});
        let posture = Posture::of(&World {
            cluster_roles: vec![serde_json::from_value(role).expect("a role")],
            role_bindings: vec![serde_json::from_value(binding).expect("a binding")],
            ..World::default()
        });
        Report {
            findings: posture.findings,
            of_the_system: posture.of_the_system,
            guards: Vec::new(),
            not_read: not_read.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn the_code_goes_by_the_threshold_and_what_was_not_read_comes_first() {
        let nothing = Report {
            findings: Vec::new(),
            ..exec(&[])
        };
        let table = [
            (exec(&[]), Severity::High, FOUND),
            (exec(&[]), Severity::Critical, 0),
            (nothing, Severity::Low, 0),
            (
                exec(&["roles: you may not list them"]),
                Severity::High,
                NOT_SEEN,
            ),
        ];
        for (report, fail_on, code) in table {
            assert_eq!(report.code(fail_on), code);
        }
    }

    #[test]
    fn a_row_says_who_may_what_where_and_by_what() {
        let page = exec(&[]).page(false);
        let lines: Vec<_> = page.lines().collect();
        let cells = |line: &str| -> Vec<String> {
            let cells = line.split("   ").map(|cell| cell.trim().to_owned());
            cells.filter(|cell| !cell.is_empty()).collect()
        };
        let expected = [
            "High",
            "pods-exec",
            "User bob",
            "namespace shop",
            "RoleBinding editors, ClusterRole edit",
            "create pods/exec",
        ];
        assert_eq!(cells(lines[1]), expected, "{page}");
        assert!(
            page.contains("ServiceAccount kube-system/c   High    pods-exec"),
            "{page}"
        );
        assert!(
            page.contains("What to do:\npods-exec goes around runs"),
            "{page}"
        );
        assert!(!page.contains("Not everything"), "{page}");
    }

    #[test]
    fn what_was_not_read_is_named() {
        let page = exec(&["roles: you may not list them"]).page(false);
        assert!(
            page.contains("who may:\nroles: you may not list them\n"),
            "{page}"
        );
    }

    #[test]
    fn names_are_those_that_kubectl_takes() {
        assert_eq!(
            exec(&[]).bindings(),
            "rolebinding.rbac.authorization.k8s.io/editors"
        );
    }
}
