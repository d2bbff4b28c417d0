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
mod tests;
