//! What the API server has to be told so that it asks: one webhook for each door of each policy, no wider than the policy.

use std::collections::BTreeMap;

use crds::v1alpha1::{
    CommandPlace, CommandPolicy, FailurePolicy, Glass, GlassRecord, Operator, PolicyMode,
    Requester, Requirement, Selector,
};
use k8s_openapi::{
    ByteString,
    api::admissionregistration::v1::{
        MatchCondition, RuleWithOperations, ServiceReference, ValidatingWebhook,
        WebhookClientConfig,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};

use super::{Door, JUDGED};

/// Namespaces that no policy closes: the cluster repairs itself from there.
pub const FREE: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];
const NAME: &str = "kubernetes.io/metadata.name";
/// Name of the condition that leaves out whoever breaks the glass.
const UNBROKEN: &str = "glass-not-broken";
/// What writes an object.
const WRITTEN: [&str; 2] = ["CREATE", "UPDATE"];
/// Seconds for an answer.
const TIMEOUT: i32 = 2;

/// Where the webhook is, and who serves it.
#[derive(Clone, Debug)]
pub struct Place {
    pub namespace: String,
    pub service: String,
    /// User name of the operator.
    pub operator: String,
    /// Authorities of the webhook's certificate, in PEM.
    pub bundle: String,
}

/// The webhooks of all policies, in the order of their names.
pub fn webhooks<'a>(
    policies: impl IntoIterator<Item = &'a CommandPolicy>,
    place: &Place,
) -> Vec<ValidatingWebhook> {
    let mut webhooks: Vec<_> = policies
        .into_iter()
        .filter(|policy| policy.spec.mode != PolicyMode::Disabled)
        .flat_map(|policy| {
            let doors = Door::ALL.into_iter();
            let doors = doors.filter(|door| policy.spec.apply_to.contains(&door.place()));
            let doors = doors.flat_map(|door| {
                let noted = noted(policy, door, place);
                noted.into_iter().chain([webhook(policy, door, place)])
            });
            doors.chain(of_work(policy, place))
        })
        .collect();
    webhooks.sort_by(|a, b| a.name.cmp(&b.name));
    webhooks
}

/// Whether the API server asks a policy about somebody at a door, in a namespace with these labels that is none of the free ones.
pub fn asks(
    policy: &CommandPolicy,
    door: Door,
    labels: &BTreeMap<String, String>,
    by: &Requester,
) -> bool {
    let spec = &policy.spec;
    let selector = spec.namespace_selector.as_ref();
    let mut glass = unrecorded(policy).flat_map(|glass| &glass.groups);
    spec.mode != PolicyMode::Disabled
        && spec.apply_to.contains(&door.place())
        && selector.is_none_or(|selector| selector.matches(labels))
        && !glass.any(|group| by.groups.contains(group))
}

/// Who breaks the glass without a record, and so without being judged.
fn unrecorded(policy: &CommandPolicy) -> impl Iterator<Item = &Glass> {
    let glass = policy.spec.break_glass.iter();
    glass.filter(|glass| glass.record == GlassRecord::Optional)
}

fn webhook(policy: &CommandPolicy, door: Door, place: &Place) -> ValidatingWebhook {
    let name = policy.metadata.name.as_deref().unwrap_or_default();
    let spec = &policy.spec;
    let enforced = spec.mode == PolicyMode::Enforce && door != Door::Script;
    let failing = enforced && spec.failure_policy == FailurePolicy::Fail;
    ValidatingWebhook {
        name: format!("{door}.{name}.commands.pilothouse.dev"),
        admission_review_versions: vec!["v1".to_owned()],
        client_config: client(place, format!("/commands/{name}/{door}")),
        failure_policy: Some(if failing { "Fail" } else { "Ignore" }.to_owned()),
        match_conditions: Some(conditions(policy, door, &place.operator)),
        match_policy: Some("Equivalent".to_owned()),
        namespace_selector: Some(selector(spec.namespace_selector.as_ref(), &place.namespace)),
        object_selector: None,
        rules: Some(rules(door)),
        // What was refused is written down.
        side_effects: "NoneOnDryRun".to_owned(),
        timeout_seconds: Some(TIMEOUT),
    }
}

/// Beside a door that somebody may break: of them it is noted what they do there, and never refused, whoever answers or does not.
fn noted(policy: &CommandPolicy, door: Door, place: &Place) -> Option<ValidatingWebhook> {
    let breaks = unrecorded(policy).next().is_some() && policy.spec.mode == PolicyMode::Enforce;
    if !breaks || door == Door::Script {
        return None;
    }
    let mut webhook = webhook(policy, door, place);
    webhook.name = format!("glass.{}", webhook.name);
    webhook.failure_policy = Some("Ignore".to_owned());
    let service = webhook.client_config.service.as_mut();
    if let Some(path) = service.and_then(|service| service.path.as_mut()) {
        path.push_str("/glass");
    }
    for condition in webhook.match_conditions.iter_mut().flatten() {
        if condition.name == UNBROKEN {
            "glass-broken".clone_into(&mut condition.name);
            condition.expression = format!("!({})", condition.expression);
        }
    }
    Some(webhook)
}

/// The webhook that warns of Jobs, of runs and of schedules of them, where the policy will hold, deny or warn of their commands when a run begins. It refuses nothing.
fn of_work(policy: &CommandPolicy, place: &Place) -> Option<ValidatingWebhook> {
    let spec = &policy.spec;
    let name = policy.metadata.name.as_deref().unwrap_or_default();
    let mut asked = [CommandPlace::Scripts, CommandPlace::Runs].iter();
    let is_asked = asked.any(|place| spec.apply_to.contains(place));
    let tells = matches!(spec.mode, PolicyMode::Enforce | PolicyMode::Warn);
    let rules = vec![
        rule("pilothouse.dev", &WRITTEN, &["jobs", "scheduledtasks"]),
        rule("pilothouse.dev", &["CREATE"], &["jobruns"]),
    ];
    (is_asked && tells).then(|| ValidatingWebhook {
        namespace_selector: Some(selector(spec.namespace_selector.as_ref(), &place.namespace)),
        ..warning(
            &format!("job.{name}.commands.pilothouse.dev"),
            format!("/jobs/{name}"),
            rules,
            place,
        )
    })
}

/// The webhook that warns of ChangeTickets that conflict, and of ScheduledTasks whose calendars are closed, whatever policies there are. It refuses nothing.
pub fn of_tickets(place: &Place) -> ValidatingWebhook {
    let resources = ["changetickets", "scheduledtasks"];
    let rules = vec![rule("pilothouse.dev", &WRITTEN, &resources)];
    let path = "/tickets".to_owned();
    warning("tickets.changes.pilothouse.dev", path, rules, place)
}

/// One that lets everything in, and whose failure keeps nothing out.
fn warning(
    name: &str,
    path: String,
    rules: Vec<RuleWithOperations>,
    place: &Place,
) -> ValidatingWebhook {
    let not_the_operator = MatchCondition {
        name: "not-the-operator".to_owned(),
        expression: format!("request.userInfo.username != '{}'", place.operator),
    };
    ValidatingWebhook {
        name: name.to_owned(),
        admission_review_versions: vec!["v1".to_owned()],
        client_config: client(place, path),
        failure_policy: Some("Ignore".to_owned()),
        match_conditions: Some(vec![not_the_operator]),
        match_policy: Some("Equivalent".to_owned()),
        namespace_selector: None,
        object_selector: None,
        rules: Some(rules),
        side_effects: "None".to_owned(),
        timeout_seconds: Some(TIMEOUT),
    }
}

/// The webhook that refuses ProtectionPolicies whose rules of risk do not compile. Whoever repairs a policy while nobody answers is let in: such a rule then counts in full.
pub fn of_risks(place: &Place) -> ValidatingWebhook {
    let mut webhook = of_tickets(place);
    "risks.protections.pilothouse.dev".clone_into(&mut webhook.name);
    webhook.client_config = client(place, "/risks".to_owned());
    webhook.match_conditions = Some(vec![MatchCondition {
        name: "weighs-risks".to_owned(),
        expression: "has(object.spec.require.ticket) && has(object.spec.require.ticket.risk)"
            .to_owned(),
    }]);
    let mut asked = rule("pilothouse.dev", &WRITTEN, &["protectionpolicies"]);
    asked.scope = Some("Cluster".to_owned());
    webhook.rules = Some(vec![asked]);
    webhook
}

fn client(place: &Place, path: String) -> WebhookClientConfig {
    WebhookClientConfig {
        ca_bundle: Some(ByteString(place.bundle.as_bytes().to_vec())),
        service: Some(ServiceReference {
            name: place.service.clone(),
            namespace: place.namespace.clone(),
            path: Some(path),
            port: Some(443),
        }),
        url: None,
    }
}

fn rule(group: &str, operations: &[&str], resources: &[&str]) -> RuleWithOperations {
    RuleWithOperations {
        api_groups: Some(vec![group.to_owned()]),
        api_versions: Some(vec!["*".to_owned()]),
        operations: Some(operations.iter().map(|&o| o.to_owned()).collect()),
        resources: Some(resources.iter().map(|&r| r.to_owned()).collect()),
        scope: Some("Namespaced".to_owned()),
    }
}

fn rules(door: Door) -> Vec<RuleWithOperations> {
    match door {
        Door::Exec => vec![rule("", &["CONNECT"], &["pods/exec", "pods/attach"])],
        Door::Script => vec![rule("pilothouse.dev", &WRITTEN, &["scripts"])],
        Door::Workload => vec![
            rule("", &["CREATE"], &["pods"]),
            rule("", &["UPDATE"], &["pods/ephemeralcontainers"]),
            rule("", &WRITTEN, &["replicationcontrollers"]),
            rule(
                "apps",
                &WRITTEN,
                &["deployments", "statefulsets", "daemonsets", "replicasets"],
            ),
            rule("batch", &WRITTEN, &["jobs", "cronjobs"]),
        ],
    }
}

/// Who is not asked about: the operator, whose runs were judged when they began, whoever breaks the glass where that needs no record, and, for containers, what the cluster does by itself, so that a
/// pod that was there before a policy is replaced when it dies.
fn conditions(policy: &CommandPolicy, door: Door, operator: &str) -> Vec<MatchCondition> {
    let condition = |name: &str, expression: String| MatchCondition {
        name: name.to_owned(),
        expression,
    };
    let mut all = vec![condition(
        "not-judged-before",
        format!(
            "request.userInfo.username != '{operator}' && !(has(request.userInfo.extra) && '{JUDGED}' in request.userInfo.extra)"
        ),
    )];
    if door == Door::Workload {
        all.push(condition(
            "not-by-the-cluster",
            "!request.userInfo.username.startsWith('system:serviceaccount:kube-system:') && !(has(request.userInfo.groups) && 'system:nodes' in request.userInfo.groups)".to_owned(),
        ));
    }
    if let Some(glass) = unrecorded(policy).next() {
        let quoted = |group: &String| {
            let group = group.replace('\\', "\\\\").replace('\'', "\\'");
            format!("'{group}'")
        };
        let groups: Vec<_> = glass.groups.iter().map(quoted).collect();
        all.push(condition(
            UNBROKEN,
            format!(
                "!(has(request.userInfo.groups) && request.userInfo.groups.exists(g, g in [{}]))",
                groups.join(", ")
            ),
        ));
    }
    all
}

fn selector(chosen: Option<&Selector>, own: &str) -> LabelSelector {
    let free = FREE.into_iter().chain([own]).map(str::to_owned).collect();
    let mut expressions = vec![LabelSelectorRequirement {
        key: NAME.to_owned(),
        operator: "NotIn".to_owned(),
        values: Some(free),
    }];
    let chosen = chosen.cloned().unwrap_or_default();
    expressions.extend(chosen.match_expressions.into_iter().map(requirement));
    let labels = chosen.match_labels;
    LabelSelector {
        match_expressions: Some(expressions),
        match_labels: (!labels.is_empty()).then_some(labels),
    }
}

fn requirement(requirement: Requirement) -> LabelSelectorRequirement {
    let operator = match requirement.operator {
        Operator::In => "In",
        Operator::NotIn => "NotIn",
        Operator::Exists => "Exists",
        Operator::DoesNotExist => "DoesNotExist",
    };
    LabelSelectorRequirement {
        key: requirement.key,
        operator: operator.to_owned(),
        values: (!requirement.values.is_empty()).then_some(requirement.values),
    }
}
