//! What the caller may do in the namespace, asked of the API server right by right.

use futures::future::join_all;
use k8s_openapi::api::authorization::v1::ResourceAttributes;

use super::{Finding, Level, installation::KINDS};
use crate::{access, args::DoctorArgs, cluster::Cluster, scope::Scope};

/// Rights that belong together: who holds one of them usually holds all.
struct Topic {
    check: &'static str,
    grant: &'static str,
    wanted: Vec<Right>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Right {
    verb: &'static str,
    group: &'static str,
    /// A resource, and a subresource after a slash.
    resource: &'static str,
    name: Option<String>,
}

fn right(verb: &'static str, group: &'static str, resource: &'static str) -> Right {
    Right {
        verb,
        group,
        resource,
        name: None,
    }
}

impl Right {
    fn words(&self) -> String {
        match &self.name {
            Some(name) => format!("{} {}/{name}", self.verb, self.resource),
            None => format!("{} {}", self.verb, self.resource),
        }
    }
}

pub async fn look(cluster: &Cluster, asked: &DoctorArgs, scope: &Scope) -> Vec<Finding> {
    join_all(
        topics(&asked.service_account)
            .into_iter()
            .map(|topic| ask(cluster, topic, scope)),
    )
    .await
}

const GROUP: &str = "pilothouse.dev";
const RECORDS: &str = "records.pilothouse.dev";

fn topics(account: &str) -> Vec<Topic> {
    let topic = |check, grant, wanted| Topic {
        check,
        grant,
        wanted,
    };
    vec![
        topic("may look", "pilothouse-viewer", looking()),
        topic("may run", "pilothouse-admin", running(account)),
        topic("may control", "pilothouse-admin", controlling()),
        topic("may define", "pilothouse-admin", defining()),
    ]
}

fn looking() -> Vec<Right> {
    let mut all: Vec<_> = ["get", "list", "watch"]
        .iter()
        .flat_map(|verb| KINDS.map(|kind| right(verb, GROUP, kind)))
        .collect();
    all.extend(["get", "list", "watch"].map(|verb| right(verb, RECORDS, "executions")));
    all.push(right("get", RECORDS, "executions/log"));
    all
}

fn running(account: &str) -> Vec<Right> {
    let impersonate = Right {
        name: Some(account.to_owned()),
        ..right("impersonate", "", "serviceaccounts")
    };
    vec![
        right("create", GROUP, "jobruns"),
        impersonate,
        right("use", GROUP, "hosts"),
    ]
}

fn controlling() -> Vec<Right> {
    let mut all = vec![right("create", GROUP, "runactions")];
    all.extend(["cancel", "suspend", "resume"].map(|verb| right(verb, GROUP, "jobruns")));
    all
}

fn defining() -> Vec<Right> {
    ["create", "update", "patch", "delete"]
        .iter()
        .flat_map(|verb| ["hosts", "scripts", "jobs"].map(|kind| right(verb, GROUP, kind)))
        .collect()
}

async fn ask(cluster: &Cluster, topic: Topic, scope: &Scope) -> Finding {
    let answers = join_all(topic.wanted.iter().map(|right| allowed(cluster, right))).await;
    let mut missing = Vec::new();
    for (right, answer) in topic.wanted.iter().zip(answers) {
        match answer {
            Ok(true) => {}
            Ok(false) => missing.push(right.words()),
            Err(error) => return Finding::unseen(topic.check, "access review", &error),
        }
    }
    verdict(&topic, &missing, &cluster.namespace, scope)
}

fn verdict(topic: &Topic, missing: &[String], namespace: &str, scope: &Scope) -> Finding {
    if missing.is_empty() {
        return Finding::good(
            topic.check,
            format!("all {} rights in namespace {namespace}", topic.wanted.len()),
        );
    }
    let found = if missing.len() == topic.wanted.len() {
        format!(
            "none of the {} rights in namespace {namespace}",
            missing.len()
        )
    } else {
        format!(
            "in namespace {namespace} you may not {}",
            missing.join(", ")
        )
    };
    let fix = format!(
        "have an admin of the namespace: kubectl create rolebinding NAME -n {namespace} {} {} --user YOU",
        scope.role_flag(),
        topic.grant
    );
    Finding::bad(topic.check, Level::Lacking, found, fix)
}

async fn allowed(cluster: &Cluster, right: &Right) -> Result<bool, kube::Error> {
    let (resource, subresource) = right
        .resource
        .split_once('/')
        .map_or((right.resource, None), |(r, s)| (r, Some(s)));
    let attributes = ResourceAttributes {
        group: Some(right.group.to_owned()),
        namespace: Some(cluster.namespace.clone()),
        resource: Some(resource.to_owned()),
        subresource: subresource.map(ToOwned::to_owned),
        verb: Some(right.verb.to_owned()),
        name: right.name.clone(),
        ..ResourceAttributes::default()
    };
    access::holds(cluster, attributes).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_rights_are_named_one_by_one_and_with_what_grants_them() {
        let topics = topics("db-runner");
        let run = topics
            .iter()
            .find(|t| t.check == "may run")
            .expect("a topic");
        assert_eq!(
            run.wanted[1].words(),
            "impersonate serviceaccounts/db-runner"
        );
        let everywhere = Scope::default();
        assert_eq!(verdict(run, &[], "shop", &everywhere).level, Level::Good);
        let lacking = verdict(run, &["use hosts".into()], "shop", &everywhere);
        assert_eq!(
            (lacking.level, lacking.found.as_str()),
            (Level::Lacking, "in namespace shop you may not use hosts")
        );
        assert!(
            lacking
                .fix
                .expect("a fix")
                .contains("--clusterrole pilothouse-admin")
        );
    }
}
