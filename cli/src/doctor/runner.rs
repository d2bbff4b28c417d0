//! The account of runs in the namespace: whether it is there, whether the operator may act as it, and what it may do.

use futures::future::join_all;
use k8s_openapi::api::{
    authorization::v1::{LocalSubjectAccessReview, ResourceAttributes, SubjectAccessReviewSpec},
    core::v1::ServiceAccount,
};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};

use super::{Finding, Level};
use crate::{args::DoctorArgs, cluster::Cluster, scope::Scope};

/// Verb, group, resource.
type Right = (&'static str, &'static str, &'static str);

/// What runs on hosts and on pods need of their account.
const NEEDS: [(&str, &[Right]); 2] = [
    (
        "hosts",
        &[
            ("get", "pilothouse.dev", "hosts"),
            ("list", "pilothouse.dev", "hosts"),
        ],
    ),
    ("pods", &[("list", "", "pods"), ("create", "", "pods/exec")]),
];

pub async fn look(cluster: &Cluster, asked: &DoctorArgs, scope: &Scope) -> Vec<Finding> {
    let namespace = &cluster.namespace;
    if namespace == "kube-system" || *namespace == asked.system_namespace {
        return vec![Finding::good(
            "account",
            format!(
                "no runs live in namespace {namespace}; give another one with -n to check its account"
            ),
        )];
    }
    let (there, operator, able) = tokio::join!(
        there(cluster, asked),
        operator(cluster, asked, scope),
        able(cluster, asked)
    );
    vec![there, operator, able]
}

async fn there(cluster: &Cluster, asked: &DoctorArgs) -> Finding {
    let (namespace, account) = (&cluster.namespace, &asked.service_account);
    match cluster.api::<ServiceAccount>().get_opt(account).await {
        Ok(Some(_)) => Finding::good(
            "account",
            format!("ServiceAccount {account} is in namespace {namespace}"),
        ),
        Ok(None) => Finding::bad(
            "account",
            Level::Lacking,
            format!("there is no ServiceAccount {account} in namespace {namespace}"),
            format!("kubectl create serviceaccount {account} -n {namespace}"),
        ),
        Err(error) => Finding::unseen("account", &format!("ServiceAccount {account}"), &error),
    }
}

/// Whether the operator may act as the account; without it no run here does anything.
async fn operator(cluster: &Cluster, asked: &DoctorArgs, scope: &Scope) -> Finding {
    let (system, namespace, account) = (
        &asked.system_namespace,
        &cluster.namespace,
        &asked.service_account,
    );
    let user = format!("system:serviceaccount:{system}:pilothouse-operator");
    match may(
        cluster,
        &user,
        ("impersonate", "", "serviceaccounts"),
        Some(account),
    )
    .await
    {
        Ok(true) => Finding::good(
            "operator acts",
            format!("it may act as {account} in namespace {namespace}"),
        ),
        Ok(false) => Finding::bad(
            "operator acts",
            Level::Lacking,
            format!("it may not act as {account} in namespace {namespace}, so runs wait"),
            format!(
                "kubectl create rolebinding pilothouse-operator -n {namespace} {} pilothouse-impersonate-runner --serviceaccount {system}:pilothouse-operator",
                scope.role_flag()
            ),
        ),
        Err(error) => Finding::unseen("operator acts", "access of the operator", &error),
    }
}

/// Whether the account may do what runs usually need.
async fn able(cluster: &Cluster, asked: &DoctorArgs) -> Finding {
    let (namespace, account) = (&cluster.namespace, &asked.service_account);
    let user = format!("system:serviceaccount:{namespace}:{account}");
    let questions = NEEDS
        .iter()
        .flat_map(|(what, rights)| rights.iter().map(move |right| (*what, *right)));
    let questions: Vec<_> = questions.collect();
    let answers = join_all(
        questions
            .iter()
            .map(|(_, right)| may(cluster, &user, *right, None)),
    )
    .await;
    let mut missing = Vec::new();
    for ((what, (verb, _, resource)), answer) in questions.iter().zip(answers) {
        match answer {
            Ok(true) => {}
            Ok(false) => missing.push(format!("{verb} {resource} (for runs on {what})")),
            Err(error) => {
                return Finding::unseen("account may", &format!("access of {account}"), &error);
            }
        }
    }
    if missing.is_empty() {
        return Finding::good(
            "account may",
            format!("{account} may read hosts and pods and exec into them"),
        );
    }
    let fix = format!(
        "if runs need it, bind a Role to ServiceAccount {account} in namespace {namespace}; examples/first-run/10-rights.yaml is a start"
    );
    Finding::bad(
        "account may",
        Level::Lacking,
        format!("{account} may not {}", missing.join(", ")),
        fix,
    )
}

/// Whether a user may do this in the namespace.
async fn may(
    cluster: &Cluster,
    user: &str,
    (verb, group, resource): (&str, &str, &str),
    name: Option<&str>,
) -> Result<bool, kube::Error> {
    let (resource, subresource) = resource
        .split_once('/')
        .map_or((resource, None), |(r, s)| (r, Some(s)));
    let attributes = ResourceAttributes {
        group: Some(group.to_owned()),
        namespace: Some(cluster.namespace.clone()),
        resource: Some(resource.to_owned()),
        subresource: subresource.map(ToOwned::to_owned),
        verb: Some(verb.to_owned()),
        name: name.map(ToOwned::to_owned),
        ..ResourceAttributes::default()
    };
    let review = LocalSubjectAccessReview {
        metadata: ObjectMeta {
            namespace: Some(cluster.namespace.clone()),
            ..ObjectMeta::default()
        },
        spec: SubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            user: Some(user.to_owned()),
            groups: Some(groups(user)),
            ..SubjectAccessReviewSpec::default()
        },
        status: None,
    };
    let api: Api<LocalSubjectAccessReview> = cluster.api();
    Ok(api
        .create(&PostParams::default(), &review)
        .await?
        .status
        .is_some_and(|s| s.allowed))
}

/// The groups that the API server gives to a service account.
fn groups(user: &str) -> Vec<String> {
    let namespace = user.split(':').nth(2).unwrap_or_default();
    vec![
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::groups;

    #[test]
    fn a_service_account_is_asked_about_with_its_groups() {
        assert_eq!(
            groups("system:serviceaccount:shop:runner")[1],
            "system:serviceaccounts:shop"
        );
    }
}
