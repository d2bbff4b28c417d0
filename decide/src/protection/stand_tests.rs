use std::collections::BTreeMap;

use crds::v1alpha1::{
    ProtectedOperation::{self, Delete, Exec, Scale, Update},
    ProtectionPolicy, Requester,
};
use serde_json::{Value, json};

use super::{Asked, Stand, passes, stand};

fn policy(spec: &Value, status: &Value) -> ProtectionPolicy {
    let mut all = json!({"rules": [], "require": {"ticket": {}}, "reason": "r"});
    let fields = all.as_object_mut().expect("fields");
    fields.extend(spec.as_object().expect("fields").clone());
    let policy = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "ProtectionPolicy", "metadata": {"name": "p", "generation": 2},
        "spec": all, "status": status});
    serde_json::from_value(policy).expect("a policy")
}

fn closed(spec: &Value) -> ProtectionPolicy {
    policy(spec, &json!({"state": "Closed", "observedGeneration": 2}))
}

fn by(user: &str, group: &str) -> Requester {
    Requester {
        user: user.into(),
        groups: vec![group.into()],
    }
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

/// A word for what a policy says to bob about an object of the namespace shop.
fn word(policy: &ProtectionPolicy, operation: ProtectedOperation, object: &str) -> String {
    let (tier, gold) = (labels(&[("tier", "web")]), labels(&[("level", "gold")]));
    let (of, name) = object.split_once('/').expect("a resource and a name");
    let (resource, group) = of.split_once('.').unwrap_or((of, ""));
    let asked = Asked {
        operation,
        group,
        resource,
        name,
        namespace: if resource == "namespaces" { "" } else { "shop" },
        around: &tier,
        labels: &[&gold, &labels(&[])],
    };
    match stand(policy, &asked, &by("bob", "oncall")) {
        Stand::Ticket(pass) => format!("Ticket {}", pass.ticket),
        Stand::Own(pass) => format!("Own {}", pass.ticket),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_policy_is_about_what_its_rules_and_namespaces_say() {
    let deployments = json!({"groups": ["apps"], "resources": ["deployments"], "names": ["web", "api-*"], "operations": ["Update", "Delete"]});
    let gold = json!({"resources": ["*"], "selector": {"matchLabels": {"level": "gold"}}, "operations": ["Delete"]});
    let of = |over: &Value, rule: &Value| {
        let mut spec = json!({"rules": [rule]});
        let fields = spec.as_object_mut().expect("fields");
        fields.extend(over.as_object().expect("fields").clone());
        closed(&spec)
    };
    let everywhere = json!({});
    let shop = json!({"namespaces": ["shop"]});
    let bank = json!({"namespaces": ["bank"]});
    let chosen = json!({"namespaceSelector": {"matchLabels": {"tier": "web"}}});
    let other = json!({"namespaceSelector": {"matchLabels": {"tier": "db"}}});
    for (over, rule, operation, object, wanted) in [
        (
            &everywhere,
            &deployments,
            Update,
            "deployments.apps/web",
            "Closed",
        ),
        (
            &shop,
            &deployments,
            Delete,
            "deployments.apps/api-2",
            "Closed",
        ),
        (
            &chosen,
            &deployments,
            Delete,
            "deployments.apps/web",
            "Closed",
        ),
        (
            &bank,
            &deployments,
            Delete,
            "deployments.apps/web",
            "Elsewhere",
        ),
        (
            &other,
            &deployments,
            Delete,
            "deployments.apps/web",
            "Elsewhere",
        ),
        (
            &shop,
            &deployments,
            Scale,
            "deployments.apps/web",
            "Elsewhere",
        ),
        (
            &shop,
            &deployments,
            Update,
            "deployments.apps/webs",
            "Elsewhere",
        ),
        (&shop, &deployments, Update, "deployments/web", "Elsewhere"),
        (&shop, &gold, Delete, "configmaps/settings", "Closed"),
        (&shop, &gold, Update, "configmaps/settings", "Elsewhere"),
        (&shop, &deployments, Delete, "namespaces/shop", "Closed"),
        (&shop, &deployments, Update, "namespaces/shop", "Elsewhere"),
        (&bank, &deployments, Delete, "namespaces/shop", "Elsewhere"),
        (
            &everywhere,
            &deployments,
            Delete,
            "namespaces/shop",
            "Elsewhere",
        ),
    ] {
        let found = word(&of(over, rule), operation, object);
        assert_eq!(found, wanted, "{operation:?} {object} by {over} and {rule}");
    }
}

#[test]
fn an_open_one_says_so_and_one_that_nobody_has_looked_at_is_closed() {
    let spec = json!({"rules": [{"resources": ["pods"]}], "require": {"openCalendars": [{"namespace": "n", "name": "c"}]}});
    for (status, wanted) in [
        (json!({"state": "Open", "observedGeneration": 2}), "Open"),
        (json!({"state": "Open", "observedGeneration": 1}), "Closed"),
        (
            json!({"state": "Closed", "observedGeneration": 2}),
            "Closed",
        ),
        (json!({}), "Closed"),
        (Value::Null, "Closed"),
    ] {
        let found = word(&policy(&spec, &status), Exec, "pods/db-0");
        assert_eq!(found, wanted, "{status}");
    }
}

#[test]
fn glass_and_tickets_let_those_pass_whom_they_name() {
    let rules = json!([{"resources": ["pods"]}]);
    let glass = |group: &str| closed(&json!({"rules": rules, "breakGlass": {"groups": [group]}}));
    assert_eq!(
        word(&glass("oncall"), Exec, "pods/db-0"),
        "Glass(\"oncall\")"
    );
    assert_eq!(word(&glass("others"), Exec, "pods/db-0"), "Closed");
    for (user, namespace, wanted) in [
        ("bob", "shop", "Glass(\"oncall\")"),
        ("eve", "shop", "Closed"),
        ("bob", "bank", "Closed"),
    ] {
        let spec =
            json!({"rules": rules, "breakGlass": {"groups": ["oncall"], "record": "Required"}});
        let broken = json!({"namespace": namespace, "breakGlass": "pager", "user": user, "until": "2099-01-01T00:00:00Z"});
        let status = json!({"state": "Closed", "observedGeneration": 2, "broken": [broken]});
        let found = word(&policy(&spec, &status), Exec, "pods/db-0");
        assert_eq!(found, wanted, "{user} in {namespace}");
    }
    let pass = |over: &Value| {
        let mut pass = json!({"namespace": "shop", "ticket": "move", "users": ["bob"], "groups": [],
            "allow": [{"groups": [""], "resources": ["pods"], "names": ["db-*"], "operations": ["Exec"]}]});
        let fields = pass.as_object_mut().expect("fields");
        fields.extend(over.as_object().expect("fields").clone());
        let status = json!({"state": "Closed", "observedGeneration": 2, "passes": [pass]});
        policy(&json!({"rules": rules}), &status)
    };
    let plain = pass(&json!({}));
    assert_eq!(word(&plain, Exec, "pods/db-0"), "Ticket move");
    assert_eq!(word(&plain, Delete, "pods/db-0"), "Closed");
    assert_eq!(word(&plain, Exec, "pods/web-0"), "Closed");
    let of_group = pass(&json!({"users": [], "groups": ["oncall"]}));
    assert_eq!(word(&of_group, Exec, "pods/db-0"), "Ticket move");
    for over in [json!({"users": ["ann"]}), json!({"namespace": "bank"})] {
        assert_eq!(word(&pass(&over), Exec, "pods/db-0"), "Closed", "{over}");
    }
    for (over, why) in [
        (json!({"except": ["bob"]}), "by name"),
        (json!({"except": ["bob"], "groups": ["oncall"]}), "by group"),
        (
            json!({"except": ["bob"], "users": []}),
            "no implementer at all",
        ),
    ] {
        let found = word(&pass(&over), Exec, "pods/db-0");
        assert_eq!(found, "Own move", "{why}");
        assert_eq!(word(&pass(&over), Delete, "pods/db-0"), "Closed", "{why}");
    }
    let mut both = pass(&json!({"except": ["bob"]}));
    let passes_of = both.status.as_mut().map(|status| &mut status.passes);
    let other = plain.status.map(|status| status.passes).unwrap_or_default();
    passes_of.expect("a status").extend(other);
    assert_eq!(
        word(&both, Exec, "pods/db-0"),
        "Ticket move",
        "another ticket lets him pass"
    );
    let others = pass(&json!({"users": ["ann"]}));
    let none = BTreeMap::new();
    let asked = Asked {
        operation: Exec,
        group: "",
        resource: "pods",
        name: "db-0",
        namespace: "shop",
        around: &none,
        labels: &[],
    };
    assert_eq!(
        passes(&others, &asked).count(),
        1,
        "it is told to whoever may not"
    );
}
