//! Whether a planned run may begin: what CommandPolicies say of its commands now, and what people have decided on what these hold.

use std::{collections::BTreeMap, iter};

use crds::v1alpha1::{
    Approval, CommandAction, CommandFinding, CommandPlace, CommandPolicy, ScriptSpec, Step,
    SubjectKind, Verdict,
};
use jiff::Timestamp;

use crate::{
    Refusal,
    approval::Content,
    command::{Assign, At, Command, Finding, Rulebook, Source, Word, analyse, judge},
    plan::{Body, Plan, PlannedStep, ScriptBody},
    template,
};

/// Reason of what never begins because of what a rule denies.
pub const DENIED: &str = "CommandDenied";
/// Reasons of what waits: for somebody's decision, and for a ticket.
pub const AWAITING_APPROVAL: &str = "AwaitingApproval";
pub const AWAITING_TICKET: &str = "AwaitingTicket";
/// Findings that a message names.
const NAMED: usize = 3;
/// Findings that a status holds.
const SHOWN: usize = 20;

/// Something that a policy says of a step.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    pub step: &'a PlannedStep,
    pub finding: Finding,
}

/// What is asked before a run begins.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub run: &'a str,
    pub plan: &'a Plan,
    /// Hash of the plan.
    pub hash: &'a str,
    pub approvals: &'a [Approval],
    /// The live ticket that covers the run, or in words why none does.
    pub ticket: &'a Result<String, String>,
    pub now: Timestamp,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It may, with these words of warning, under this ticket where it needs one.
    Open {
        warnings: Vec<String>,
        ticket: Option<String>,
    },
    /// It waits, and says for whom or what.
    Held {
        reason: &'static str,
        message: String,
    },
    Never(Refusal),
}

/// The rules of those policies that choose a namespace with these labels. One that cannot be used holds everything up, since nobody knows what it forbids.
pub fn books<'a>(
    policies: impl IntoIterator<Item = &'a CommandPolicy>,
    labels: &BTreeMap<String, String>,
) -> Result<Vec<Rulebook>, Refusal> {
    let chooses = |policy: &&CommandPolicy| {
        let selector = policy.spec.namespace_selector.as_ref();
        selector.is_none_or(|selector| selector.matches(labels))
    };
    let book = |policy: &CommandPolicy| {
        let name = policy.metadata.name.as_deref().unwrap_or_default();
        Rulebook::of(name, &policy.spec).map_err(|refusal| {
            let message = format!("CommandPolicy {name}: {}", refusal.message);
            Refusal::new(refusal.reason, message)
        })
    };
    policies.into_iter().filter(chooses).map(book).collect()
}

/// Everything that policies say of a plan, in the order of its steps.
pub fn findings<'a>(plan: &'a Plan, books: &[Rulebook]) -> Vec<Found<'a>> {
    if books.is_empty() {
        return Vec::new();
    }
    let of = |step: &'a PlannedStep| {
        let found = of_body(&step.body, books).into_iter();
        found.map(move |finding| Found { step, finding })
    };
    plan.steps.iter().flat_map(of).collect()
}

fn of_body(body: &Body, books: &[Rulebook]) -> Vec<Finding> {
    match body {
        Body::Script(script) if script.of_action => Vec::new(),
        Body::Script(script) => {
            let place = if script.script.is_empty() {
                CommandPlace::Runs
            } else {
                CommandPlace::Scripts
            };
            let source = Source::Script {
                interpreter: script.interpreter,
                text: &script.content,
            };
            judged(&source, script.env.keys(), books, place)
        }
        Body::Exec(exec) => of_words(exec.command.iter(), iter::empty(), books),
        Body::Pod { step, env } => {
            of_words(step.command.iter().chain(&step.args), env.keys(), books)
        }
        _ => Vec::new(),
    }
}

/// What a template becomes is known only on the way. An image that is given no words runs what it was built for.
fn of_words<'a>(
    words: impl Iterator<Item = &'a String>,
    env: impl Iterator<Item = &'a String>,
    books: &[Rulebook],
) -> Vec<Finding> {
    let word = |text: &String| {
        if template::is_one(text) {
            Word::unknown(text.as_str())
        } else {
            Word::text(text.as_str())
        }
    };
    let words: Vec<Word> = words.map(word).collect();
    if words.is_empty() {
        return Vec::new();
    }
    let source = Source::Argv {
        words: &words,
        interactive: false,
    };
    judged(&source, env, books, CommandPlace::Runs)
}

/// Everything that policies say of a Script.
pub fn of_script(script: &ScriptSpec, books: &[Rulebook]) -> Vec<Finding> {
    let source = Source::Script {
        interpreter: script.interpreter,
        text: &script.content,
    };
    judged(&source, iter::empty(), books, CommandPlace::Scripts)
}

/// Everything that policies say of a step of a Job as it is written; of one that runs a Script, where that is known.
pub fn of_step(step: &Step, script: Option<&ScriptSpec>, books: &[Rulebook]) -> Vec<Finding> {
    if let Some(inline) = &step.inline {
        let source = Source::Script {
            interpreter: inline.interpreter,
            text: &inline.content,
        };
        return judged(&source, inline.env.keys(), books, CommandPlace::Runs);
    }
    if let Some(exec) = &step.exec {
        return of_words(exec.command.iter(), iter::empty(), books);
    }
    if let Some(pod) = &step.pod {
        let words = pod.command.iter().chain(&pod.args);
        return of_words(words, pod.env.keys(), books);
    }
    script.map_or_else(Vec::new, |script| of_script(script, books))
}

/// Whether a Script may be run about which this was found, and on which this was decided.
pub fn allowed(findings: &[Finding], decided: Option<Result<(), Refusal>>) -> Verdict {
    let strictest = findings.iter().map(|finding| finding.effect).max();
    let mut effects = findings.iter().map(|finding| finding.effect);
    let ticketed = effects.any(|effect| effect == CommandAction::RequireTicket);
    let named = |effect| {
        let found = findings.iter().filter(|f| f.effect == effect);
        let found: Vec<_> = found.take(NAMED).map(described).collect();
        found.join("; and ")
    };
    match (strictest.unwrap_or(CommandAction::Allow), decided) {
        (_, Some(Err(rejected))) => Verdict::no("Allowed", rejected.reason, rejected.message),
        (effect @ CommandAction::Deny, _) => Verdict::no("Allowed", "Denied", named(effect)),
        (CommandAction::RequireApproval, Some(Ok(()))) if !ticketed => {
            Verdict::yes("Allowed", "Approved", "")
        }
        // A decision is no ticket.
        (CommandAction::RequireApproval, Some(Ok(()))) | (CommandAction::RequireTicket, _) => {
            let named = named(CommandAction::RequireTicket);
            Verdict::no("Allowed", "TicketRequired", named)
        }
        (effect @ CommandAction::RequireApproval, None) => {
            Verdict::no("Allowed", "ApprovalRequired", named(effect))
        }
        (effect @ CommandAction::Warn, _) => Verdict::yes("Allowed", "Warned", named(effect)),
        (CommandAction::Allow, _) => Verdict::yes("Allowed", "NothingHeld", ""),
    }
}

/// The first findings, as a status tells them.
pub fn shown(findings: &[Finding]) -> Vec<CommandFinding> {
    let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let shown = |finding: &Finding| CommandFinding {
        policy: finding.policy.clone(),
        rule: finding.rule.clone(),
        action: finding.action,
        effect: finding.effect,
        severity: finding.severity,
        line: number(finding.at.line),
        column: number(finding.at.column),
        command: finding.command.clone(),
        reason: finding.reason.clone(),
        safer: finding.safer.clone(),
    };
    findings.iter().take(SHOWN).map(shown).collect()
}

/// The variables that a step gives are set as if a command in front had set them: some bring other code into what is started.
fn set_by<'a>(env: impl Iterator<Item = &'a String>) -> Option<Command> {
    let assign = |name: &String| Assign {
        name: name.clone(),
        value: Word::unknown("..."),
    };
    let assigns: Vec<_> = env.map(assign).collect();
    (!assigns.is_empty()).then(|| Command::setting(assigns))
}

fn judged<'a>(
    source: &Source<'_>,
    env: impl Iterator<Item = &'a String>,
    books: &[Rulebook],
    place: CommandPlace,
) -> Vec<Finding> {
    let asked: Vec<_> = books.iter().filter(|book| book.asks(place)).collect();
    if asked.is_empty() {
        return Vec::new();
    }
    let mut analysis = analyse(source);
    analysis.commands.extend(set_by(env));
    judge(&analysis, asked).findings
}

/// What becomes of a run about which this was found.
pub fn answer(asked: &Question<'_>, found: &[Found<'_>]) -> Answer {
    let of = |effect| found.iter().filter(move |f| f.finding.effect == effect);
    if let Some(denied) = of(CommandAction::Deny).next() {
        let message = format!("{}; change it, and create the run anew", told(denied));
        return Answer::Never(Refusal::new(DENIED, message));
    }
    let mut held = Vec::new();
    for found in of(CommandAction::RequireApproval) {
        match asked.decided(found.step) {
            Some(Ok(())) => {}
            Some(Err(rejected)) => return Answer::Never(rejected),
            None => held.push(found),
        }
    }
    if !held.is_empty() {
        return Answer::Held {
            reason: AWAITING_APPROVAL,
            message: asked.held(&held),
        };
    }
    let ticketed: Vec<_> = of(CommandAction::RequireTicket).collect();
    match asked.ticket {
        Err(why) if !ticketed.is_empty() => Answer::Held {
            reason: AWAITING_TICKET,
            message: asked.unticketed(why, &ticketed),
        },
        ticket => Answer::Open {
            warnings: of(CommandAction::Warn).map(told).collect(),
            ticket: ticket.clone().ok().filter(|_| !ticketed.is_empty()),
        },
    }
}

/// Whether anything was found that needs a ticket.
pub fn needs_ticket(found: &[Found<'_>]) -> bool {
    let mut effects = found.iter().map(|found| found.finding.effect);
    effects.any(|effect| effect == CommandAction::RequireTicket)
}

impl Question<'_> {
    /// A rejection of anything that the step is part of outweighs an approval of another.
    fn decided(&self, step: &PlannedStep) -> Option<Result<(), Refusal>> {
        let Plan {
            job,
            revision,
            writers,
            ..
        } = self.plan;
        let script = match &step.body {
            Body::Script(ScriptBody {
                script, revision, ..
            }) => Some((SubjectKind::Script, script.as_str(), revision.as_str())),
            _ => None,
        };
        let of = [
            Some((SubjectKind::JobRun, self.run, self.hash)),
            Some((SubjectKind::Job, job, revision)),
            script,
        ];
        let named = of
            .into_iter()
            .flatten()
            .filter(|(_, name, _)| !name.is_empty());
        let decisions = named.filter_map(|(kind, name, digest)| {
            let content = Content {
                kind,
                name,
                step: None,
                digest,
                writers,
            };
            content.decided(self.approvals, self.now)
        });
        decisions.max_by_key(Result::is_err)
    }

    fn held(&self, held: &[&Found<'_>]) -> String {
        format!(
            "have somebody who wrote none of it decide (kubectl pilothouse approve run/{}): {}",
            self.run,
            first(held)
        )
    }

    fn unticketed(&self, why: &str, held: &[&Found<'_>]) -> String {
        let anew = match self.plan.job.as_str() {
            "" => "exec COMMAND".to_owned(),
            job => format!("run {job}"),
        };
        format!(
            "it needs a live ChangeTicket, and {why}; write one whose plan or allow has it (kubectl explain changeticket.spec), or run it under another (kubectl pilothouse {anew} --ticket NAME): {}",
            first(held)
        )
    }
}

/// The first findings in words, and how many more there are.
fn first(held: &[&Found<'_>]) -> String {
    let named = held.iter().take(NAMED).map(|f| told(f));
    let more = held.len().checked_sub(NAMED).filter(|more| *more > 0);
    let more = more.map(|more| format!("{more} more"));
    let all: Vec<_> = named.chain(more).collect();
    all.join("; and ")
}

/// One finding in words: where, which rule, why, and what to do instead.
fn told(found: &Found<'_>) -> String {
    let Found { step, finding } = found;
    let whose = match &step.body {
        Body::Script(script) if !script.script.is_empty() => {
            format!(" (Script {})", script.script)
        }
        _ => String::new(),
    };
    format!("steps.{}{whose} {}", step.name, described(finding))
}

fn described(finding: &Finding) -> String {
    let At { line, column } = finding.at;
    format!("at {line}:{column}, {}", finding.told())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A plan of ann's with these steps.
    fn plan(steps: &[(&str, Value)]) -> Plan {
        let step = |(name, body): &(&str, Value)| {
            json!({"name": name, "lane": 0, "stage": 0, "needs": [], "body": body,
                "timeout": "1m", "deliveryTimeout": "1m", "retries": 0, "backoff": "1s"})
        };
        let steps: Vec<_> = steps.iter().map(step).collect();
        let plan = json!({"version": 1, "job": "j", "revision": "sha256:job", "writers": ["ann"], "account": "a",
            "frozenAt": "2026-01-01T00:00:00Z", "sharing": "Exclusive", "strategy": {}, "lanes": [{"kind": "Host", "targets": []}],
            "steps": steps, "params": {}, "secrets": {}});
        serde_json::from_value(plan).expect("a plan")
    }

    fn inline(content: &str) -> Value {
        json!({"script": {"interpreter": "Shell", "content": content, "env": {}}})
    }

    fn of_script(content: &str) -> Value {
        json!({"script": {"interpreter": "Shell", "content": content, "env": {}, "script": "s", "revision": "sha256:script"}})
    }

    fn books(policy: Value) -> Vec<Rulebook> {
        let spec = serde_json::from_value(policy).expect("a policy");
        vec![Rulebook::of("p", &spec).expect("it can be used")]
    }

    /// Beeps are denied, knocks are held.
    fn house() -> Vec<Rulebook> {
        let rule = |command: &str, action: &str| json!({"name": command, "match": {"commands": [command]}, "action": action, "why": "w"});
        books(
            json!({"builtIn": {"packs": []}, "rules": [rule("beep", "Deny"), rule("knock", "RequireApproval"), rule("hum", "Warn"), rule("ring", "RequireTicket")]}),
        )
    }

    fn approval(kind: &str, name: &str, digest: &str, decision: &str) -> Approval {
        let spec = json!({"subject": {"kind": kind, "name": name}, "digest": digest, "decision": decision, "reason": "r",
            "requestedBy": {"user": "bob", "groups": []}});
        Approval::new("a", serde_json::from_value(spec).expect("a spec"))
    }

    /// What becomes of a run of the plan.
    fn asked(plan: &Plan, books: &[Rulebook], approvals: &[Approval]) -> String {
        let ticket = Err("there is none".to_owned());
        match answered(plan, books, approvals, &ticket) {
            Answer::Open { warnings, .. } => format!("open {}", warnings.len()),
            Answer::Held { reason, .. } if reason == AWAITING_TICKET => "ticket".to_owned(),
            Answer::Held { .. } => "held".to_owned(),
            Answer::Never(refusal) => refusal.reason.to_owned(),
        }
    }

    fn answered(
        plan: &Plan,
        books: &[Rulebook],
        approvals: &[Approval],
        ticket: &Result<String, String>,
    ) -> Answer {
        let question = Question {
            run: "r",
            plan,
            hash: "sha256:plan",
            approvals,
            ticket,
            now: Timestamp::UNIX_EPOCH,
        };
        answer(&question, &findings(plan, books))
    }

    #[test]
    fn a_policy_holds_where_its_selector_says_and_one_that_cannot_be_used_is_named() {
        let policy =
            |spec: Value| CommandPolicy::new("p", serde_json::from_value(spec).expect("a spec"));
        let shop = policy(json!({"namespaceSelector": {"matchLabels": {"team": "shop"}}}));
        let of = |team: &str| [("team".to_owned(), team.to_owned())].into();
        let count = |policy, team: &str| super::books([policy], &of(team)).map(|books| books.len());
        assert_eq!(count(&shop, "shop"), Ok(1));
        assert_eq!(count(&shop, "bank"), Ok(0));
        let wrong = policy(json!({"builtIn": {"exclude": ["no-such-rule"]}}));
        let refused = count(&wrong, "shop").expect_err("there is no such rule");
        assert!(
            refused.message.starts_with("CommandPolicy p: "),
            "{refused}"
        );
    }

    #[test]
    fn the_strictest_of_what_is_found_decides() {
        let of = |content: &str| asked(&plan(&[("a", inline(content))]), &house(), &[]);
        assert_eq!(of("true"), "open 0");
        assert_eq!(of("hum"), "open 1");
        assert_eq!(of("hum; knock"), "held");
        assert_eq!(of("hum; ring"), "ticket");
        assert_eq!(of("ring; knock"), "held", "people first");
        assert_eq!(of("ring; beep"), "CommandDenied");
        assert_eq!(of("knock; beep"), "CommandDenied");
        assert_eq!(of("$X"), "held", "nobody knows what it is");
        let quiet = asked(&plan(&[("a", inline("beep"))]), &[], &[]);
        assert_eq!(quiet, "open 0", "there is no policy");
    }

    #[test]
    fn every_body_that_runs_commands_is_judged_and_what_we_wrote_for_an_action_is_not() {
        let of = |body: Value| asked(&plan(&[("a", body)]), &house(), &[]);
        assert_eq!(
            of(json!({"exec": {"command": ["env", "beep"]}})),
            "CommandDenied"
        );
        let pod = json!({"image": "i", "command": ["sh", "-c"], "args": ["beep"]});
        assert_eq!(
            of(json!({"pod": {"step": pod, "env": {}}})),
            "CommandDenied"
        );
        assert_eq!(
            of(json!({"pod": {"step": {"image": "i"}, "env": {}}})),
            "open 0"
        );
        assert_eq!(
            of(json!({"exec": {"command": ["sh", "-c", "{{ params.x }}"]}})),
            "held"
        );
        assert_eq!(
            of(json!({"exec": {"command": ["echo", "{{ params.x }}"]}})),
            "open 0"
        );
        let mut loads = inline("true");
        loads["script"]["env"] = json!({"LD_PRELOAD": {"text": "/tmp/x.so"}});
        let usual = books(json!({}));
        assert_eq!(asked(&plan(&[("a", loads)]), &usual, &[]), "held");
        let mut ours = inline("beep");
        ours["script"]["ofAction"] = json!(true);
        assert_eq!(of(ours), "open 0");
    }

    #[test]
    fn an_approval_of_the_run_the_job_or_the_script_lets_begin_what_it_is_about() {
        let plan = plan(&[("a", of_script("knock")), ("b", inline("true"))]);
        let with = |approvals: &[Approval]| asked(&plan, &house(), approvals);
        let yes =
            |kind: &str, name: &str, digest: &str| with(&[approval(kind, name, digest, "Approve")]);
        assert_eq!(yes("JobRun", "r", "sha256:plan"), "open 0");
        assert_eq!(yes("Job", "j", "sha256:job"), "open 0");
        assert_eq!(yes("Script", "s", "sha256:script"), "open 0");
        assert_eq!(yes("JobRun", "r", "sha256:other"), "held");
        assert_eq!(yes("Script", "t", "sha256:script"), "held");
        let no = approval("Script", "s", "sha256:script", "Reject");
        let run = approval("JobRun", "r", "sha256:plan", "Approve");
        assert_eq!(with(&[run, no]), "Rejected");
    }

    #[test]
    fn what_needs_a_ticket_begins_under_one_and_an_approval_is_none() {
        let both = plan(&[("a", inline("ring")), ("b", inline("knock"))]);
        let yes = || approval("JobRun", "r", "sha256:plan", "Approve");
        let under = |plan: &Plan, approvals: &[Approval]| {
            answered(plan, &house(), approvals, &Ok("move".to_owned()))
        };
        assert_eq!(asked(&both, &house(), &[yes()]), "ticket");
        assert!(matches!(
            under(&both, &[]),
            Answer::Held {
                reason: AWAITING_APPROVAL,
                ..
            }
        ));
        let open = |ticket: Option<&str>| Answer::Open {
            warnings: Vec::new(),
            ticket: ticket.map(str::to_owned),
        };
        assert_eq!(under(&both, &[yes()]), open(Some("move")));
        let quiet = plan(&[("a", inline("true"))]);
        assert_eq!(under(&quiet, &[]), open(None), "it needs none");
        let no = Err("there is no ChangeTicket move".to_owned());
        let Answer::Held { message, .. } = answered(&both, &house(), &[yes()], &no) else {
            panic!("it waits");
        };
        for word in [
            "there is no ChangeTicket move",
            "run j --ticket NAME",
            "steps.a at 1:1",
            "rule ring",
        ] {
            assert!(message.contains(word), "no {word:?} in {message:?}");
        }
        assert!(!message.contains("steps.b"), "{message}");
    }

    #[test]
    fn an_approved_script_speaks_for_no_other_step() {
        let plan = plan(&[("a", of_script("knock")), ("b", inline("knock"))]);
        let script = approval("Script", "s", "sha256:script", "Approve");
        assert_eq!(asked(&plan, &house(), &[script]), "held");
    }

    #[test]
    fn a_policy_is_asked_where_it_applies_and_does_what_its_mode_says() {
        let of = |more: Value, body: Value| {
            let mut policy = json!({"builtIn": {"packs": []}, "rules": [{"name": "beep", "match": {"commands": ["beep"]}, "action": "Deny", "why": "w"}]});
            policy
                .as_object_mut()
                .expect("fields")
                .extend(more.as_object().expect("fields").clone());
            asked(&plan(&[("a", body)]), &books(policy), &[])
        };
        let (scripts, runs) = (
            json!({"applyTo": ["Scripts"]}),
            json!({"applyTo": ["Runs"]}),
        );
        assert_eq!(of(scripts.clone(), inline("beep")), "open 0");
        assert_eq!(of(scripts, of_script("beep")), "CommandDenied");
        assert_eq!(of(runs.clone(), inline("beep")), "CommandDenied");
        assert_eq!(of(runs, of_script("beep")), "open 0");
        assert_eq!(of(json!({"mode": "Audit"}), inline("beep")), "open 0");
        assert_eq!(of(json!({"mode": "Warn"}), inline("beep")), "open 1");
        assert_eq!(of(json!({"mode": "Disabled"}), inline("beep")), "open 0");
    }

    #[test]
    fn a_script_says_whether_it_may_be_run_and_why_not() {
        let spec =
            |content: &str| serde_json::from_value(json!({"content": content})).expect("a spec");
        let told = |content: &str, decided| {
            let verdict = allowed(&super::of_script(&spec(content), &house()), decided);
            format!("{}/{}", verdict.status, verdict.reason)
        };
        let no = || Some(Err(Refusal::new("Rejected", "no")));
        assert_eq!(told("true", None), "True/NothingHeld");
        assert_eq!(told("hum", None), "True/Warned");
        assert_eq!(told("knock", None), "False/ApprovalRequired");
        assert_eq!(told("knock", Some(Ok(()))), "True/Approved");
        assert_eq!(told("knock", no()), "False/Rejected");
        assert_eq!(told("beep", Some(Ok(()))), "False/Denied");
        assert_eq!(told("ring", Some(Ok(()))), "False/TicketRequired");
        assert_eq!(told("ring; knock", None), "False/ApprovalRequired");
        assert_eq!(told("ring; knock", Some(Ok(()))), "False/TicketRequired");
    }
}
