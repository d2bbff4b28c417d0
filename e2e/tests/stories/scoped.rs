//! Story: Pilothouse is given one namespace to serve, and holds no right in any other; runs there go on as before, and all of it comes back when the scope goes.

use crds::v1alpha1::{Host, find_condition};
use e2e::{
    Guest, Manifest, Release, Replica, Stage, Terminal, eventually, rights,
    stage::{PATIENCE, SYSTEM, state},
    wait_for,
};
use k8s_openapi::api::core::v1::{Node, Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};

/// Name of the Secret with the test's own certificate.
const SERVING: &str = "e2e-serving";

/// With a scope the roles are the namespace's own.
const ROLES: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: operator-acts-here}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: pilothouse-impersonate-runner}
subjects: [{kind: ServiceAccount, name: pilothouse-operator, namespace: pilothouse-system}]";

/// Begins, and ends when it is told to.
fn until_told(run: &str, host: &str) -> String {
    format!(
        "targets: {{hosts: {{names: [{host}]}}}}
steps: [{{name: a, timeout: 30m, inline: {{content: 'echo once >> /var/tmp/{run}; while ! test -e /var/tmp/{run}-end; do sleep 0.2; done; echo done'}}}}]"
    )
}

async fn begun(stage: &Stage, run: &str, host: &'static str) {
    stage.run(run, &until_told(run, host)).await;
    let effect = format!("cat /var/tmp/{run} 2>/dev/null; true");
    eventually("the effect", PATIENCE, || async {
        Guest(host).sh(&effect).contains("once").then_some(())
    })
    .await;
}

/// Lets the run end, which has had its effect once.
async fn ends_well(stage: &Stage, run: &str, host: &'static str) {
    Guest(host).sh(&format!("touch /var/tmp/{run}-end"));
    let status = stage.ends(run).await.status.expect("status");
    assert_eq!(status.summary.as_deref(), Some("Succeeded"), "{status:#?}");
    let lines = Guest(host).sh(&format!("cat /var/tmp/{run}; rm /var/tmp/{run}*"));
    assert_eq!(lines, "once\n", "{run}");
    let rows = stage.executions(run).await;
    assert_eq!((rows.len(), state(&rows, "a", host)), (1, "Succeeded"));
    assert_eq!(stage.log(run, "a", host).await, b"done\n");
}

/// Writes a certificate of our own for fronts and store; its CA.
async fn certificate(client: &Client) -> String {
    let (mut params, key) = (
        CertificateParams::default(),
        KeyPair::generate().expect("a key"),
    );
    // A CA of another name than what it signs.
    params.distinguished_name.push(DnType::CommonName, SERVING);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let issuer = CertifiedIssuer::self_signed(params, key).expect("a CA");
    let key = KeyPair::generate().expect("a key");
    let names =
        ["server", "store", "webhook"].map(|name| format!("pilothouse-{name}.{SYSTEM}.svc"));
    let leaf = CertificateParams::new(names).expect("names of DNS");
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
    let ca = issuer.pem();
    let data = json!({"tls.crt": leaf.pem(), "tls.key": key.serialize_pem(), "ca.crt": ca});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": SERVING}, "stringData": data});
    let secret = Manifest::from_json(secret).within(SYSTEM);
    secret.apply(client).await.expect("a Secret is accepted");
    ca
}

/// Addresses of the nodes.
async fn nodes(client: &Client) -> Vec<String> {
    let nodes: Api<Node> = Api::all(client.clone());
    let nodes = nodes.list(&ListParams::default()).await.expect("nodes");
    let addresses = nodes.into_iter().filter_map(|node| node.status?.addresses);
    let own = addresses.flatten().filter(|a| a.type_ == "InternalIP");
    own.map(|a| a.address).collect()
}

/// Serves this namespace and no other. The certificate first: while fronts still may, they tell its CA to the API server, and nothing is out of reach meanwhile.
async fn narrowed(release: &Release, stage: &Stage, nodes: &[String]) {
    let ca = certificate(&stage.client).await;
    let secret = json!({"name": SERVING, "caBundle": ca});
    release.upgrade(&json!({"certificates": {"mode": "existingSecret", "existingSecret": secret}}));
    let deny = [nodes, &["10.0.0.0/8".to_owned()]].concat();
    release.upgrade(
        &json!({"scope": {"namespaces": [stage.name()]}, "operator": {"outbound": {"deny": deny}}}),
    );
    Replica::leader(&stage.client).await;
}

/// What the accounts may, here and elsewhere.
async fn holds_nothing_outside(stage: &Stage, outside: &str) {
    let runner = Some("pilothouse-runner");
    for account in [
        "pilothouse-operator",
        "pilothouse-server",
        "pilothouse-front",
        "pilothouse-webhook",
    ] {
        let account = stage.cluster.as_account(SYSTEM, account);
        for namespace in [outside, "default", "kube-system", ""] {
            for (verb, resource) in [
                ("list", "jobruns"),
                ("patch", "jobruns"),
                ("list", "hosts"),
                ("list", "pods"),
                ("get", "namespaces"),
                ("list", "nodes"),
                ("get", "secrets"),
                ("impersonate", "serviceaccounts"),
            ] {
                rights::hold(&account, namespace, (verb, resource), runner, false).await;
            }
        }
    }
    let operator = stage.cluster.as_account(SYSTEM, "pilothouse-operator");
    for right in [("list", "jobruns"), ("get", "namespaces")] {
        rights::hold(&operator, stage.name(), right, None, true).await;
    }
}

async fn a_node_is_off_limits(stage: &Stage, node: &str) {
    let spec = json!({"type": "VirtualMachine", "address": node, "hostKeyPolicy": "TrustOnFirstUse", "credentialsRef": {"name": "fleet-key"}});
    let host = Manifest::of("Host", "node", &spec).within(stage.name());
    host.create(&stage.client).await.expect("a host");
    let api: Api<Host> = Api::namespaced(stage.client.clone(), stage.name());
    let refused = |host: Option<&Host>| {
        let status = host.and_then(|host| host.status.as_ref());
        let reachable = status.and_then(|s| find_condition(&s.conditions, "Reachable"));
        reachable
            .is_some_and(|c| c.reason == "AddressOffLimits" && c.message.contains("outbound.deny"))
    };
    wait_for(api, "node", "AddressOffLimits", PATIENCE, refused).await;
}

/// What a reader with the namespace's own role sees.
async fn a_reader_sees(stage: &Stage, run: &str) {
    let role = json!({"kind": "Role", "name": "pilothouse-viewer"});
    rights::bind(&stage.client, stage.name(), "reader", &role).await;
    let reader = Terminal::of("reader", stage.name());
    let select = format!("--selector=pilothouse.dev/run={run}");
    eventually("the reader's rows", PATIENCE, || async {
        let said = reader
            .kubectl(&["get", "executions", &select, "--output=name"])
            .await;
        (said.out.lines().count() == 1).then_some(())
    })
    .await;
}

/// Whether an operator has said anything of it; until then its status is what the schema gives it.
async fn is_served(stage: &Stage, run: &str) -> bool {
    let run = stage.runs().get(run).await.expect("the run is there");
    run.status
        .is_some_and(|status| status.observed_generation >= Some(0))
}

/// Whoever is told of the run in the scope later than of the one outside of it would have been told of both.
async fn runs_here_and_not_there(stage: &Stage, outside: &Stage) {
    let job = "targets: {hosts: {names: [vm1]}}\nsteps: [{name: a, inline: {content: echo done}}]";
    outside.run("unserved", job).await;
    let pod = "steps: [{name: a, pod: {image: 'local/busybox:1', command: [echo, done]}}]";
    stage.run("in-a-pod", pod).await;
    let status = stage.ends("in-a-pod").await.status.expect("status");
    assert_eq!(status.summary.as_deref(), Some("Succeeded"), "{status:#?}");
    assert_eq!(stage.log("in-a-pod", "a", "").await, b"done\n");
    a_reader_sees(stage, "in-a-pod").await;

    let killed = format!("{}-killed", stage.name());
    begun(stage, &killed, "vm1").await;
    assert!(Replica::leader(&stage.client).await.removed().await);
    Replica::leader(&stage.client).await;
    ends_well(stage, &killed, "vm1").await;
    assert!(!is_served(outside, "unserved").await);
}

#[tokio::test]
async fn one_namespace_is_served_and_no_right_is_held_in_any_other() {
    let (stage, outside) = (Stage::set("scoped").await, Stage::set("outside").await);
    stage.apply(ROLES).await;
    stage.hosts_seen().await;
    outside.hosts_seen().await;
    let nodes = nodes(&stage.client).await;
    let across = format!("{}-across", stage.name());
    begun(&stage, &across, "pm1").await;

    let release = Release::as_it_is();
    narrowed(&release, &stage, &nodes).await;
    holds_nothing_outside(&stage, outside.name()).await;
    a_node_is_off_limits(&stage, &nodes[0]).await;
    runs_here_and_not_there(&stage, &outside).await;
    ends_well(&stage, &across, "pm1").await;
    let said = Terminal::of_the_administrator(outside.name())
        .pilothouse(&["doctor"])
        .await;
    assert!(said.out.contains("is not served"), "{said:#?}");

    drop(release);
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), SYSTEM);
    let removed = secrets.delete(SERVING, &DeleteParams::default()).await;
    removed.expect("an administrator removes it");
    let ended = outside.ends("unserved").await.status.expect("status");
    assert_eq!(ended.summary.as_deref(), Some("Succeeded"), "{ended:#?}");
    eventually("records as before", PATIENCE, || async {
        let rows: Vec<Value> = outside.executions("unserved").await;
        (state(&rows, "a", "vm1") == "Succeeded").then_some(())
    })
    .await;
}
