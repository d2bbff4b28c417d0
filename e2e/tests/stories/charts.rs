//! The charts as Helm renders them: values that are wrong are refused, and whatever is rendered keeps the promises about rights and pods.

use std::fs;

use e2e::{
    Manifest,
    helm::{helm, refuses},
    stage::SYSTEM,
};
use serde_json::{Value, json};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/pilothouse");
const MUTATES: [&str; 2] = [
    "--api-versions",
    "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy",
];

/// Two namespaces, with either kind of certificate.
const SCOPED: [&[&str]; 2] = [
    &[
        "--set",
        "scope.namespaces={shop,web},operator.outbound.deny={10.0.0.0/8}",
        "--set",
        "certificates.mode=certManager,certificates.certManager.issuerRef.name=internal",
    ],
    &[
        "--set",
        "scope.namespaces={shop,web},operator.outbound.deny={10.0.0.0/8}",
        "--set",
        "certificates.mode=existingSecret,certificates.existingSecret.name=serving,certificates.existingSecret.caBundle=PEM",
    ],
];

/// Records in PostgreSQL.
const POSTGRES: &[&str] = &[
    "--set",
    "records.postgres.secretRef.name=database,records.postgres.caSecretRef.name=database-ca,networkPolicy.enabled=true",
];

/// Settings that between them render every template.
const SETTINGS: [&[&str]; 7] = [
    POSTGRES,
    SCOPED[0],
    SCOPED[1],
    &[],
    &[
        "--set",
        "certificates.mode=certManager,certificates.certManager.issuerRef.name=internal",
    ],
    &[
        "--set",
        "certificates.mode=existingSecret,certificates.existingSecret.name=serving",
    ],
    &[
        "--set",
        "serviceMonitor.enabled=true,networkPolicy.enabled=true,policies.stamping=Mutate,rbac.aggregateToView=false,argocd.healthScripts=true,commonLabels.team=a,grafana.dashboard.enabled=true,tracing.endpoint=http://collector:4318,tracing.headersSecretRef.name=collector",
    ],
];

/// What is wrong, and how Helm says so.
const REFUSED: [(&[&str], &str); 16] = [
    (
        &["--set", "typo=1"],
        "additional properties 'typo' not allowed",
    ),
    (&["--set", "operator.replicas=0"], "/operator/replicas"),
    (
        &["--set", "operator.limits.targets=2001"],
        "/operator/limits/targets",
    ),
    (
        &["--set", "operator.outbound.allow={everywhere}"],
        "/operator/outbound/allow/0",
    ),
    (&["--set", "image.digest=latest"], "/image/digest"),
    (&["--set", "policies.stamping=on"], "/policies/stamping"),
    (
        &["--set", "certificates.mode=certManager"],
        "/certificates/certManager/issuerRef/name",
    ),
    (
        &["--set", "certificates.mode=existingSecret"],
        "/certificates/existingSecret/name",
    ),
    (
        &["--set", "records.postgres.replicas=0"],
        "/records/postgres/replicas",
    ),
    (
        &["--set", "rbac.runners=null"],
        "missing property 'runners'",
    ),
    (&["--set", "scope.namespaces={Shop}"], "/scope/namespaces/0"),
    (
        &["--set", "scope.namespaces={shop,pilothouse-system}"],
        "lives in namespace pilothouse-system",
    ),
    (
        &["--set", "scope.namespaces={shop}"],
        "operator.outbound.deny: with scope.namespaces",
    ),
    (
        &[
            "--set",
            "scope.namespaces={shop},operator.outbound.deny={10.0.0.0/8}",
        ],
        "certificates.mode: with scope.namespaces",
    ),
    (
        &[
            "--set",
            "scope.namespaces={shop},operator.outbound.deny={10.0.0.0/8},certificates.mode=existingSecret,certificates.existingSecret.name=serving",
        ],
        "certificates.existingSecret.caBundle: with scope.namespaces",
    ),
    (
        &["--kube-version", "1.32.0"],
        "incompatible with Kubernetes",
    ),
];

/// What the operator adds to an account that it acts as.
const JUDGED: &str = "userextras/pilothouse.dev/judged";

#[test]
fn wrong_values_are_refused_where_they_stand() {
    refuses(render, &REFUSED);
}

#[test]
fn every_pod_is_restricted() {
    for (title, object) in everything() {
        let spec = object.pointer("/spec/template/spec").or(object
            .get("spec")
            .filter(|spec| spec.get("containers").is_some()));
        let Some(spec) = spec else { continue };
        let holds = |pointer: &str, wanted: Value| {
            assert_eq!(spec.pointer(pointer), Some(&wanted), "{title} {pointer}");
        };
        holds("/securityContext/runAsNonRoot", true.into());
        holds(
            "/securityContext/seccompProfile/type",
            "RuntimeDefault".into(),
        );
        for at in 0..spec["containers"].as_array().map_or(0, Vec::len) {
            let context = format!("/containers/{at}/securityContext");
            holds(&format!("{context}/readOnlyRootFilesystem"), true.into());
            holds(&format!("{context}/allowPrivilegeEscalation"), false.into());
            holds(&format!("{context}/capabilities/drop"), vec!["ALL"].into());
            assert!(
                spec.pointer(&format!("/containers/{at}/resources/limits/memory"))
                    .is_some(),
                "{title} has no memory limit"
            );
        }
    }
}

#[test]
fn no_role_has_wildcards_and_accounts_are_impersonated_by_name_only() {
    for (title, object) in everything() {
        for rule in object["rules"].as_array().into_iter().flatten() {
            let list = |name: &str| {
                rule[name]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect::<Vec<_>>()
            };
            assert!(
                !["apiGroups", "resources", "verbs"]
                    .iter()
                    .any(|name| list(name).contains(&"*")),
                "{title}: {rule}"
            );
            if list("verbs").contains(&"impersonate") {
                let known = [vec!["serviceaccounts"], vec![JUDGED]];
                assert!(known.contains(&list("resources")), "{title}: {rule}");
                assert!(!list("resourceNames").is_empty(), "{title}: {rule}");
            }
        }
    }
}

#[test]
fn the_operator_reads_no_secret_lets_go_of_pods_and_impersonates_nobody_by_itself() {
    for (title, object) in everything()
        .iter()
        .filter(|(title, _)| title.contains("Role pilothouse-operator"))
    {
        let mut rules = object["rules"].clone();
        let rules = rules.as_array_mut().expect("a list");
        // It may say of itself that something was judged, and be nobody else by that.
        rules.retain(|rule| rule["resources"] != json!([JUDGED]));
        let text = Value::from(rules.clone()).to_string();
        for forbidden in ["secrets", "pods/", "impersonate", "bind", "escalate"] {
            assert!(!text.contains(forbidden), "{title} holds {forbidden}");
        }
        for rule in rules
            .iter()
            .filter(|rule| rule["resources"] == json!(["pods"]))
        {
            assert_eq!(rule["verbs"], json!(["list", "patch"]), "{title}");
        }
    }
}

#[test]
fn with_a_scope_nothing_is_held_outside_of_it_but_what_every_aggregated_api_needs() {
    for settings in SCOPED {
        for (title, object) in rendered(settings) {
            let role = &object["roleRef"]["name"];
            let namespace = &object["metadata"]["namespace"];
            match object["kind"].as_str() {
                Some("ClusterRole") => panic!("{title} is rendered"),
                Some("ClusterRoleBinding") => assert_eq!(role, "system:auth-delegator", "{title}"),
                Some("Role" | "RoleBinding") => assert!(
                    ["shop", "web", "pilothouse-system"]
                        .contains(&namespace.as_str().expect("it is in one"))
                        || role == "extension-apiserver-authentication-reader",
                    "{title} in {namespace}"
                ),
                _ => {}
            }
        }
    }
}

#[test]
fn with_a_scope_each_namespace_has_the_roles_that_the_cluster_would_have() {
    let whole = rendered(&[]);
    let scoped = rendered(SCOPED[0]);
    let rules = |all: &[(String, Value)], wanted: &str, namespace: Value| -> Vec<Value> {
        let found = all.iter().find(|(title, object)| {
            title == wanted && object["metadata"]["namespace"] == namespace
        });
        let (_, role) = found.unwrap_or_else(|| panic!("no {wanted} in {namespace}"));
        role["rules"].as_array().expect("rules").clone()
    };
    for namespace in ["shop", "web"] {
        let same = [
            "viewer",
            "admin",
            "approver",
            "implementer",
            "breaker",
            "impersonate-runner",
        ]
        .map(|name| (name, name));
        for (name, in_scope) in same.into_iter().chain([("operator", "operator-scope")]) {
            let mut of_cluster = rules(
                &whole,
                &format!("ClusterRole pilothouse-{name}"),
                Value::Null,
            );
            of_cluster.retain(|rule| {
                let of_cluster = [
                    "nodes",
                    "servicecidrs",
                    "commandpolicies",
                    "commandpolicies/status",
                    "validatingwebhookconfigurations",
                    JUDGED,
                ];
                !of_cluster
                    .iter()
                    .any(|first| rule["resources"][0] == *first)
            });
            let of_scope = rules(
                &scoped,
                &format!("Role pilothouse-{in_scope}"),
                namespace.into(),
            );
            assert_eq!(of_scope, of_cluster, "{name}");
        }
        let store = rules(&scoped, "Role pilothouse-server-scope", namespace.into());
        let verbs: Vec<_> = store.iter().map(|rule| &rule["verbs"]).collect();
        assert_eq!(verbs, [&json!(["get"]), &json!(["list"])]);
    }
}

#[test]
fn every_program_is_told_the_scope_and_the_api_server_the_ca() {
    let told = |settings: &[&str]| {
        let programs = rendered(settings).into_iter().filter_map(|(_, object)| {
            let args = object.pointer("/spec/template/spec/containers/0/args")?;
            Some(
                args.as_array()
                    .expect("a list")
                    .contains(&"--namespaces=shop,web".into()),
            )
        });
        programs.collect::<Vec<_>>()
    };
    assert_eq!(
        (told(SCOPED[0]), told(&[])),
        // The webhook is not part of a scope.
        (vec![true; 3], vec![false; 4])
    );
    let service = |settings: &[&str]| {
        let found = rendered(settings)
            .into_iter()
            .find(|(title, _)| title.starts_with("APIService"));
        found.expect("it is rendered").1
    };
    let injected = service(SCOPED[0]);
    let from = &injected["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
    assert_eq!(from, "pilothouse-system/pilothouse-server");
    assert_eq!(service(SCOPED[1])["spec"]["caBundle"], "UEVN");
    assert_eq!(service(&[])["spec"]["caBundle"], Value::Null);
}

#[test]
fn every_policy_denies_and_fails_closed() {
    let all = everything();
    let policies: Vec<_> = all
        .iter()
        .filter(|(title, _)| title.contains("AdmissionPolicy "))
        // What these do is said by ProtectionPolicies, and what they fail by is a value.
        .filter(|(title, _)| !title.contains(" pilothouse-protection"))
        .collect();
    assert!(
        policies.len() > 12,
        "only {} policies were rendered",
        policies.len()
    );
    for (title, policy) in policies {
        assert_eq!(policy["spec"]["failurePolicy"], "Fail", "{title}");
        let binding = title.replace("AdmissionPolicy ", "AdmissionPolicyBinding ");
        assert!(
            all.iter().any(|(other, object)| *other == binding
                && object["spec"]["policyName"] == policy["metadata"]["name"]),
            "{title} is not bound"
        );
    }
    for (title, binding) in all
        .iter()
        .filter(|(title, _)| title.starts_with("ValidatingAdmissionPolicyBinding"))
        .filter(|(title, _)| !title.contains(" pilothouse-protection"))
    {
        assert_eq!(
            binding["spec"]["validationActions"],
            json!(["Deny"]),
            "{title}"
        );
    }
}

#[test]
fn the_requester_is_stamped_where_the_cluster_can_and_demanded_elsewhere() {
    let stamped = |settings: &[&str]| {
        titles(settings).contains(&"MutatingAdmissionPolicy pilothouse-stamp-requester".to_owned())
    };
    assert!(stamped(&MUTATES));
    assert!(!stamped(&[]));
    assert!(stamped(&["--set", "policies.stamping=Mutate"]));
    assert!(!stamped(&[
        MUTATES[0],
        MUTATES[1],
        "--set",
        "policies.stamping=Demand"
    ]));
    for settings in [&[][..], &MUTATES] {
        assert!(
            titles(settings).contains(&"ValidatingAdmissionPolicy pilothouse-requester".to_owned())
        );
    }
}

#[test]
fn one_replica_takes_no_disruption_budget() {
    let budget = "PodDisruptionBudget pilothouse-operator".to_owned();
    assert!(titles(&[]).contains(&budget));
    assert!(
        !titles(&["--set", "operator.replicas=1"]).contains(&budget),
        "it would block every drain"
    );
}

#[test]
fn argo_cd_gets_a_script_for_every_kind() {
    let objects = rendered(&["--set", "argocd.healthScripts=true"]);
    let (_, merged) = objects
        .iter()
        .find(|(title, _)| title == "ConfigMap pilothouse-argocd-health")
        .expect("it was asked for");
    let keys = merged["data"].as_object().expect("keys");
    let kinds: Vec<_> = crds::v1alpha1::all()
        .into_iter()
        .map(|crd| crd.spec.names.kind)
        .collect();
    assert_eq!(keys.len(), kinds.len());
    for kind in kinds {
        let file = format!("{CHART}/files/argocd/{kind}.lua");
        let script = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let key = format!("resource.customizations.health.pilothouse.dev_{kind}");
        assert_eq!(keys[&key], script, "{kind}");
    }
}

#[test]
fn with_postgresql_the_store_is_pods_without_a_volume_that_may_reach_it() {
    let rendered = rendered(POSTGRES);
    let find = |wanted: &str| rendered.iter().find(|(title, _)| title == wanted);
    assert!(find("StatefulSet pilothouse-server").is_none());
    let (_, store) = find("Deployment pilothouse-server").expect("it is rendered");
    assert_eq!(store["spec"]["replicas"], 2);
    let pod = &store["spec"]["template"]["spec"];
    let args = pod["containers"][0]["args"].to_string();
    assert!(
        !args.contains("database"),
        "no argument leads to the connection string"
    );
    let files = &pod["volumes"][0]["projected"]["sources"];
    assert_eq!(
        (&files[0]["secret"]["name"], &files[1]["secret"]["name"]),
        (&json!("database"), &json!("database-ca"))
    );
    assert!(find("PodDisruptionBudget pilothouse-server").is_some());
    let (_, policy) = find("NetworkPolicy pilothouse-server").expect("it is rendered");
    let egress = policy["spec"]["egress"].as_array().expect("ways out");
    let ways = egress
        .iter()
        .filter(|way| way["ports"] == json!([{"port": 5432}]));
    assert_eq!(ways.count(), 1);
}

#[test]
fn the_webhook_reaches_the_store_to_tell_of_its_decisions() {
    let rendered = rendered(SETTINGS[6]);
    let policy = |of: &str| {
        let title = format!("NetworkPolicy pilothouse-{of}");
        let found = rendered.iter().find(|(name, _)| *name == title);
        found.expect("it is rendered").1["spec"].clone()
    };
    let store = json!([{"port": "store"}]);
    let ways = |policy: &Value, direction: &str| -> Vec<Value> {
        let ways = policy[direction].as_array().expect("ways").iter();
        let ways = ways.filter(|way| way["ports"] == store);
        ways.cloned().collect()
    };
    assert_eq!(ways(&policy("webhook"), "egress").len(), 1);
    let into = ways(&policy("server"), "ingress")[0]["from"].to_string();
    for component in ["front", "operator", "webhook"] {
        assert!(into.contains(component), "{component}: {into}");
    }
}

fn titles(settings: &[&str]) -> Vec<String> {
    rendered(settings)
        .into_iter()
        .map(|(title, _)| title)
        .collect()
}

fn everything() -> Vec<(String, Value)> {
    SETTINGS.into_iter().flat_map(rendered).collect()
}

fn rendered(settings: &[&str]) -> Vec<(String, Value)> {
    let text = render(settings).unwrap_or_else(|refusal| panic!("{settings:?}: {refusal}"));
    let manifests = Manifest::read(&text).into_iter();
    manifests
        .map(|manifest| (manifest.title(), manifest.into_json()))
        .collect()
}

/// The rendered text, or what Helm says.
fn render(settings: &[&str]) -> Result<String, String> {
    let words = ["template", "pilothouse", CHART];
    helm(SYSTEM, &[&words[..], settings].concat(), "")
}
