//! Story: somebody with rights in one namespace looks for a way out of it, and finds none.

use std::time::Duration;

use crds::v1alpha1::{Host, find_condition};
use e2e::{
    Cluster, Manifest, Stage, eventually, rights,
    stage::{PATIENCE, SYSTEM, refusal},
    wait_for,
};
use k8s_openapi::api::{
    authorization::v1::SelfSubjectAccessReview,
    core::v1::{Namespace, Node, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};

/// A namespace is gone, with all that is in it, well within this.
const GONE: Duration = Duration::from_mins(1);

async fn host(stage: &Stage, name: &str, spec: Value) {
    let mut whole = json!({"type": "VirtualMachine", "hostKeyPolicy": "TrustOnFirstUse"});
    let of = spec.as_object().expect("an object").clone();
    whole.as_object_mut().expect("an object").extend(of);
    Manifest::of("Host", name, &whole)
        .within(stage.name())
        .create(&stage.client)
        .await
        .expect("the schema takes it");
}

/// Why a host is not reached, or that it is.
async fn seen(stage: &Stage, name: &str) -> (String, String) {
    let api: Api<Host> = Api::namespaced(stage.client.clone(), stage.name());
    let looked = |host: Option<&Host>| {
        host.and_then(|h| h.status.as_ref())
            .is_some_and(|s| find_condition(&s.conditions, "Reachable").is_some())
    };
    let host = wait_for(api, name, "a look", PATIENCE, looked).await;
    let status = host.status.expect("it was looked at");
    let reachable = find_condition(&status.conditions, "Reachable").expect("it was looked at");
    (reachable.reason.clone(), reachable.message.clone())
}

async fn address_of_the_api_server(client: &Client) -> String {
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), "default");
    let named = ListParams::default().labels("kubernetes.io/service-name=kubernetes");
    let slices = slices.list(&named).await.expect("an administrator lists");
    let endpoints = slices.items.into_iter().flat_map(|slice| slice.endpoints);
    let mut addresses = endpoints.flat_map(|endpoint| endpoint.addresses);
    addresses.next().expect("the API server has an address")
}

async fn address_of_a_service(client: &Client) -> String {
    let services: Api<Service> = Api::namespaced(client.clone(), "default");
    let service = services.get("kubernetes").await.expect("it is there");
    let address = service.spec.and_then(|spec| spec.cluster_ip);
    address.expect("it has an address")
}

/// Name and address of a node.
async fn a_node(client: &Client) -> (String, String) {
    let nodes: Api<Node> = Api::all(client.clone());
    let node = nodes.list(&ListParams::default()).await.expect("nodes");
    let node = node.items.into_iter().next().expect("there are nodes");
    let addresses = node.status.and_then(|s| s.addresses).unwrap_or_default();
    let own = addresses.iter().find(|a| a.type_ == "InternalIP");
    let own = own.expect("a node has an address").address.clone();
    (node.metadata.name.expect("a name"), own)
}

#[tokio::test]
async fn no_host_leads_to_the_cluster_itself() {
    let stage = Stage::set("walls").await;
    let everywhere = [("password", "guess"), ("addresses", "*")];
    stage
        .secret("everywhere", "pilothouse.dev/ssh", &everywhere)
        .await;
    let (node, address) = a_node(&stage.client).await;
    let cases = [
        ("metadata", "169.254.169.254".to_owned(), "link-local"),
        ("loopback", "127.0.0.1".to_owned(), "loopback"),
        (
            "api-server",
            address_of_the_api_server(&stage.client).await,
            "API server",
        ),
        (
            "service",
            address_of_a_service(&stage.client).await,
            "Service",
        ),
        ("node", address.clone(), "nodeName"),
    ];
    for (name, address, words) in &cases {
        let spec = json!({"address": address, "credentialsRef": {"name": "everywhere"}});
        host(&stage, name, spec).await;
        let (reason, message) = seen(&stage, name).await;
        assert_eq!(reason, "AddressOffLimits", "{name}: {message}");
        assert!(message.contains(words), "{name}: {message}");
    }
    // Said by somebody who may use nodes, that machine is only a machine.
    let spec =
        json!({"address": address, "nodeName": node, "credentialsRef": {"name": "everywhere"}});
    host(&stage, "known-node", spec).await;
    let (reason, message) = seen(&stage, "known-node").await;
    assert_eq!(reason, "AuthRejected", "{message}");
}

#[tokio::test]
async fn credentials_go_nowhere_but_where_their_secret_says() {
    let stage = Stage::set("elsewhere").await;
    let bound = [("password", "of-the-team"), ("addresses", "192.0.2.0/24")];
    stage.secret("bound", "pilothouse.dev/ssh", &bound).await;
    let mine = json!({"address": "172.31.250.21", "credentialsRef": {"name": "bound"}});
    host(&stage, "mine", mine).await;
    let (reason, message) = seen(&stage, "mine").await;
    assert_eq!(reason, "CredentialNotForAddress", "{message}");
    stage.reachable("vm1").await;
    let behind = json!({"address": "192.0.2.9", "credentialsRef": {"name": "bound"}, "jumpHostRef": {"name": "vm1"}});
    host(&stage, "behind-mine", behind).await;
    let (reason, message) = seen(&stage, "behind-mine").await;
    assert_eq!(reason, "CredentialNotForJumpHost", "{message}");
}

#[tokio::test]
async fn a_secret_that_the_account_may_not_get_is_in_no_run() {
    let stage = Stage::set("hidden").await;
    stage.secret("hidden", "Opaque", &[("a", "value")]).await;
    stage
        .apply(
            r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: pilothouse-runner}
rules:
- {apiGroups: [pilothouse.dev], resources: [hosts], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [secrets], resourceNames: [fleet-key], verbs: [get]}
"#,
        )
        .await;
    let account = stage.cluster.as_account(stage.name(), "pilothouse-runner");
    let hidden = review(stage.name(), ("get", "", "secrets", "hidden"));
    eventually("the Role to hold", PATIENCE, || async {
        (!allowed(&account, &hidden).await).then_some(())
    })
    .await;
    let by_hosts = json!({"hosts": {"names": ["vm1"]}});
    let env = json!({"TOKEN": "{{ params.token }}"});
    let printed = |how: &str| format!("printenv TOKEN | {how}");
    let bodies = [
        (
            "reversed",
            json!({"name": "a", "targets": by_hosts, "inline": {"content": printed("rev"), "env": env}}),
        ),
        (
            "encoded",
            json!({"name": "a", "pod": {"image": "local/busybox:1", "command": ["/bin/sh", "-c", printed("base64")], "env": env}}),
        ),
    ];
    for (name, step) in bodies {
        let run = json!({"job": {"parameters": [{"name": "token", "sensitive": true}], "steps": [step]},
            "secretParameters": {"token": {"name": "hidden", "key": "a"}}});
        Manifest::of("JobRun", name, &run)
            .within(stage.name())
            .create(&stage.client)
            .await
            .expect("the schema takes it");
        stage.waits(name, "AccountForbidden").await;
        assert!(stage.executions(name).await.is_empty());
    }
}

#[tokio::test]
async fn a_job_that_was_changed_by_somebody_who_may_not_be_its_account_does_not_run() {
    let stage = Stage::set("changed").await;
    let job = |content: &str| {
        Manifest::of("Job", "theirs", &json!({"steps": [{"name": "a", "inline": {"content": content}}], "targets": {"hosts": {"names": ["vm1"]}}}))
            .within(stage.name())
    };
    job("true").create(&stage.client).await.expect("a job");
    let rules = json!([
        {"apiGroups": ["pilothouse.dev"], "resources": ["jobs"], "verbs": ["get", "update", "patch"]},
        {"apiGroups": ["pilothouse.dev"], "resources": ["hosts"], "verbs": ["use"]},
    ]);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "editor"}, "rules": rules});
    Manifest::from_json(role)
        .within(stage.name())
        .create(&stage.client)
        .await
        .expect("a role");
    let role = json!({"kind": "Role", "name": "editor"});
    rights::bind(&stage.client, stage.name(), "editor", &role).await;
    let editor = stage.cluster.as_user("editor", &["testers"]);
    rights::hold(&editor, stage.name(), ("patch", "jobs"), None, true).await;
    rights::hold(&editor, stage.name(), ("use", "hosts"), None, true).await;
    job("id > /var/tmp/mine")
        .apply(&editor)
        .await
        .expect("an editor may edit");
    let run = json!({"jobRef": {"name": "theirs"}});
    Manifest::of("JobRun", "run", &run)
        .within(stage.name())
        .create(&stage.client)
        .await
        .expect("an administrator may run it");
    let (reason, message) = refusal(&stage.ends("run").await);
    assert_eq!(reason, "WriterNotEntitled", "{message}");
    assert!(message.contains("editor"), "{message}");
}

#[tokio::test]
async fn the_operator_itself_may_do_nothing_where_nobody_has_bound_it() {
    let stage = Stage::set("bound").await;
    let operator = stage.cluster.as_account(SYSTEM, "pilothouse-operator");
    let runner = ("impersonate", "", "serviceaccounts", "pilothouse-runner");
    let here = review(stage.name(), runner);
    eventually("the binding to hold", PATIENCE, || async {
        allowed(&operator, &here).await.then_some(())
    })
    .await;
    for (verb, group, resource, name) in [
        runner,
        ("impersonate", "", "serviceaccounts", "default"),
        ("get", "", "secrets", "any"),
        ("create", "", "pods", "any"),
        ("create", "", "pods/exec", "any"),
        ("get", "", "pods/log", "any"),
        ("delete", "", "pods", "any"),
        ("create", "", "serviceaccounts/token", "pilothouse-runner"),
        ("update", "pilothouse.dev", "jobruns", "any"),
        ("update", "pilothouse.dev", "jobs", "any"),
    ] {
        for namespace in ["default", "kube-system"] {
            let asked = review(namespace, (verb, group, resource, name));
            assert!(
                !allowed(&operator, &asked).await,
                "{verb} {resource} in {namespace}"
            );
        }
    }
    // Runs of schedules it creates only where it may act as their account.
    let run = Manifest::of("JobRun", "any", &json!({"jobRef": {"name": "any"}}));
    for namespace in ["default", "kube-system"] {
        let created = run.clone().within(namespace).try_create(&operator).await;
        let refusal = created.expect_err("nobody has bound it").to_string();
        assert!(refusal.contains("Rule pilothouse-account"), "{refusal}");
    }
    let here = run.within(stage.name()).try_create(&operator).await;
    here.expect("it is bound here");
}

#[tokio::test]
async fn those_who_only_answer_may_do_no_more_than_they_need() {
    let cluster = Cluster::connect().await;
    for (name, secret) in [
        ("pilothouse-front", "pilothouse-server-tls"),
        ("pilothouse-server", "pilothouse-server-tls"),
        ("pilothouse-webhook", "pilothouse-webhook-tls"),
    ] {
        let account = cluster.as_account(SYSTEM, name);
        let own = review(SYSTEM, ("update", "", "secrets", secret));
        assert!(
            allowed(&account, &own).await,
            "{name} keeps its certificate"
        );
        let key = review(SYSTEM, ("get", "", "secrets", "pilothouse-server-audit"));
        assert_eq!(
            allowed(&account, &key).await,
            name == "pilothouse-server",
            "{name}: the store alone signs the audit"
        );
        for (verb, group, resource, object) in [
            ("impersonate", "", "users", "any"),
            ("impersonate", "", "serviceaccounts", "pilothouse-operator"),
            ("create", "", "serviceaccounts/token", "pilothouse-operator"),
            ("get", "", "secrets", "any"),
            ("list", "", "secrets", ""),
            ("create", "", "pods", "any"),
            ("create", "", "pods/exec", "any"),
            ("get", "pilothouse.dev", "hosts", "any"),
            ("patch", "pilothouse.dev", "jobruns/status", "any"),
            ("get", "records.pilothouse.dev", "executions", "any"),
            ("get", "records.pilothouse.dev", "archives", "any"),
            ("patch", "apiregistration.k8s.io", "apiservices", "v1.apps"),
            ("update", "rbac.authorization.k8s.io", "roles", "any"),
            (
                "patch",
                "admissionregistration.k8s.io",
                "validatingwebhookconfigurations",
                "pilothouse-commands",
            ),
        ] {
            for namespace in ["default", "kube-system", SYSTEM] {
                let asked = review(namespace, (verb, group, resource, object));
                let may = allowed(&account, &asked).await;
                assert!(!may, "{name}: {verb} {resource} in {namespace}");
            }
        }
    }
    // Whether somebody may see records is the store's question; a front only asks who they are.
    let front = cluster.as_account(SYSTEM, "pilothouse-front");
    for asked in [
        ("create", "authorization.k8s.io", "subjectaccessreviews", ""),
        ("list", "", "namespaces", ""),
        ("list", "pilothouse.dev", "jobruns", ""),
        ("create", "events.k8s.io", "events", ""),
    ] {
        assert!(!allowed(&front, &review("", asked)).await, "{asked:?}");
    }
}

fn review(
    namespace: &str,
    (verb, group, resource, name): (&str, &str, &str, &str),
) -> SelfSubjectAccessReview {
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource)),
        None => (resource, None),
    };
    let review = json!({"spec": {"resourceAttributes": {"namespace": namespace, "verb": verb, "group": group,
        "resource": resource, "subresource": subresource, "name": name}}});
    serde_json::from_value(review).expect("a literal review")
}

async fn allowed(who: &Client, review: &SelfSubjectAccessReview) -> bool {
    let api: Api<SelfSubjectAccessReview> = Api::all(who.clone());
    let answer = api.create(&PostParams::default(), review).await;
    answer
        .expect("everybody may ask for themselves")
        .status
        .is_some_and(|status| status.allowed)
}

#[tokio::test]
async fn a_namespace_made_anew_does_not_show_the_records_of_the_old() {
    let stage = Stage::set("anew").await;
    stage.hosts_seen().await;
    stage
        .run(
            "run",
            "targets: {hosts: {names: [vm1]}}\nsteps: [{name: a, inline: {content: 'true'}}]",
        )
        .await;
    stage.ends("run").await;
    assert_eq!(stage.executions("run").await.len(), 1);
    stage.archived("JobRun", "run", "Succeeded").await;
    stage.namespace.removed(GONE).await;
    let anew = json!({"metadata": {"name": stage.name()}});
    let anew: Namespace = serde_json::from_value(anew).expect("a literal namespace");
    Api::all(stage.client.clone())
        .create(&PostParams::default(), &anew)
        .await
        .expect("an administrator makes a namespace");
    assert!(stage.executions("run").await.is_empty());
    assert!(stage.archives("JobRun").await.is_empty());
}
