//! What a ProtectionPolicy keeps from being done, asked of the API server alone: each operation, by whom, where, and what passes.

use std::time::Duration;

use crds::v1alpha1::CalendarState;
use e2e::{Cluster, Manifest, People, Protection, TestNamespace, accepted, eventually};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
    client::Body,
};
use serde_json::{Value, json};

/// What is written is heard of by the API server well within this.
const SOON: Duration = Duration::from_secs(20);
const RULE: &str = "Rule pilothouse-protection";

/// In this namespace, and closed for ever.
fn spec() -> Value {
    json!({"require": {"nobody": {}}, "breakGlass": {"groups": ["sre-oncall"]}, "rules": [
        {"groups": ["apps"], "resources": ["deployments"], "names": ["web", "front-*"]},
        {"resources": ["pods"], "names": ["web-*"], "operations": ["Delete", "Evict", "Exec", "Attach", "PortForward", "EphemeralContainers"]},
        {"groups": [""], "resources": ["configmaps"], "operations": ["Create", "Update", "Delete"],
            "selector": {"matchLabels": {"tier": "gold"}, "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["gold"]}, {"key": "stage", "operator": "NotIn", "values": ["dev"]},
                {"key": "tier", "operator": "Exists"}, {"key": "thawed", "operator": "DoesNotExist"}]}},
        {"resources": ["replicasets"], "operations": ["Scale"]},
    ]})
}

const OBJECTS: &str = r"
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 0, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: back}, spec: {replicas: 0, selector: {matchLabels: {a: c}}, template: {metadata: {labels: {a: c}}, spec: {containers: [{name: c, image: i}]}}}}
---
{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: lone}, spec: {replicas: 0, selector: {matchLabels: {a: d}}, template: {metadata: {labels: {a: d}}, spec: {containers: [{name: c, image: i}]}}}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: gold, labels: {tier: gold}}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: iron, labels: {tier: iron}}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: dev, labels: {tier: gold, stage: dev}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web-0}, spec: {nodeName: none, securityContext: {runAsNonRoot: true, runAsUser: 1, seccompProfile: {type: RuntimeDefault}},
  containers: [{name: c, image: i, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: back-0}, spec: {nodeName: none, securityContext: {runAsNonRoot: true, runAsUser: 1, seccompProfile: {type: RuntimeDefault}},
  containers: [{name: c, image: i, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]}}
";

/// A request, and whether it is refused. Patches are merged; nothing is kept.
const REQUESTS: [(&str, &str, &str, bool); 34] = [
    ("DELETE", "apis/apps/v1/NS/deployments/web", "", true),
    ("DELETE", "apis/apps/v1/NS/deployments", "", true),
    ("DELETE", "apis/apps/v1/NS/deployments/back", "", false),
    (
        "PATCH",
        "apis/apps/v1/NS/deployments/web",
        r#"{"spec":{"replicas":2}}"#,
        true,
    ),
    (
        "PATCH",
        "apis/apps/v1/NS/deployments/web",
        r#"{"metadata":{"labels":{"x":"y"}}}"#,
        true,
    ),
    (
        "PATCH",
        "apis/apps/v1/NS/deployments/web",
        r#"{"spec":{"replicas":0}}"#,
        false,
    ),
    (
        "PATCH",
        "apis/apps/v1/NS/deployments/back",
        r#"{"spec":{"replicas":2}}"#,
        false,
    ),
    (
        "PATCH",
        "apis/apps/v1/NS/deployments/web/scale",
        r#"{"spec":{"replicas":2}}"#,
        true,
    ),
    (
        "PATCH",
        "apis/apps/v1/NS/deployments/back/scale",
        r#"{"spec":{"replicas":2}}"#,
        false,
    ),
    (
        "PATCH",
        "apis/apps/v1/NS/deployments/web/status",
        r#"{"status":{"observedGeneration":1}}"#,
        false,
    ),
    // Whoever may not scale does not change spec.replicas either.
    (
        "PATCH",
        "apis/apps/v1/NS/replicasets/lone/scale",
        r#"{"spec":{"replicas":2}}"#,
        true,
    ),
    (
        "PATCH",
        "apis/apps/v1/NS/replicasets/lone",
        r#"{"spec":{"replicas":2}}"#,
        true,
    ),
    (
        "PATCH",
        "apis/apps/v1/NS/replicasets/lone",
        r#"{"metadata":{"labels":{"x":"y"}}}"#,
        false,
    ),
    ("DELETE", "api/v1/NS/pods/web-0", "", true),
    ("DELETE", "api/v1/NS/pods/back-0", "", false),
    (
        "PATCH",
        "api/v1/NS/pods/web-0",
        r#"{"metadata":{"labels":{"x":"y"}}}"#,
        false,
    ),
    (
        "POST",
        "api/v1/NS/pods/web-0/eviction",
        r#"{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"web-0"},"deleteOptions":{"dryRun":["All"]}}"#,
        true,
    ),
    (
        "POST",
        "api/v1/NS/pods/back-0/eviction",
        r#"{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"back-0"},"deleteOptions":{"dryRun":["All"]}}"#,
        false,
    ),
    (
        "PATCH",
        "api/v1/NS/pods/web-0/ephemeralcontainers",
        EPHEMERAL,
        true,
    ),
    (
        "PATCH",
        "api/v1/NS/pods/back-0/ephemeralcontainers",
        EPHEMERAL,
        false,
    ),
    (
        "POST",
        "api/v1/NS/pods/web-0/exec?command=true&stdout=true",
        "",
        true,
    ),
    (
        "GET",
        "api/v1/NS/pods/web-0/exec?command=true&stdout=true",
        "",
        true,
    ),
    (
        "POST",
        "api/v1/NS/pods/back-0/exec?command=true&stdout=true",
        "",
        false,
    ),
    ("POST", "api/v1/NS/pods/web-0/attach?stdout=true", "", true),
    (
        "POST",
        "api/v1/NS/pods/back-0/attach?stdout=true",
        "",
        false,
    ),
    (
        "POST",
        "api/v1/NS/pods/web-0/portforward?ports=80",
        "",
        true,
    ),
    (
        "POST",
        "api/v1/NS/pods/back-0/portforward?ports=80",
        "",
        false,
    ),
    // A label is no way out, and none in.
    (
        "PATCH",
        "api/v1/NS/configmaps/gold",
        r#"{"metadata":{"labels":{"tier":null}}}"#,
        true,
    ),
    (
        "PATCH",
        "api/v1/NS/configmaps/gold",
        r#"{"metadata":{"labels":{"thawed":"yes"}}}"#,
        true,
    ),
    (
        "PATCH",
        "api/v1/NS/configmaps/iron",
        r#"{"metadata":{"labels":{"tier":"gold"}}}"#,
        true,
    ),
    (
        "PATCH",
        "api/v1/NS/configmaps/iron",
        r#"{"data":{"a":"b"}}"#,
        false,
    ),
    (
        "PATCH",
        "api/v1/NS/configmaps/dev",
        r#"{"data":{"a":"b"}}"#,
        false,
    ),
    ("DELETE", "api/v1/NS", "", true),
    (
        "PATCH",
        "api/v1/NS",
        r#"{"metadata":{"labels":{"x":"y"}}}"#,
        false,
    ),
];

const EPHEMERAL: &str = r#"{"spec":{"ephemeralContainers":[{"name":"d","image":"i","securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}}}]}}"#;

/// The policy goes before its namespace.
struct Scene {
    policy: Protection,
    people: People,
    administrator: Client,
}

impl Scene {
    /// Objects, and a policy that the API server has heard of.
    async fn set(story: &str, spec: &Value) -> Self {
        let people = People::new(story).await;
        let (cluster, namespace) = (&people.cluster, people.namespace.name());
        let administrator = cluster.client();
        for manifest in Manifest::read(OBJECTS) {
            let manifest = manifest.within(namespace);
            // A new namespace has no account for pods for a moment.
            eventually(&manifest.title(), SOON, || async {
                manifest.create(&administrator).await.ok()
            })
            .await;
        }
        let policy = Protection::written(cluster, namespace, "frozen", spec).await;
        let scene = Self {
            policy,
            people,
            administrator,
        };
        scene.refuses(DELETES).await;
        scene
    }

    /// What the API server says, whether or not it would do it.
    async fn asks(&self, client: &Client, request: (&str, &str, &str)) -> String {
        let (status, warning, body) = self.answer(client, request).await;
        format!("{status} {warning} {body}")
    }

    /// Status, warnings and body of an answer.
    async fn answer(
        &self,
        client: &Client,
        (method, path, body): (&str, &str, &str),
    ) -> (u16, String, String) {
        let here = format!("namespaces/{}", self.people.namespace.name());
        // What enters a pod is not tried; nothing answers there.
        let tried = if path.contains('?') {
            ""
        } else {
            "?dryRun=All"
        };
        let uri = format!("/{}{tried}", path.replace("NS", &here));
        let type_ = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let request = http::Request::builder().method(method).uri(uri);
        let request = request.header("content-type", type_);
        let request = request.body(Body::from(body.as_bytes().to_vec()));
        let answer = client.send(request.expect("a literal request")).await;
        let answer = answer.expect("an API server answers");
        let warnings = answer.headers().get_all("warning").iter();
        let warnings = warnings.map(|value| value.to_str().unwrap_or_default().to_owned());
        let (status, warnings) = (answer.status().as_u16(), warnings.collect::<String>());
        let body = answer.into_body().collect_bytes().await;
        let body = body.expect("an answer has an end");
        (
            status,
            warnings,
            String::from_utf8_lossy(&body).into_owned(),
        )
    }

    /// Waits until something is refused.
    async fn refuses(&self, request: (&str, &str, &str)) -> String {
        eventually("a refusal", SOON, || async {
            let said = self.asks(&self.administrator, request).await;
            said.contains(RULE).then_some(said)
        })
        .await
    }

    /// Waits until something is done.
    async fn passes(&self, request: (&str, &str, &str)) {
        eventually("no refusal", SOON, || async {
            let (status, _, _) = self.answer(&self.administrator, request).await;
            (status < 300).then_some(())
        })
        .await;
    }
}

const DELETES: (&str, &str, &str) = ("DELETE", "apis/apps/v1/NS/deployments/web", "");
const LABELS: (&str, &str, &str) = (
    "PATCH",
    "apis/apps/v1/NS/deployments/web",
    r#"{"metadata":{"labels":{"x":"y"}}}"#,
);

#[tokio::test]
async fn what_is_protected_is_refused_and_everything_else_is_done() {
    let scene = Scene::set("operations", &spec()).await;
    for (method, path, body, refused) in REQUESTS {
        let said = scene.asks(&scene.administrator, (method, path, body)).await;
        let title = format!("{method} {path} {body}: {said}");
        assert_eq!(said.contains(RULE), refused, "{title}");
        assert!(refused || !said.starts_with("403"), "{title}");
    }
    let front = OBJECTS.split("---").next().expect("a Deployment");
    for (name, refused) in [("front-a", true), ("fronta", false)] {
        let front = Manifest::read(&front.replace("web", name)).remove(0);
        let front = front.within(scene.people.namespace.name());
        let said = front.try_create(&scene.administrator).await;
        let said = said.map_or_else(|error| error.to_string(), |_| String::new());
        assert_eq!(said.contains(RULE), refused, "{name}: {said}");
    }
}

#[tokio::test]
async fn a_refusal_names_what_whom_which_policy_and_the_way_out() {
    let scene = Scene::set("words", &spec()).await;
    let said = scene.refuses(DELETES).await;
    let name = scene.policy.name();
    for word in [
        "Delete on deployments.apps 'web'",
        scene.people.namespace.name(),
        &format!("ProtectionPolicy '{name}' (the shop sells on these days)"),
        &format!("kubectl describe protectionpolicy {name}"),
        "'sre-oncall'",
    ] {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
    // A message of several lines would not be told at all.
    let mut lines = spec();
    lines["reason"] = json!("it sells\nand sells");
    scene.policy.rewritten(&lines).await;
    eventually("one line", SOON, || async {
        let said = scene.asks(&scene.administrator, DELETES).await;
        said.contains("it sells and sells").then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_clusters_own_accounts_and_those_who_break_the_glass_pass() {
    let scene = Scene::set("passes", &spec()).await;
    let operator = "system:serviceaccount:pilothouse-system:pilothouse-operator";
    let all = "system:masters";
    for (user, groups, refused) in [
        (
            "system:serviceaccount:kube-system:generic-garbage-collector",
            [all, all],
            false,
        ),
        (
            "system:serviceaccount:kube-systems:generic-garbage-collector",
            [all, all],
            true,
        ),
        ("system:kube-controller-manager", [all, all], false),
        ("system:kube-scheduler", [all, all], false),
        ("system:apiserver", [all, all], false),
        ("system:node:node1", [all, "system:nodes"], false),
        (operator, [all, all], false),
        ("ann", [all, "sre-oncall"], false),
        ("ann", [all, "sre"], true),
    ] {
        let client = scene.people.cluster.as_user(user, &groups);
        let said = scene.asks(&client, DELETES).await;
        assert_eq!(said.contains(RULE), refused, "{user} {groups:?}: {said}");
        assert!(refused || said.starts_with("200"), "{user}: {said}");
    }
}

#[tokio::test]
async fn only_enforce_refuses_warn_warns_and_the_others_let_pass() {
    let scene = Scene::set("modes", &spec()).await;
    for (mode, warns) in [("Warn", true), ("Audit", false), ("Disabled", false)] {
        let mut spec = spec();
        spec["mode"] = json!(mode);
        scene.policy.rewritten(&spec).await;
        eventually(mode, SOON, || async {
            let (status, warning, _) = scene.answer(&scene.administrator, DELETES).await;
            (status == 200 && warning.contains(RULE) == warns).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_policy_is_open_only_while_its_status_says_so() {
    let mut spec = spec();
    spec["require"] = json!({"openCalendars": [{"namespace": "nowhere", "name": "freeze"}]});
    let scene = Scene::set("states", &spec).await;
    let namespace = scene.people.namespace.name();
    spec["require"] = json!({"openCalendars": [{"namespace": namespace, "name": "freeze"}]});
    scene.policy.rewritten(&spec).await;
    scene.refuses(DELETES).await;
    // Where there is an operator, it says the same.
    let open = json!({"default": "Open", "timeZone": "UTC"});
    let open = Manifest::of("ChangeCalendar", "freeze", &open).within(namespace);
    accepted(open.apply(&scene.administrator).await);
    says(&scene, CalendarState::Open).await;
    scene.passes(DELETES).await;
    let shut = json!({"default": "Closed", "timeZone": "UTC"});
    let shut = Manifest::of("ChangeCalendar", "freeze", &shut).within(namespace);
    accepted(shut.apply(&scene.administrator).await);
    says(&scene, CalendarState::Closed).await;
    scene.refuses(DELETES).await;
}

/// As the operator writes it.
async fn says(scene: &Scene, state: CalendarState) {
    let system = ("pilothouse-system", "pilothouse-operator");
    let operator = scene.people.cluster.as_account(system.0, system.1);
    let policies: Api<crds::v1alpha1::ProtectionPolicy> = Api::all(operator);
    let name = scene.policy.name();
    let now = policies.get(name).await.expect("the operator reads it");
    let status = json!({"status": {"observedGeneration": now.metadata.generation, "state": state}});
    let params = PatchParams::default();
    let written = policies
        .patch_status(name, &params, &Patch::Merge(status))
        .await;
    written.expect("the operator writes its status");
}

#[tokio::test]
async fn a_namespace_that_is_chosen_is_neither_deleted_nor_changed_so_that_it_is_not() {
    let mut spec = spec();
    spec["namespaces"] = Value::Null;
    spec["namespaceSelector"] = json!({"matchLabels": {"pilothouse.dev/e2e": "chosen"}});
    let scene = Scene::set("chosen", &spec).await;
    let label = |value: &str| format!(r#"{{"metadata":{{"labels":{{{value}}}}}}}"#);
    for (labels, refused) in [
        (r#""pilothouse.dev/e2e":null"#, true),
        (r#""pilothouse.dev/e2e":"other""#, true),
        (r#""x":"y""#, false),
    ] {
        let body = label(labels);
        let said = scene
            .asks(&scene.administrator, ("PATCH", "api/v1/NS", &body))
            .await;
        assert_eq!(said.contains(RULE), refused, "{labels}: {said}");
    }
    let said = scene
        .asks(&scene.administrator, ("DELETE", "api/v1/NS", ""))
        .await;
    assert!(said.contains(RULE), "{said}");
    let other = TestNamespace::create(&scene.people.cluster, "unchosen").await;
    let all: Api<Namespace> = Api::all(scene.people.cluster.client());
    let deleted = all.delete(other.name(), &DeleteParams::default()).await;
    deleted.expect("nobody protects it");
}

#[tokio::test]
async fn a_policy_without_namespaces_is_about_all_but_those_that_keep_the_cluster_going() {
    let cluster = Cluster::connect().await;
    let namespace = TestNamespace::create(&cluster, "whole").await;
    let name = format!("of-{}", namespace.name());
    let spec = json!({"namespaces": null, "require": {"nobody": {}},
        "rules": [{"resources": ["configmaps", "clusterroles"], "names": [name]}]});
    let policy = Protection::written(&cluster, namespace.name(), "whole", &spec).await;
    let client = cluster.client();
    let kept = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    let kept = Manifest::from_json(kept);
    let refusal = |answer: kube::Result<DynamicObject>| {
        answer
            .err()
            .is_some_and(|error| error.to_string().contains(RULE))
    };
    eventually("a refusal", SOON, || async {
        let here = kept.clone().within(namespace.name());
        refusal(here.try_create(&client).await).then_some(())
    })
    .await;
    for never in [
        "kube-system",
        "kube-public",
        "kube-node-lease",
        "pilothouse-system",
    ] {
        accepted(kept.clone().within(never).try_create(&client).await);
    }
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": []});
    let role = Manifest::from_json(role);
    assert!(refusal(role.try_create(&client).await));
    drop(policy);
}

#[tokio::test]
async fn as_many_rules_as_there_may_be_are_still_judged() {
    let values: Vec<_> = (0..64).map(|i| format!("v{i}")).collect();
    let requirements: Vec<_> = (0..32)
        .map(|i| json!({"key": format!("k{i}"), "operator": "NotIn", "values": values}))
        .collect();
    let labels: serde_json::Map<_, _> = (0..64).map(|i| (format!("l{i}"), json!("v"))).collect();
    let rule = |names: Vec<String>| {
        json!({"groups": ["apps", "batch", "*"], "resources": ["pods", "configmaps"], "names": names, "operations": ["Create", "Update", "Delete"],
            "selector": {"matchLabels": labels, "matchExpressions": requirements}})
    };
    let others: Vec<_> = (0..64)
        .map(|i| format!("{}-{i}-*", "n".repeat(100)))
        .collect();
    let mut rules = vec![rule(others); 18];
    rules.push(rule(vec!["lab*".to_owned()]));
    rules.push(spec()["rules"][0].clone());
    let mut many = spec();
    many["rules"] = json!(rules);
    let scene = Scene::set("many", &many).await;
    let labelled = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "labelled", "labels": labels}});
    let labelled = Manifest::from_json(labelled).within(scene.people.namespace.name());
    let said = labelled.try_create(&scene.administrator).await;
    let said = said.expect_err("the last but one rule holds").to_string();
    assert!(said.contains(RULE), "{said}");
    let said = scene.asks(&scene.administrator, LABELS).await;
    assert!(said.contains(RULE), "{said}");
}
