//! The installation: Kubernetes' version, the kinds, the operator's Lease and version, the admission policies.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{apps::v1::Deployment, coordination::v1::Lease},
    apimachinery::pkg::version::Info,
};
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, ListParams},
    core::GroupVersionKind,
};
use serde_json::Value;

use super::{Finding, Level};
use crate::{age, args::DoctorArgs, cluster::Cluster, error::status, scope::Scope};

/// Name of the operator's Lease and Deployment.
const OPERATOR: &str = "pilothouse-operator";
/// Kinds of namespaces by their plural names, and those of the whole cluster.
pub const KINDS: [&str; 13] = [
    "hosts",
    "scripts",
    "jobs",
    "jobruns",
    "runactions",
    "scheduledtasks",
    "parameters",
    "changecalendars",
    "changetickets",
    "changeactions",
    "changesolutions",
    "approvals",
    "breakglasses",
];
const OF_THE_CLUSTER: [&str; 2] = ["commandpolicies", "protectionpolicies"];
/// Policies that say whose rights count.
const POLICIES: [&str; 11] = [
    "pilothouse-account",
    "pilothouse-approval",
    "pilothouse-break-glass",
    "pilothouse-change-action",
    "pilothouse-requester",
    "pilothouse-revision",
    "pilothouse-run-action",
    "pilothouse-ssh-secret",
    "pilothouse-status",
    "pilothouse-step-pod",
    "pilothouse-use-hosts",
];
/// Policies that hold back what a ProtectionPolicy protects, where the whole cluster is served.
const PROTECTION: [&str; 3] = [
    "pilothouse-protection",
    "pilothouse-protection-warn",
    "pilothouse-protection-audit",
];
/// The policy that writes who asked, where the API server can.
const STAMP: &str = "pilothouse-stamp-requester";
/// Minor versions of Kubernetes 1 that are supported.
const MINORS: std::ops::RangeInclusive<u32> = 33..=36;
const VERSION_LABEL: &str = "app.kubernetes.io/version";

pub fn kubernetes(version: &Info) -> Finding {
    let digits: String = version
        .minor
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let minor = digits.parse().unwrap_or(0);
    let found = format!(
        "{}, this plugin is {}",
        version.git_version,
        env!("CARGO_PKG_VERSION")
    );
    if version.major == "1" && MINORS.contains(&minor) {
        return Finding::good("kubernetes", found);
    }
    Finding::bad(
        "kubernetes",
        Level::Lacking,
        found,
        format!(
            "1.{} to 1.{} are supported; others may lack what is needed",
            MINORS.start(),
            MINORS.end()
        ),
    )
}

/// The operator's Deployment, where the caller may see it.
pub async fn operator(cluster: &Cluster, system: &str) -> Option<Deployment> {
    let api: Api<Deployment> = Api::namespaced(cluster.client.clone(), system);
    api.get_opt(OPERATOR).await.ok()?
}

pub async fn look(
    cluster: &Cluster,
    asked: &DoctorArgs,
    operator: Option<&Deployment>,
) -> Vec<Finding> {
    let (kinds, lease, policies) = tokio::join!(
        kinds(cluster),
        lease(cluster, &asked.system_namespace),
        guards(cluster, operator)
    );
    let version = operator.and_then(version);
    let scope = operator.map(|operator| scope(&Scope::of(operator), &cluster.namespace));
    let told = version.into_iter().chain(scope).collect();
    [vec![kinds, lease], told, policies].concat()
}

/// The admission policies, as many of them as this installation has.
pub async fn guards(cluster: &Cluster, operator: Option<&Deployment>) -> Vec<Finding> {
    let everywhere = operator.is_some_and(|operator| Scope::of(operator).named().is_none());
    policies(cluster, everywhere).await
}

/// Discovery is open to everybody, so this is never hidden.
async fn kinds(cluster: &Cluster) -> Finding {
    let served = match cluster
        .client
        .list_api_group_resources("pilothouse.dev/v1alpha1")
        .await
    {
        Ok(list) => list.resources.into_iter().map(|r| r.name).collect(),
        Err(error) if status(&error) == Some(404) => BTreeSet::new(),
        Err(error) => return Finding::unseen("kinds", "pilothouse.dev/v1alpha1", &error),
    };
    let missing: Vec<_> = KINDS
        .into_iter()
        .chain(OF_THE_CLUSTER)
        .filter(|kind| !served.contains(*kind))
        .collect();
    if missing.is_empty() {
        return Finding::good(
            "kinds",
            format!(
                "pilothouse.dev/v1alpha1 serves {}, {}",
                KINDS.join(", "),
                OF_THE_CLUSTER.join(", ")
            ),
        );
    }
    Finding::bad(
        "kinds",
        Level::Broken,
        format!("pilothouse.dev/v1alpha1 lacks {}", missing.join(", ")),
        "helm upgrade --install pilothouse-crds charts/pilothouse-crds",
    )
}

async fn lease(cluster: &Cluster, system: &str) -> Finding {
    let api: Api<Lease> = Api::namespaced(cluster.client.clone(), system);
    let fix = format!(
        "kubectl get pods -n {system} -l app.kubernetes.io/component=operator, and their logs; installed elsewhere? give --system-namespace"
    );
    match api.get_opt(OPERATOR).await {
        Ok(Some(lease)) => fresh(&lease, Timestamp::now(), fix),
        Ok(None) => Finding::bad(
            "operator",
            Level::Broken,
            format!("no Lease {OPERATOR} in namespace {system}: it has never run"),
            fix,
        ),
        Err(error) => Finding::unseen(
            "operator",
            &format!("Lease {OPERATOR} in namespace {system}"),
            &error,
        ),
    }
}

/// Whether somebody holds the Lease and still renews it.
fn fresh(lease: &Lease, now: Timestamp, fix: String) -> Finding {
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
    let renewed = spec.renew_time.map(|at| at.0);
    let limit = SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or(15).into());
    match (holder, renewed) {
        (Some(holder), Some(at)) if at.duration_until(now) <= limit => Finding::good(
            "operator",
            format!(
                "{holder} leads, Lease renewed {} ago",
                age::between(at, now)
            ),
        ),
        (Some(holder), Some(at)) => Finding::bad(
            "operator",
            Level::Broken,
            format!(
                "{holder} led last; its Lease has not been renewed for {}",
                age::between(at, now)
            ),
            fix,
        ),
        _ => Finding::bad("operator", Level::Broken, "nobody holds the Lease", fix),
    }
}

/// Whether the namespace is one of those that are served.
fn scope(scope: &Scope, namespace: &str) -> Finding {
    match scope.named() {
        None => Finding::good("scope", "the whole cluster is served"),
        Some(names) if scope.holds(namespace) => Finding::good(
            "scope",
            format!("served are the namespaces {}", names.join(", ")),
        ),
        Some(names) => Finding::bad(
            "scope",
            Level::Lacking,
            format!(
                "namespace {namespace} is not served, so nothing runs in it; served are {}",
                names.join(", ")
            ),
            "give one of these with -n, or add yours to scope.namespaces of the chart",
        ),
    }
}

/// Whether plugin and operator are of one version.
fn version(operator: &Deployment) -> Option<Finding> {
    let installed = operator.labels().get(VERSION_LABEL)?;
    let mine = env!("CARGO_PKG_VERSION");
    if installed == mine {
        return Some(Finding::good(
            "version",
            format!("the installation is {installed}, as this plugin"),
        ));
    }
    let fix = "use the plugin that was released with the installation";
    Some(Finding::bad(
        "version",
        Level::Lacking,
        format!("the installation is {installed}, this plugin is {mine}"),
        fix,
    ))
}

/// The validating policies, and the one that stamps where the API server knows such.
async fn policies(cluster: &Cluster, everywhere: bool) -> Vec<Finding> {
    let of_all = if everywhere { &PROTECTION[..] } else { &[] };
    let wanted = [&POLICIES, of_all].concat();
    let (checks, stamps) = tokio::join!(
        in_force(cluster, "ValidatingAdmissionPolicy", &wanted),
        in_force(cluster, "MutatingAdmissionPolicy", &[STAMP])
    );
    let fix = "helm upgrade pilothouse charts/pilothouse; without them anybody could write in the name of others, so the operator does nothing for objects that are not stamped";
    let checks = match checks {
        Ok(missing) if missing.is_empty() => {
            Finding::good("policies", format!("all {} are in force", wanted.len()))
        }
        Ok(missing) => Finding::bad(
            "policies",
            Level::Broken,
            format!("not in force: {}", missing.join(", ")),
            fix,
        ),
        Err(error) => Finding::unseen("policies", "validating admission policies", &error),
    };
    let stamps = match stamps {
        Ok(missing) if missing.is_empty() => {
            Finding::good("stamping", "the API server writes spec.requestedBy")
        }
        Err(error) if status(&error) == Some(404) => Finding::good(
            "stamping",
            "this API server compares spec.requestedBy, which the plugin fills in",
        ),
        Ok(_) => Finding::good(
            "stamping",
            "nothing writes spec.requestedBy; it is compared, and the plugin fills it in",
        ),
        Err(error) => Finding::unseen("stamping", "mutating admission policies", &error),
    };
    vec![checks, stamps]
}

/// Which of these policies are not there, or do not hold for everything that they are about.
async fn in_force(
    cluster: &Cluster,
    kind: &str,
    wanted: &[&str],
) -> Result<Vec<String>, kube::Error> {
    let binding = format!("{kind}Binding");
    let (policies, bindings) = tokio::try_join!(every(cluster, kind), every(cluster, &binding))?;
    let is_off = |name: &&&str| {
        let policy = policies.iter().find(|policy| policy.name_any() == **name);
        // What an administrator's policies ask for is warned of too, and may give way to a failure.
        let asked_for = PROTECTION.contains(name);
        let ignores = |policy: &DynamicObject| policy.data["spec"]["failurePolicy"] == "Ignore";
        let stands = policy.is_some_and(|policy| asked_for || !ignores(policy));
        let bound = |binding: &DynamicObject| {
            holds(name, binding) || (asked_for && is_whole(name, binding))
        };
        !stands || !bindings.iter().any(bound)
    };
    let off = wanted.iter().filter(is_off);
    Ok(off.map(ToString::to_string).collect())
}

/// Whether a binding is the policy's, refuses, and leaves nothing out.
fn holds(policy: &str, binding: &DynamicObject) -> bool {
    // A mutating policy has no actions: it changes what it is about.
    let actions = binding.data["spec"]["validationActions"].as_array();
    let refuses = actions.is_none_or(|actions| actions.iter().any(|action| action == "Deny"));
    refuses && is_whole(policy, binding)
}

/// Whether a binding is the policy's and leaves nothing out.
fn is_whole(policy: &str, binding: &DynamicObject) -> bool {
    let spec = &binding.data["spec"];
    let narrows = |part: &str| match &spec["matchResources"][part] {
        Value::Object(selector) => !selector.is_empty(),
        Value::Array(rules) => !rules.is_empty(),
        _ => false,
    };
    let parts = [
        "namespaceSelector",
        "objectSelector",
        "resourceRules",
        "excludeResourceRules",
    ];
    spec["policyName"] == policy && !parts.into_iter().any(narrows)
}

async fn every(cluster: &Cluster, kind: &str) -> Result<Vec<DynamicObject>, kube::Error> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(
        "admissionregistration.k8s.io",
        "v1",
        kind,
    ));
    let api: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &resource);
    Ok(api.list(&ListParams::default()).await?.items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(renewed: &str) -> Lease {
        serde_json::from_value(serde_json::json!({"metadata": {}, "spec": {
            "holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": renewed}}))
        .expect("a lease")
    }

    #[test]
    fn a_lease_is_fresh_for_its_own_duration() {
        let now = "2026-01-01T00:00:20Z".parse().expect("a time");
        assert_eq!(
            fresh(&lease("2026-01-01T00:00:10.000000Z"), now, String::new()).level,
            Level::Good
        );
        assert_eq!(
            fresh(&lease("2026-01-01T00:00:01.000000Z"), now, String::new()).level,
            Level::Broken
        );
        assert_eq!(
            fresh(&Lease::default(), now, String::new()).level,
            Level::Broken
        );
    }

    #[test]
    fn a_namespace_outside_of_the_scope_is_told_of() {
        let pod = serde_json::json!({"spec": {"containers": [{"name": "operator", "args": ["--namespaces=shop"]}]}});
        let spec = serde_json::json!({"selector": {}, "template": pod});
        let operator = serde_json::from_value(serde_json::json!({"metadata": {}, "spec": spec}));
        let shop = Scope::of(&operator.expect("a Deployment"));
        assert_eq!(scope(&shop, "shop").level, Level::Good);
        assert_eq!(scope(&shop, "web").level, Level::Lacking);
        assert_eq!(scope(&Scope::default(), "web").level, Level::Good);
    }

    #[test]
    fn a_binding_that_only_warns_or_leaves_something_out_does_not_hold() {
        let binding = |actions: Value, matched: Value| {
            let spec = serde_json::json!({"policyName": "p", "validationActions": actions, "matchResources": matched});
            let binding = serde_json::json!({"metadata": {"name": "b"}, "spec": spec});
            serde_json::from_value(binding).expect("a binding")
        };
        let deny = || serde_json::json!(["Deny"]);
        let some = serde_json::json!({"namespaceSelector": {"matchLabels": {"a": "b"}}});
        // What the API server fills in where nothing is chosen.
        let all = serde_json::json!({"namespaceSelector": {}, "objectSelector": {}, "matchPolicy": "Equivalent"});
        assert!(holds("p", &binding(deny(), Value::Null)));
        assert!(holds("p", &binding(deny(), all)));
        assert!(
            holds("p", &binding(Value::Null, Value::Null)),
            "a mutating one"
        );
        assert!(
            !holds("q", &binding(deny(), Value::Null)),
            "of another policy"
        );
        assert!(!holds(
            "p",
            &binding(serde_json::json!(["Warn"]), Value::Null)
        ));
        assert!(!holds("p", &binding(deny(), some)));
    }

    #[test]
    fn versions_with_a_plus_are_read() {
        let version = |minor: &str| Info {
            major: "1".into(),
            minor: minor.into(),
            ..Info::default()
        };
        assert_eq!(kubernetes(&version("34+")).level, Level::Good);
        assert_eq!(kubernetes(&version("31")).level, Level::Lacking);
    }
}
