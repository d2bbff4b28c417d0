use crds::v1alpha1::CommandSeverity as Severity;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    Finding, Posture, World,
    way::{EVERYTHING, Reach, WAYS},
};

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("a literal object")
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"})
}

/// One ClusterRole with these rules, bound in the whole cluster or in a namespace.
fn world(rules: &Value, namespace: Option<&str>, subject: &Value) -> World {
    let role = json!({"metadata": {"name": "r"}, "rules": rules});
    let binding = json!({"metadata": {"name": "b", "namespace": namespace}, "subjects": [subject],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"}});
    let mut world = World {
        cluster_roles: vec![read(role)],
        release: "pilothouse-system".to_owned(),
        status_is_kept: true,
        ..World::default()
    };
    match namespace {
        None => world.cluster_role_bindings = vec![read(binding)],
        Some(_) => world.role_bindings = vec![read(binding)],
    }
    world
}

/// A rule: group, resource, verb.
fn rule((group, resource, verb): (&str, &str, &str)) -> Value {
    json!({"apiGroups": [group], "resources": [resource], "verbs": [verb]})
}

fn found(rules: &Value, namespace: Option<&str>) -> Vec<(&'static str, Severity)> {
    let posture = Posture::of(&world(rules, namespace, &user("bob")));
    let told = |f: &Finding| (f.way, f.severity);
    posture.findings.iter().map(told).collect()
}

/// Group, resource and verb of a right, the way that it opens, how bad it is in the cluster, and in a namespace where it opens anything there.
const OPENED: &str = "
core                         nodes/proxy                       get         nodes-proxy              Critical -
core                         pods/exec                         get         pods-exec                Critical High
core                         pods/attach                       create      pods-attach              High     Medium
core                         pods/portforward                  create      pods-portforward         High     Medium
core                         services/proxy                    get         pods-proxy               Medium   Low
core                         pods/ephemeralcontainers          patch       pods-ephemeralcontainers Critical High
batch                        cronjobs                          create      create-pods              Critical High
core                         persistentvolumes                 create      persistent-volumes       High     -
core                         namespaces                        patch       namespace-labels         Critical High
admissionregistration.k8s.io mutatingwebhookconfigurations     create      admission-webhooks       Critical -
admissionregistration.k8s.io validatingadmissionpolicybindings delete      admission-policies       Critical -
pilothouse.dev               commandpolicies                   patch       pilothouse-policies      Critical -
pilothouse.dev               changecalendars                   update      calendars                Medium   Low
apiextensions.k8s.io         customresourcedefinitions         delete      kinds                    Critical -
core                         groups                            impersonate impersonate-people       Critical -
core                         serviceaccounts                   impersonate impersonate-accounts     Critical High
rbac.authorization.k8s.io    clusterroles                      bind        grant-rights             Critical High
rbac.authorization.k8s.io    roles                             escalate    grant-rights             Critical High
core                         secrets                           list        secrets                  High     Medium
core                         serviceaccounts/token             create      account-tokens           Critical High
certificates.k8s.io          signers                           approve     certificates             Critical -
pilothouse.dev               scripts                           approve     approve                  Medium   Low
pilothouse.dev               jobruns/status                    patch       status                   Medium   Low
coordination.k8s.io          leases                            delete      release-namespace        Critical -
*                            *                                 *           everything               Critical High
";

#[test]
fn each_right_opens_its_way_and_is_as_bad_as_it_is_wide() {
    let told = |rules: &Value, namespace| -> Vec<(String, String)> {
        let ways = found(rules, namespace).into_iter();
        ways.map(|(way, severity)| (way.to_owned(), format!("{severity:?}")))
            .collect()
    };
    for line in OPENED.trim().lines() {
        let cells: Vec<_> = line.split_whitespace().collect();
        let [group, resource, verb, way, widely, within] = cells[..] else {
            panic!("six cells: {line}")
        };
        let group = Some(group).filter(|group| *group != "core");
        let rules = json!([rule((group.unwrap_or_default(), resource, verb))]);
        let expected = |severity: &str| match severity {
            "-" => Vec::new(),
            severity => vec![(way.to_owned(), severity.to_owned())],
        };
        assert_eq!(told(&rules, None), expected(widely), "{line}");
        assert_eq!(told(&rules, Some("shop")), expected(within), "{line}");
    }
    for way in WAYS {
        let row = format!(" {} ", way.id);
        assert!(OPENED.contains(&row), "{} is opened by no row", way.id);
    }
}

#[test]
fn the_docs_tell_of_every_way_in_this_order_and_with_this_severity() {
    let page = include_str!("../../../docs/how-to/posture.md");
    let told = page.lines().filter(|line| line.starts_with("| `"));
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), WAYS.len());
    for (line, way) in told.iter().zip(WAYS) {
        assert!(line.starts_with(&format!("| `{}` |", way.id)), "{line}");
        let severity = format!("| {:?}", way.severity);
        assert!(line.contains(&severity), "{severity}: {line}");
        let widely = line.contains("(C)");
        assert_eq!(widely, way.reach == Reach::Cluster, "{line}");
    }
    let coverage = include_str!("../../../docs/coverage.md");
    for way in WAYS.iter().filter(|way| way.id != EVERYTHING) {
        let finding = format!("`{}`", way.id);
        assert!(coverage.contains(&finding), "no way has {finding}");
    }
}

#[test]
fn what_opens_nothing_is_not_told_of() {
    let harmless = [
        ("", "pods", "get"),
        ("", "pods/log", "get"),
        // No wildcard for subresources of one resource exists in RBAC.
        ("", "pods/*", "create"),
        ("apps", "pods/exec", "create"),
        ("", "nodes/metrics", "get"),
        ("pilothouse.dev", "commandpolicies", "create"),
        ("rbac.authorization.k8s.io", "rolebindings", "create"),
    ];
    for right in harmless {
        assert_eq!(found(&json!([rule(right)]), None), [], "{right:?}");
    }
    let nothing = json!({"metadata": {"name": "another"}, "rules": []});
    let mut dangling = world(&json!([]), None, &user("bob"));
    dangling.cluster_roles = vec![read(nothing)];
    assert_eq!(Posture::of(&dangling), Posture::default());
}

#[test]
fn wildcards_are_read_as_the_api_server_reads_them() {
    let subresource = json!([rule(("*", "*/exec", "*"))]);
    assert_eq!(
        found(&subresource, Some("shop")),
        [("pods-exec", Severity::High)]
    );
    // Every verb on every core resource is a good deal and not everything.
    let ways = found(&json!([rule(("", "*", "*"))]), None);
    let ids: Vec<_> = ways.iter().map(|way| way.0).collect();
    for way in ["nodes-proxy", "pods-exec", "secrets", "impersonate-people"] {
        assert!(ids.contains(&way), "{way}: {ids:?}");
    }
    assert!(
        !ids.contains(&"everything") && !ids.contains(&"kinds"),
        "{ids:?}"
    );
}

#[test]
fn names_make_it_narrower_unless_they_are_ours() {
    let named = |resource: &str, verb: &str, names: &[&str]| json!([{"apiGroups": ["", "admissionregistration.k8s.io"], "resources": [resource], "verbs": [verb], "resourceNames": names}]);
    let runner = named("serviceaccounts", "impersonate", &["pilothouse-runner"]);
    assert_eq!(
        found(&runner, Some("shop")),
        [("impersonate-accounts", Severity::Medium)]
    );
    let operator = named("serviceaccounts", "impersonate", &["pilothouse-operator"]);
    assert_eq!(
        found(&operator, Some("pilothouse-system")),
        [("impersonate-accounts", Severity::Critical)]
    );
    let others = named(
        "validatingwebhookconfigurations",
        "update",
        &["cert-manager"],
    );
    assert_eq!(
        found(&others, None),
        [("admission-webhooks", Severity::High)]
    );
    let ours = named(
        "validatingadmissionpolicies",
        "update",
        &["pilothouse-account"],
    );
    assert_eq!(
        found(&ours, None),
        [("admission-policies", Severity::Critical)]
    );
    // What is created has no name, so such a rule allows nothing; what is executed in has one.
    assert_eq!(
        found(&named("pods", "create", &["web-0"]), Some("shop")),
        []
    );
    assert_eq!(
        found(&named("pods/exec", "create", &["web-0"]), Some("shop")),
        [("pods-exec", Severity::Medium)]
    );
}

#[test]
fn a_right_on_every_object_outweighs_one_on_named_objects() {
    let rules = json!([
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["fleet-key"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]},
    ]);
    let posture = Posture::of(&world(&rules, Some("shop"), &user("bob")));
    let [finding] = &posture.findings[..] else {
        panic!("{posture:#?}")
    };
    assert_eq!(
        (&finding.rights[..], finding.names.len()),
        (&["list secrets".to_owned()][..], 0)
    );
}

#[test]
fn a_finding_says_who_by_what_and_where() {
    let rules =
        json!([{"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get", "create"]}]);
    let posture = Posture::of(&world(&rules, Some("shop"), &user("bob")));
    let told = serde_json::to_value(&posture.findings[0]).expect("plain data");
    let expected = json!({
        "severity": "High", "way": "pods-exec", "subject": {"kind": "User", "name": "bob"},
        "binding": {"kind": "RoleBinding", "name": "b"}, "role": {"kind": "ClusterRole", "name": "r"},
        "namespace": "shop", "rights": ["get,create pods/exec"],
        "goesAround": told["goesAround"], "instead": told["instead"],
    });
    assert_eq!(told, expected);
}

#[test]
fn a_role_of_a_namespace_is_not_taken_for_another_of_its_name() {
    let role = |namespace: &str, resource: &str| {
        read(
            json!({"metadata": {"name": "r", "namespace": namespace}, "rules": [rule(("", resource, "create"))]}),
        )
    };
    let mut world = world(
        &json!([rule(("", "secrets", "get"))]),
        Some("shop"),
        &user("bob"),
    );
    world.role_bindings[0].role_ref.kind = "Role".to_owned();
    world.roles = vec![role("shop", "pods/exec"), role("web", "pods/attach")];
    let posture = Posture::of(&world);
    let ways: Vec<_> = posture.findings.iter().map(|f| f.way).collect();
    assert_eq!(ways, ["pods-exec"]);
}

#[test]
fn the_cluster_s_own_parts_and_ours_are_told_of_apart_and_everybody_is_worse() {
    let group = |name: &str| json!({"kind": "Group", "name": name});
    let account = |namespace: &str, name: &str| json!({"kind": "ServiceAccount", "name": name, "namespace": namespace});
    // Whether it is of the system, and how bad it is.
    let table = [
        (group("system:masters"), true, Severity::Medium),
        (group("system:nodes"), true, Severity::Medium),
        (group("system:authenticated"), false, Severity::High),
        (group("system:serviceaccounts"), false, Severity::High),
        (
            group("system:serviceaccounts:shop"),
            false,
            Severity::Medium,
        ),
        (group("kubeadm:cluster-admins"), false, Severity::Medium),
        (user("system:kube-scheduler"), true, Severity::Medium),
        (user("system:node:n1"), true, Severity::Medium),
        (user("system:anonymous"), false, Severity::High),
        (
            user("system:serviceaccount:kube-system:namespace-controller"),
            true,
            Severity::Medium,
        ),
        (
            account("kube-system", "deployment-controller"),
            true,
            Severity::Medium,
        ),
        (
            account("pilothouse-system", "pilothouse-operator"),
            true,
            Severity::Medium,
        ),
        (
            account("shop", "pilothouse-operator"),
            false,
            Severity::Medium,
        ),
        (
            account("pilothouse-system", "default"),
            false,
            Severity::Medium,
        ),
    ];
    let rules = json!([rule(("", "secrets", "get"))]);
    for (subject, is_system, severity) in table {
        let posture = Posture::of(&world(&rules, Some("shop"), &subject));
        let (told, other) = if is_system {
            (posture.of_the_system, posture.findings)
        } else {
            (posture.findings, posture.of_the_system)
        };
        assert_eq!((told.len(), other.len()), (1, 0), "{subject}");
        assert_eq!(told[0].severity, severity, "{subject}");
    }
}

#[test]
fn an_account_bound_by_the_name_of_its_user_is_an_account() {
    let subject = user("system:serviceaccount:shop:deployer");
    let posture = Posture::of(&world(
        &json!([rule(("", "pods/exec", "create"))]),
        None,
        &subject,
    ));
    assert_eq!(
        posture.findings[0].subject.to_string(),
        "ServiceAccount shop/deployer"
    );
}

#[test]
fn pod_security_says_how_far_a_pod_of_one_s_own_goes() {
    let label = |level: Option<&str>| {
        level.map_or(
            json!({}),
            |l| json!({"pod-security.kubernetes.io/enforce": l}),
        )
    };
    let namespace =
        |name: &str, level| read(json!({"metadata": {"name": name, "labels": label(level)}}));
    let rules = json!([rule(("apps", "deployments", "patch"))]);
    let table = [
        (Some("restricted"), Severity::Medium, "restricted"),
        (Some("baseline"), Severity::Medium, "baseline"),
        (Some("privileged"), Severity::High, "lets every pod in"),
        (None, Severity::High, "has no label"),
    ];
    for (level, severity, words) in table {
        let mut world = world(&rules, Some("shop"), &user("bob"));
        world.namespaces = vec![namespace("web", None), namespace("shop", level)];
        let posture = Posture::of(&world);
        let note = posture.findings[0].note.clone().unwrap_or_default();
        assert_eq!(posture.findings[0].severity, severity, "{note}");
        assert!(note.contains(words), "{note}");
    }
    let mut world = world(&rules, None, &user("bob"));
    let many = (0..7).map(|n| namespace(&format!("n{n}"), None));
    world.namespaces = many.chain([namespace("shop", Some("baseline"))]).collect();
    let posture = Posture::of(&world);
    let notes: Vec<_> = posture
        .findings
        .iter()
        .filter_map(|f| f.note.clone())
        .collect();
    assert_eq!(
        notes,
        ["every pod is let in by Pod Security in n0, n1, n2, n3, n4 and 2 more"]
    );
}

#[test]
fn status_is_worse_where_nothing_keeps_it_to_the_operator() {
    let rules = json!([rule(("pilothouse.dev", "jobruns/status", "update"))]);
    let mut world = world(&rules, None, &user("bob"));
    world.status_is_kept = false;
    assert_eq!(Posture::of(&world).findings[0].severity, Severity::High);
}

#[test]
fn the_worst_comes_first() {
    let rules = json!([
        rule(("", "secrets", "get")),
        rule(("", "nodes/proxy", "get")),
        rule(("", "pods/attach", "get"))
    ]);
    let severities: Vec<_> = found(&rules, None).iter().map(|way| way.0).collect();
    assert_eq!(severities, ["nodes-proxy", "pods-attach", "secrets"]);
}
