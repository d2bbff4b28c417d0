//! Policies, and the glass that is broken to get past them.

use serde_json::{Value, json};

use super::{Case, merge};

pub fn cases() -> Vec<Case> {
    [command_cases(), protection_cases(), glass_cases()]
        .into_iter()
        .flatten()
        .collect()
}

fn command_cases() -> Vec<Case> {
    let kind = "CommandPolicy";
    let matching = |over: Value| json!({"rules": [{"name": "r", "match": over, "action": "Deny", "why": "w"}]});
    let of = |over: Value| {
        let mut command = json!({"commands": ["c"]});
        merge(&mut command, &over);
        matching(command)
    };
    vec![
        Case {
            kind,
            accept: json!({"builtIn": {"exclude": ["a"], "actions": [{"name": "b", "action": "Warn"}]}}),
            reject: json!({"builtIn": {"exclude": ["a"], "actions": [{"name": "a", "action": "Warn"}]}}),
            message: "a rule is either excluded or given another action",
        },
        Case {
            kind,
            accept: json!({"rules": [{"name": "unknowable", "match": {"commands": ["c"]}, "action": "Deny", "why": "w"}]}),
            reject: json!({"rules": [{"name": "unknown", "match": {"commands": ["c"]}, "action": "Deny", "why": "w"}]}),
            message: "unknown is the name under which onUnknown is told; give the rule another",
        },
        Case {
            kind,
            accept: matching(json!({"redirectTo": ["/a"]})),
            reject: matching(json!({"args": {"any": ["a"]}})),
            message: "a rule names at least one of commands, redirectTo, assigns, sql and shapes",
        },
        Case {
            kind,
            accept: of(json!({"subcommand": ["a"]})),
            reject: matching(json!({"assigns": ["A"], "subcommand": ["a"]})),
            message: "subcommand is of a command: give commands",
        },
        Case {
            kind,
            accept: of(json!({"flags": {"anyOf": ["-a"]}})),
            reject: of(json!({"flags": {}})),
            message: "give anyOf or allOf",
        },
        Case {
            kind,
            accept: of(json!({"args": {"anyPath": ["/a"]}})),
            reject: of(json!({"args": {}})),
            message: "give any, anyPath or lastPath",
        },
        Case {
            kind,
            accept: of(json!({"unless": {"flags": ["-n"]}})),
            reject: of(json!({"unless": {}})),
            message: "give flags or args",
        },
    ]
}

fn protection_cases() -> Vec<Case> {
    let kind = "ProtectionPolicy";
    let calendars = json!([{"namespace": "a", "name": "c"}]);
    let chosen = |operations: Value| {
        let selector = json!({"matchLabels": {"a": "b"}});
        json!({"rules": [{"resources": ["pods"], "selector": selector, "operations": operations}]})
    };
    let entered =
        json!({"rules": [{"resources": ["pods"], "selector": {"matchLabels": {"a": "b"}}}]});
    let weighing = |risk: Value| json!({"require": {"nobody": null, "ticket": {"risk": risk}}});
    let labels = "what is scaled, evicted or entered shows no labels here: list operations without Scale, Evict, Exec, Attach and PortForward, and protect against these by names or namespaces";
    vec![
        Case {
            kind,
            accept: chosen(json!(["Create", "Update", "Delete", "EphemeralContainers"])),
            reject: chosen(json!(["Delete", "Exec"])),
            message: labels,
        },
        Case {
            kind,
            accept: chosen(json!(["Delete"])),
            reject: entered,
            message: labels,
        },
        Case {
            kind,
            accept: json!({"require": {"nobody": null, "openCalendars": calendars}}),
            reject: json!({"require": {"openCalendars": calendars}}),
            message: "require is exactly one of openCalendars, nobody and ticket",
        },
        Case {
            kind,
            accept: weighing(json!({"personnel": {"firstTime": 1}})),
            reject: weighing(json!({"blockAt": 50})),
            message: "nothing is weighed; give rules or personnel",
        },
        Case {
            kind,
            accept: weighing(json!({"personnel": {"recentFailures": {"score": 1}}})),
            reject: weighing(json!({"personnel": {}})),
            message: "personnel is at least one of firstTime, outOfHours and recentFailures",
        },
    ]
}

fn glass_cases() -> Vec<Case> {
    vec![Case {
        kind: "BreakGlass",
        accept: json!({"expiresAfter": "4h"}),
        reject: json!({"expiresAfter": "4h1s"}),
        message: "expiresAfter is from 1s to 4h",
    }]
}
