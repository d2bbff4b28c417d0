//! Story: an administrator asks who can go around what Pilothouse guards, takes the right away, and is told of it no more.

use e2e::{Cluster, Manifest, Terminal, TestNamespace, stage::SYSTEM, terminal::Said};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::{Api, api::DeleteParams};
use serde_json::Value;

/// What bob and nina hold: the one commands in pods of the namespace, the other the kubelets.
const RIGHTS: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: shells}
rules: [{apiGroups: [''], resources: [pods/exec], verbs: [create]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: bobs-shells}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: shells}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: bob}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NAMESPACE-kubelets}
rules: [{apiGroups: [''], resources: [nodes/proxy], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: NAMESPACE-kubelets}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAMESPACE-kubelets}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: nina-of-NAMESPACE}]
";

/// The role and the binding of the whole cluster, gone with the story.
struct Kubelets(Cluster, String);

impl Drop for Kubelets {
    fn drop(&mut self) {
        let name = self.1.clone();
        self.0
            .finally("the right on kubelets", |client| async move {
                let gone = DeleteParams::default();
                let bindings = Api::<ClusterRoleBinding>::all(client.clone());
                let bound = bindings.get_opt(&name).await?;
                if bound.is_some() {
                    bindings.delete(&name, &gone).await?;
                }
                let roles = Api::<ClusterRole>::all(client);
                roles.delete(&name, &gone).await.map(drop)
            });
    }
}

/// What was printed for programs; every one of these codes is an answer.
#[track_caller]
fn report(said: &Said, codes: &[i32]) -> Value {
    let code = said.code.expect("it ended by itself");
    assert!(codes.contains(&code), "{said:#?}");
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("no JSON: {error}: {said:#?}"))
}

/// The finding about a user, if there is one.
fn of<'a>(report: &'a Value, user: &str) -> Option<&'a Value> {
    let findings = report["findings"].as_array().expect("findings");
    findings.iter().find(|f| f["subject"]["name"] == user)
}

/// Posture of the namespace, as this person may see it.
async fn looks(person: &Terminal, namespace: &str, more: &[&str]) -> Said {
    person
        .pilothouse(&[&["posture", "-n", namespace], more].concat())
        .await
}

#[tokio::test]
async fn whoever_goes_around_is_found_with_binding_and_role_until_the_binding_is_gone() {
    let cluster = Cluster::connect().await;
    let namespace = TestNamespace::create(&cluster, "posture").await;
    let (client, name) = (cluster.client(), namespace.name());
    let kubelets = Kubelets(cluster.clone(), format!("{name}-kubelets"));
    for manifest in Manifest::read(&RIGHTS.replace("NAMESPACE", name)) {
        let applied = manifest.within(name).apply(&client).await;
        applied.expect("an administrator gives rights");
    }
    let admin = Terminal::of_the_administrator(name);
    let nina = format!("nina-of-{name}");

    let told = looks(&admin, name, &[]).await;
    assert_eq!(told.code, Some(1), "{told:#?}");
    for word in [
        "pods-exec",
        "nodes-proxy",
        "RoleBinding bobs-shells, Role shells",
    ] {
        assert!(told.out.contains(word), "no {word:?} in {told:#?}");
    }
    let json = report(&looks(&admin, name, &["-o", "json"]).await, &[1]);
    let (bobs, ninas) = (of(&json, "bob"), of(&json, &nina));
    let (bobs, ninas) = (bobs.expect("bob is found"), ninas.expect("nina is found"));
    assert_eq!(
        (&bobs["way"], &bobs["severity"]),
        (&"pods-exec".into(), &"High".into())
    );
    assert_eq!(
        (&bobs["namespace"], &bobs["role"]["name"]),
        (&name.into(), &"shells".into())
    );
    assert_eq!(
        (&ninas["way"], &ninas["severity"]),
        (&"nodes-proxy".into(), &"Critical".into())
    );
    assert_eq!(
        (&ninas["namespace"], &ninas["role"]["name"]),
        (&Value::Null, &kubelets.1.as_str().into())
    );
    assert_eq!(ninas["binding"]["kind"], "ClusterRoleBinding", "{ninas:#}");
    assert_eq!(json["notRead"], serde_json::json!([]), "{json:#}");

    let gone = DeleteParams::default();
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), name);
    let deleted = bindings.delete("bobs-shells", &gone).await;
    deleted.expect("an administrator takes a right away");
    let bindings: Api<ClusterRoleBinding> = Api::all(client);
    let deleted = bindings.delete(&kubelets.1, &gone).await;
    deleted.expect("an administrator takes a right away");
    let json = report(&looks(&admin, name, &["-o", "json"]).await, &[0, 1]);
    assert_eq!(
        (of(&json, "bob"), of(&json, &nina)),
        (None, None),
        "{json:#}"
    );
}

#[tokio::test]
async fn whoever_may_not_look_is_told_what_was_not_read_and_the_guards_are_seen_to_stand() {
    let cluster = Cluster::connect().await;
    let namespace = TestNamespace::create(&cluster, "posture-unseen").await;
    let name = namespace.name();
    let dora = Terminal::of("dora", name);
    let json = report(&looks(&dora, name, &["-o", "json"]).await, &[2]);
    let unread = json["notRead"].to_string();
    for plural in [
        "clusterroles",
        "clusterrolebindings",
        "roles",
        "rolebindings",
    ] {
        assert!(
            unread.contains(&format!("\"{plural}: you may not list them\"")),
            "{unread}"
        );
    }
    let told = looks(&dora, name, &[]).await;
    assert!(
        told.out.contains("Not everything could be looked at"),
        "{told:#?}"
    );

    // The operator's own account is told of apart, unless every part is asked for.
    let admin = Terminal::of_the_administrator(SYSTEM);
    let json = report(&looks(&admin, SYSTEM, &["-o", "json"]).await, &[0, 1]);
    assert_eq!(of(&json, "pilothouse-operator"), None, "{json:#}");
    let guards = json["guards"].as_array().expect("guards");
    assert!(
        guards.iter().all(|guard| guard["level"] == "Good"),
        "{guards:#?}"
    );
    let json = report(
        &looks(&admin, SYSTEM, &["--all", "-o", "json"]).await,
        &[0, 1],
    );
    assert!(of(&json, "pilothouse-operator").is_some(), "{json:#}");
}
