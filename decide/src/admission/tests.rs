use std::collections::BTreeMap;

use crds::v1alpha1::{CommandAction, CommandPolicy};
use serde_json::{Value, json};

use super::{
    Answer, Asked, Door, Exec, Matter, Memory, Place, Request, Workload, Written, answer, of_risks,
    of_tickets, operation, refused_risks, webhooks,
};
use crate::command::Rulebook;

/// Beeps are denied, knocks are held.
fn house(more: &Value) -> Rulebook {
    let rule = |command: &str, action: &str| json!({"name": command, "match": {"commands": [command]}, "action": action, "why": "w"});
    let mut policy = json!({"applyTo": ["PodExec", "Workloads", "Scripts"], "builtIn": {"packs": []},
        "rules": [rule("beep", "Deny"), rule("knock", "RequireApproval"), rule("hum", "Warn"), rule("ring", "RequireTicket")]});
    let fields = policy.as_object_mut().expect("fields");
    fields.extend(more.as_object().expect("fields").clone());
    Rulebook::of("p", &serde_json::from_value(policy).expect("a policy")).expect("it can be used")
}

/// What comes to a door, in JSON.
#[derive(Clone, Copy, Default)]
struct Came<'a> {
    subresource: &'a str,
    object: &'a str,
    before: Option<&'a str>,
    ticket: Option<&'a str>,
    own: Option<&'a str>,
}

impl Came<'_> {
    fn read<M: Matter>(&self) -> serde_json::Result<Asked<'_, M>> {
        Ok(Asked {
            subresource: self.subresource,
            matter: serde_json::from_str(self.object)?,
            before: self.before.map(serde_json::from_str).transpose()?,
            ticket: self.ticket,
            own: self.own,
        })
    }

    fn answer<M: Matter>(&self, book: &Rulebook, memory: &Memory) -> serde_json::Result<Answer> {
        Ok(answer(self.read::<M>()?, book, memory))
    }

    fn at(&self, door: Door, book: &Rulebook, memory: &Memory) -> serde_json::Result<Answer> {
        match door {
            Door::Exec => self.answer::<Exec>(book, memory),
            Door::Workload => self.answer::<Workload>(book, memory),
            Door::Script => self.answer::<Written>(book, memory),
        }
    }
}

fn asked(door: Door, came: &Came, book: &Rulebook) -> Answer {
    let memory = Memory::default();
    let first = came.at(door, book, &memory).expect("it can be read");
    let again = came.at(door, book, &memory).expect("it can be read");
    assert_eq!(first, again, "what is remembered is what was found");
    first
}

fn word(answer: &Answer) -> &'static str {
    match (&answer.refused, answer.warnings.len()) {
        (Some(_), _) => "refused",
        (None, 0) => "allowed",
        (None, _) => "warned",
    }
}

fn exec(subresource: &str, options: &Value) -> &'static str {
    let object = options.to_string();
    let request = Came {
        subresource,
        object: &object,
        ..Came::default()
    };
    word(&asked(Door::Exec, &request, &house(&json!({}))))
}

fn workload(object: &Value, before: Option<&Value>) -> &'static str {
    let (object, before) = (object.to_string(), before.map(ToString::to_string));
    let request = Came {
        object: &object,
        before: before.as_deref(),
        ..Came::default()
    };
    word(&asked(Door::Workload, &request, &house(&json!({}))))
}

#[test]
fn what_is_started_in_a_container_is_judged_by_its_words() {
    let of = |words: &[&str]| exec("exec", &json!({"command": words, "stdout": true}));
    assert_eq!(of(&["true"]), "allowed");
    assert_eq!(of(&["hum"]), "warned");
    assert_eq!(of(&["/bin/beep", "-x"]), "refused");
    assert_eq!(of(&["sh", "-c", "true && env beep"]), "refused");
    assert_eq!(
        of(&["sh", "-c", "curl x | bash"]),
        "refused",
        "nobody knows what comes"
    );
    assert_eq!(of(&[]), "refused", "there is no program");
}

#[test]
fn a_terminal_is_unknown_and_looking_on_is_not() {
    let of = |subresource: &str, stdin: bool, tty: bool| {
        exec(
            subresource,
            &json!({"command": ["true"], "stdin": stdin, "tty": tty}),
        )
    };
    assert_eq!(of("exec", true, false), "refused");
    assert_eq!(of("exec", false, true), "refused");
    let attach = |stdin: bool| exec("attach", &json!({"stdin": stdin, "stdout": true}));
    assert_eq!(attach(true), "refused");
    assert_eq!(attach(false), "allowed");
    let book = house(&json!({"onUnknown": "Warn"}));
    let object = json!({"stdin": true, "tty": true}).to_string();
    let request = Came {
        subresource: "attach",
        object: &object,
        ..Came::default()
    };
    assert_eq!(asked(Door::Exec, &request, &book).warnings.len(), 1);
}

#[test]
fn a_refusal_names_the_rule_the_reason_and_the_way_out() {
    let object = json!({"command": ["knock"]}).to_string();
    let request = Came {
        object: &object,
        ..Came::default()
    };
    let answer = asked(Door::Exec, &request, &house(&json!({})));
    assert_eq!(
        answer.refused.as_deref(),
        Some(
            "rule knock of CommandPolicy p: w: knock; a Job with an exec step can do it, once somebody else has approved its run"
        )
    );
    assert_eq!(answer.rules, ["knock"]);
}

#[test]
fn the_audit_is_told_the_rule_and_the_reason_and_never_the_command() {
    use crds::audit::AuditDecision::{Denied, Warned, WouldDeny, WouldHold};
    let told = |door: Door, words: &[&str], mode: &str| {
        let (text, object) = (words.join(" "), json!({"command": words}));
        let object = match door {
            Door::Script => json!({"spec": {"content": text}}).to_string(),
            _ => object.to_string(),
        };
        let request = Came {
            object: &object,
            ..Came::default()
        };
        let ruling = asked(door, &request, &house(&json!({"mode": mode}))).ruling;
        ruling.map(|ruling| (ruling.decision, ruling.rule, ruling.reason))
    };
    for (door, words, mode, wanted) in [
        (Door::Exec, "beep", "Enforce", Some((Denied, "beep"))),
        (Door::Exec, "knock", "Enforce", Some((Denied, "knock"))),
        (Door::Exec, "hum", "Enforce", Some((Warned, "hum"))),
        (Door::Exec, "beep", "Warn", Some((Warned, "beep"))),
        (Door::Exec, "beep", "Audit", Some((WouldDeny, "beep"))),
        (Door::Exec, "knock", "Audit", Some((WouldHold, "knock"))),
        (Door::Exec, "hum", "Audit", None),
        (Door::Exec, "true", "Enforce", None),
        (Door::Script, "beep", "Enforce", Some((Warned, "beep"))),
    ] {
        let told = told(door, &[words, "secret"], mode);
        let wanted =
            wanted.map(|(decision, rule)| (decision, rule.to_owned(), format!("rule {rule}: w")));
        assert_eq!(told, wanted, "{words} in {mode}");
    }
    let several = told(Door::Exec, &["sh", "-c", "beep; beep; knock"], "Enforce");
    let reason = several.map(|(_, _, reason)| reason);
    assert_eq!(
        reason.as_deref(),
        Some("rule beep: w"),
        "the strictest, once"
    );
}

#[test]
fn what_needs_a_ticket_passes_under_one_and_is_told_of() {
    let of = |door: Door, words: &[&str], ticket: Option<&str>| {
        let object = match door {
            Door::Exec => json!({"command": words}),
            Door::Workload => json!({"spec": {"containers": [{"name": "a", "command": words}]}}),
            Door::Script => json!({"spec": {"content": words.join(" ")}}),
        };
        let object = object.to_string();
        let request = Came {
            subresource: "exec",
            object: &object,
            ticket,
            ..Came::default()
        };
        asked(door, &request, &house(&json!({})))
    };
    for door in [Door::Exec, Door::Workload] {
        let without = of(door, &["ring"], None);
        let why = without.refused.expect("nobody is known to have one");
        assert!(
            why.contains("rule ring") && why.contains("ChangeTicket"),
            "{why}"
        );
        let own = Came {
            own: Some("rita wrote ChangeTicket move"),
            object: &json!({"command": ["ring"], "spec": {"containers": [{"name": "a", "command": ["ring"]}]}}).to_string(),
            ..Came::default()
        };
        let why = asked(door, &own, &house(&json!({}))).refused;
        let told = "rule ring of CommandPolicy p: w: ring";
        assert!(why.is_some_and(
            |why| why.starts_with(told) && why.ends_with("; rita wrote ChangeTicket move")
        ));
        let with = of(door, &["ring"], Some("move"));
        assert_eq!((with.refused, with.ticket.as_deref()), (None, Some("move")));
        assert!(
            with.warnings[0].starts_with("under ChangeTicket move: "),
            "{:?}",
            with.warnings
        );
        assert_eq!(
            (with.asked, &*with.rules[0]),
            (CommandAction::RequireTicket, "ring")
        );
        let more = of(door, &["sh", "-c", "ring; knock"], Some("move"));
        assert_eq!((more.rules, more.ticket), (vec!["knock".to_owned()], None));
        assert!(more.refused.is_some(), "a ticket is no approval");
        let quiet = of(door, &["true"], Some("move"));
        assert_eq!((word(&quiet), quiet.ticket), ("allowed", None));
    }
    let script = of(Door::Script, &["ring"], None);
    assert_eq!(word(&script), "warned");
    assert!(
        script.warnings[0].contains("runs wait for a ChangeTicket"),
        "{:?}",
        script.warnings
    );
}

#[test]
fn what_is_done_is_called_as_in_tickets() {
    use crds::v1alpha1::ProtectedOperation::{Attach, Create, EphemeralContainers, Exec, Update};
    for (subresource, is_update, called) in [
        ("exec", false, Exec),
        ("attach", false, Attach),
        ("ephemeralcontainers", true, EphemeralContainers),
        ("", true, Update),
        ("", false, Create),
    ] {
        assert_eq!(operation(subresource, is_update), called);
    }
}

#[test]
fn containers_are_found_wherever_an_object_has_them() {
    let of = |kind: &str, words: &[&str]| {
        let pod = json!({"containers": [{"name": "a", "command": words}]});
        let object = match kind {
            "Pod" => json!({"spec": pod}),
            "CronJob" => {
                json!({"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": pod}}}}})
            }
            _ => json!({"spec": {"replicas": 1, "template": {"spec": pod}}}),
        };
        workload(&object, None)
    };
    for kind in ["Pod", "Deployment", "Job", "CronJob"] {
        assert_eq!(of(kind, &["sh", "-c", "beep"]), "refused", "{kind}");
        assert_eq!(of(kind, &["nginx"]), "allowed", "{kind}");
        assert_eq!(of(kind, &[]), "allowed", "{kind}");
    }
}

#[test]
fn every_command_of_a_container_is_judged() {
    let of = |more: Value| {
        let mut container = json!({"name": "a", "command": ["true"]});
        let fields = container.as_object_mut().expect("fields");
        fields.extend(more.as_object().expect("fields").clone());
        workload(&json!({"spec": {"containers": [container]}}), None)
    };
    let exec = json!({"exec": {"command": ["beep"]}});
    assert_eq!(of(json!({"livenessProbe": exec})), "refused");
    assert_eq!(of(json!({"lifecycle": {"preStop": exec}})), "refused");
    assert_eq!(
        of(json!({"readinessProbe": {"httpGet": {"port": 80}}})),
        "allowed"
    );
    assert_eq!(
        of(json!({"command": ["sh"], "args": ["-c", "beep"]})),
        "refused"
    );
    let env = json!([{"name": "DO", "value": "x"}]);
    assert_eq!(
        of(json!({"command": ["$(DO)"], "env": env})),
        "refused",
        "it may be anything"
    );
    assert_eq!(
        of(json!({"command": ["sh", "-c", "echo $(date)"], "env": env})),
        "allowed"
    );
    let from = json!([{"configMapRef": {"name": "c"}}]);
    assert_eq!(
        of(json!({"command": ["$(DO)"], "envFrom": from})),
        "refused"
    );
    let init =
        json!({"spec": {"initContainers": [{"name": "i", "command": ["beep"]}], "containers": []}});
    assert_eq!(workload(&init, None), "refused");
}

#[test]
fn of_a_container_that_is_as_it_was_nothing_is_said() {
    let of = |words: &[&str], replicas: u32| json!({"spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "a", "command": words}]}}}});
    assert_eq!(
        workload(&of(&["beep"], 2), Some(&of(&["beep"], 1))),
        "allowed"
    );
    assert_eq!(
        workload(&of(&["beep"], 1), Some(&of(&["true"], 1))),
        "refused"
    );
    let debug = |stdin: bool| json!({"spec": {"containers": [], "ephemeralContainers": [{"name": "d", "command": ["true"], "stdin": stdin}]}});
    assert_eq!(workload(&debug(false), None), "allowed");
    assert_eq!(
        workload(&debug(true), None),
        "refused",
        "somebody types into it"
    );
}

#[test]
fn a_script_is_let_in_with_warnings_of_what_will_become_of_it() {
    let of = |content: &str, before: Option<&str>| {
        let script = |content: &str| json!({"spec": {"content": content}}).to_string();
        let (object, before) = (script(content), before.map(script));
        let request = Came {
            object: &object,
            before: before.as_deref(),
            ..Came::default()
        };
        asked(Door::Script, &request, &house(&json!({})))
    };
    assert_eq!(of("true", None).warnings, Vec::<String>::new());
    let denied = of("true\nbeep", None);
    assert_eq!(denied.refused, None);
    assert_eq!(
        denied.warnings,
        ["2:1: no run may use it: rule beep of CommandPolicy p: w: beep"]
    );
    assert!(of("knock", None).warnings[0].starts_with("1:1: runs wait for an approval: "));
    assert!(
        of("beep", Some("beep")).warnings.is_empty(),
        "it was so before"
    );
}

#[test]
fn a_policy_that_only_looks_refuses_nothing_and_says_what_it_would_have_done() {
    let object = json!({"command": ["beep"]}).to_string();
    let request = Came {
        object: &object,
        ..Came::default()
    };
    let answer = asked(Door::Exec, &request, &house(&json!({"mode": "Audit"})));
    assert_eq!(
        (word(&answer), answer.asked),
        ("allowed", CommandAction::Deny)
    );
    assert_eq!(answer.rules, ["beep"]);
}

#[test]
fn an_object_of_another_shape_is_an_error_and_no_word() {
    let request = Came {
        object: "[1]",
        ..Came::default()
    };
    for door in Door::ALL {
        assert!(
            request
                .at(door, &house(&json!({})), &Memory::default())
                .is_err(),
            "{door}"
        );
    }
}

fn place() -> Place {
    Place {
        namespace: "ops".into(),
        service: "pilothouse-webhook".into(),
        operator: "system:serviceaccount:ops:pilothouse-operator".into(),
        bundle: "PEM".into(),
    }
}

fn told(policies: &[(&str, Value)]) -> Vec<Value> {
    let policy = |(name, spec): &(&str, Value)| {
        CommandPolicy::new(name, serde_json::from_value(spec.clone()).expect("a spec"))
    };
    let policies: Vec<_> = policies.iter().map(policy).collect();
    let webhooks = webhooks(&policies, &place()).into_iter();
    webhooks
        .map(|one| serde_json::to_value(one).expect("JSON"))
        .collect()
}

#[test]
fn the_api_server_asks_for_what_policies_apply_to_and_for_nothing_else() {
    let told = told(&[
        ("b", json!({"applyTo": ["PodExec", "Scripts"]})),
        (
            "a",
            json!({"applyTo": ["Workloads"], "failurePolicy": "Fail"}),
        ),
        ("c", json!({"applyTo": ["Runs"]})),
        ("d", json!({"applyTo": ["PodExec"], "mode": "Disabled"})),
    ]);
    let of = |field: &str| -> Vec<String> {
        let fields = told
            .iter()
            .map(|one| one[field].as_str().unwrap_or_default());
        fields.map(str::to_owned).collect()
    };
    assert_eq!(
        of("name"),
        [
            "exec.b.commands.pilothouse.dev",
            "job.b.commands.pilothouse.dev",
            "job.c.commands.pilothouse.dev",
            "script.b.commands.pilothouse.dev",
            "workload.a.commands.pilothouse.dev"
        ]
    );
    assert_eq!(
        of("failurePolicy"),
        ["Ignore", "Ignore", "Ignore", "Ignore", "Fail"]
    );
    let work = &told[1];
    assert_eq!(work["clientConfig"]["service"]["path"], "/jobs/b");
    assert_eq!(work["sideEffects"], "None");
    assert_eq!(
        (&work["rules"][0]["resources"], &work["rules"][1]),
        (
            &json!(["jobs", "scheduledtasks"]),
            &json!({"apiGroups": ["pilothouse.dev"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["jobruns"], "scope": "Namespaced"})
        )
    );
    assert_eq!(
        told[0]["clientConfig"]["service"]["path"],
        "/commands/b/exec"
    );
}

#[test]
fn who_breaks_the_glass_is_noted_and_never_held_up() {
    let glass = json!({"groups": ["on-call"]});
    let spec =
        json!({"applyTo": ["PodExec", "Scripts"], "failurePolicy": "Fail", "breakGlass": glass});
    let told = told(&[("p", spec)]);
    let names: Vec<_> = told.iter().map(|one| one["name"].as_str()).collect();
    let expected = [
        "exec.p.commands.pilothouse.dev",
        "glass.exec.p.commands.pilothouse.dev",
        "job.p.commands.pilothouse.dev",
        "script.p.commands.pilothouse.dev",
    ];
    assert_eq!(names, expected.map(Some));
    let noted = &told[1];
    assert_eq!(noted["failurePolicy"], "Ignore");
    assert_eq!(
        noted["clientConfig"]["service"]["path"],
        "/commands/p/exec/glass"
    );
    let last = |one: &Value| {
        let conditions = one["matchConditions"].as_array().expect("conditions");
        conditions[conditions.len() - 1]["expression"].clone()
    };
    let (door, noted) = (last(&told[0]), last(noted));
    assert_eq!(noted, format!("!({})", door.as_str().expect("CEL")));

    let object = json!({"command": ["beep"]}).to_string();
    let request = Came {
        object: &object,
        ..Came::default()
    };
    let answer = asked(Door::Exec, &request, &house(&json!({}))).through_glass();
    assert_eq!((word(&answer), answer.refused), ("warned", None));
    let ruling = answer.ruling.expect("it is told");
    assert_eq!(ruling.decision, crds::audit::AuditDecision::BrokeGlass);
}

#[test]
fn a_failure_refuses_only_where_a_policy_says_so_and_is_enforced() {
    let of = |more: Value| {
        let mut spec = json!({"applyTo": ["PodExec", "Scripts"], "failurePolicy": "Fail"});
        spec.as_object_mut()
            .expect("fields")
            .extend(more.as_object().expect("fields").clone());
        let told = told(&[("p", spec)]);
        let words = told
            .iter()
            .map(|one| one["failurePolicy"].as_str() == Some("Fail"));
        words.collect::<Vec<_>>()
    };
    assert_eq!(
        of(json!({})),
        [true, false, false],
        "Jobs and Scripts are let in anyway"
    );
    let audit = of(json!({"mode": "Audit"}));
    assert_eq!(audit, [false, false], "of a Job nobody would be told");
    assert_eq!(of(json!({"mode": "Warn"})), [false, false, false]);
}

#[test]
fn no_policy_closes_what_the_cluster_repairs_itself_from() {
    let chosen: BTreeMap<_, _> = [("team", "shop")].into();
    let told = told(&[(
        "p",
        json!({"applyTo": ["PodExec"], "namespaceSelector": {"matchLabels": chosen}, "breakGlass": {"groups": ["sre", "boss"]}}),
    )]);
    let selector = &told[0]["namespaceSelector"];
    assert_eq!(selector["matchLabels"]["team"], "shop");
    assert_eq!(
        selector["matchExpressions"][0],
        json!({"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "kube-public", "kube-node-lease", "ops"]})
    );
    let conditions = told[0]["matchConditions"].as_array().expect("a list");
    let last = conditions.last().expect("one")["expression"].as_str();
    assert!(
        last.is_some_and(|last| last.contains("g in ['sre', 'boss']")),
        "{last:?}"
    );
}

#[test]
fn where_a_record_is_needed_those_who_break_the_glass_are_asked_about() {
    let told = told(&[(
        "p",
        json!({"applyTo": ["PodExec"], "breakGlass": {"groups": ["sre"], "record": "Required"}}),
    )]);
    let conditions = told[0]["matchConditions"].as_array().expect("a list");
    let names: Vec<_> = conditions.iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["not-judged-before"]);
}

#[test]
fn tickets_are_asked_about_without_any_policy_and_no_failure_keeps_one_out() {
    let told = serde_json::to_value(of_tickets(&place())).expect("JSON");
    assert_eq!(
        (&told["failurePolicy"], &told["sideEffects"]),
        (&json!("Ignore"), &json!("None"))
    );
    assert_eq!(told["clientConfig"]["service"]["path"], "/tickets");
    assert_eq!(
        told["rules"],
        json!([{"apiGroups": ["pilothouse.dev"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["changetickets", "scheduledtasks"], "scope": "Namespaced"}])
    );
    let condition = told["matchConditions"][0]["expression"].as_str();
    assert!(
        condition.is_some_and(|c| c.contains("!= 'system:serviceaccount:ops:pilothouse-operator'"))
    );
}

#[test]
fn policies_that_weigh_risks_are_asked_about_and_can_be_repaired_while_nobody_answers() {
    let told = serde_json::to_value(of_risks(&place())).expect("JSON");
    assert_eq!(
        (&told["failurePolicy"], &told["sideEffects"]),
        (&json!("Ignore"), &json!("None"))
    );
    assert_eq!(told["clientConfig"]["service"]["path"], "/risks");
    assert_eq!(
        told["rules"],
        json!([{"apiGroups": ["pilothouse.dev"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["protectionpolicies"], "scope": "Cluster"}])
    );
    let conditions = told["matchConditions"].as_array().expect("a list");
    let names: Vec<_> = conditions.iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["weighs-risks"]);
}

#[test]
fn a_rule_of_risk_that_does_not_compile_is_refused_when_it_is_new() {
    let policy = |when: &str, reason: &str| {
        let rule =
            json!({"name": "sale", "sort": "Business", "when": when, "score": 1, "why": "w"});
        json!({"metadata": {"name": "p"}, "spec": {"reason": reason, "rules": [{"resources": ["pods"]}],
            "require": {"ticket": {"risk": {"rules": [rule]}}}}})
        .to_string()
    };
    let (fine, wrong) = (policy("true", "r"), policy("ticket.spec.level ==", "r"));
    let plain = json!({"metadata": {"name": "p"}, "spec": {"reason": "r", "rules": [{"resources": ["pods"]}], "require": {"nobody": {}}}});
    let plain = plain.to_string();
    for (object, before, is_refused) in [
        (&fine, None, false),
        (&wrong, None, true),
        (&wrong, Some(&fine), true),
        (&wrong, Some(&plain), true),
        (
            &policy("ticket.spec.level ==", "another"),
            Some(&wrong),
            false,
        ),
        (&fine, Some(&wrong), false),
        (&plain, Some(&wrong), false),
    ] {
        let request = Request {
            object,
            before: before.map(String::as_str),
        };
        let refused = refused_risks(&request).expect("a policy");
        assert_eq!(refused.is_some(), is_refused, "{object}");
        let names = |said: String| said.contains("risk.rules[sale].when");
        assert!(refused.is_none_or(names), "{object}");
    }
}
