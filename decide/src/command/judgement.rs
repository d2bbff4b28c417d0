//! What policies say of an analysis: every finding, and the strictest action of all.

use crds::v1alpha1::{CommandAction, CommandRule, CommandSeverity, PolicyMode};

use super::{Analysis, At, Command, Rulebook, Unknown, pattern::Subject};

/// The name under which what cannot be known is told.
pub const UNKNOWN: &str = "unknown";

/// One thing that a policy says of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub policy: String,
    /// Name of the rule, or `unknown`.
    pub rule: String,
    /// What the rule asks for.
    pub action: CommandAction,
    /// What is done in the mode of the policy.
    pub effect: CommandAction,
    pub severity: CommandSeverity,
    pub reason: String,
    pub safer: Option<String>,
    /// The command as it would be run, and how it is reached.
    pub command: String,
    pub at: At,
}

impl Finding {
    /// Which rule, why, what to do instead, and the command.
    pub fn told(&self) -> String {
        format!("{}: {}", self.told_apart(), self.command)
    }

    /// The same to somebody who may not be one to read the command.
    pub fn told_apart(&self) -> String {
        let safer = self.safer.as_ref();
        let safer = safer.map(|safer| format!("; instead: {}", safer.trim_end_matches('.')));
        format!(
            "rule {} of CommandPolicy {}: {}{}",
            self.rule,
            self.policy,
            self.reason.trim_end_matches('.'),
            safer.unwrap_or_default()
        )
    }
}

/// What all policies say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// In the order of the text.
    pub findings: Vec<Finding>,
    /// The strictest effect.
    pub action: CommandAction,
}

/// Asks every policy of every command.
pub fn judge<'a>(
    analysis: &Analysis,
    policies: impl IntoIterator<Item = &'a Rulebook>,
) -> Judgement {
    let subjects: Vec<Subject> = analysis.commands.iter().map(Subject::of).collect();
    let mut findings = Vec::new();
    for book in policies
        .into_iter()
        .filter(|book| book.mode != PolicyMode::Disabled)
    {
        for subject in &subjects {
            findings.extend(of_rules(book, subject));
        }
        findings.extend(
            analysis
                .unknowns
                .iter()
                .map(|unknown| of_unknown(book, unknown)),
        );
    }
    findings.sort_by(|a: &Finding, b| a.at.cmp(&b.at).then(b.effect.cmp(&a.effect)));
    findings.dedup();
    let action = findings.iter().map(|finding| finding.effect).max();
    Judgement {
        findings,
        action: action.unwrap_or(CommandAction::Allow),
    }
}

/// What a mode leaves of an action.
fn effect(mode: PolicyMode, action: CommandAction) -> CommandAction {
    match mode {
        PolicyMode::Disabled | PolicyMode::Audit => CommandAction::Allow,
        PolicyMode::Warn => action.min(CommandAction::Warn),
        PolicyMode::Enforce => action,
    }
}

/// What is denied only for what a variable may be is for a person to look at.
fn asked_for(rule: &CommandRule, subject: &Subject) -> CommandAction {
    if rule.action == CommandAction::Deny && !subject.surely_matches(&rule.match_) {
        return CommandAction::RequireApproval;
    }
    rule.action
}

fn of_rules<'a>(book: &'a Rulebook, subject: &'a Subject) -> impl Iterator<Item = Finding> + 'a {
    let rules = book.decide(subject).into_iter();
    rules
        .filter(|rule| rule.action != CommandAction::Allow)
        .map(|rule| (rule, asked_for(rule, subject)))
        .map(|(rule, action)| Finding {
            policy: book.policy.clone(),
            rule: rule.name.clone(),
            action,
            effect: effect(book.mode, action),
            severity: rule.severity,
            reason: rule.why.clone(),
            safer: rule.safer.clone(),
            command: told(subject.command),
            at: subject.command.at,
        })
}

fn told(command: &Command) -> String {
    let shown = command.shown();
    let through = command.through.join(" > ");
    if through.is_empty() {
        shown
    } else {
        super::analysis::clip(&format!("{shown} (through {through})"))
    }
}

fn of_unknown(book: &Rulebook, unknown: &Unknown) -> Finding {
    Finding {
        policy: book.policy.clone(),
        rule: UNKNOWN.to_owned(),
        action: book.on_unknown,
        effect: effect(book.mode, book.on_unknown),
        severity: CommandSeverity::Medium,
        reason: unknown.why.message().to_owned(),
        safer: None,
        command: unknown.what.clone(),
        at: unknown.at,
    }
}
