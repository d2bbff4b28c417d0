//! Where a ticket stands: from draft over review and window to its end.

use crds::v1alpha1::{
    ChangeLevel, ChangeOutcome, ChangeResult, ChangeStart, ChangeStarted, ChangeVerb, ConflictMode,
    JobRun, OnClose, Verified, clip, condition_is_true,
};

use super::{
    Standing,
    age::{ALREADY_OVER, is_already_over},
    conflict, region,
    review::{self, Pending},
};
use crate::Refusal;

/// Where a ticket stands, and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    Draft,
    /// It is not handed in, since it conflicts with what was planned before, or is too risky.
    KeptBack(Refusal),
    /// Somebody has to correct something first.
    Blocked(Refusal),
    Rejected(Refusal),
    InReview(String),
    /// Its window is not open.
    Scheduled(String),
    /// A calendar keeps it from being started.
    Held(Refusal),
    /// It starts in this very turn.
    Due,
    /// It waits for an implementer.
    Startable(String),
    Executing(String),
    Cancelling,
    /// It waits for a result.
    Verifying(String),
    Ended(End),
}

impl Stage {
    /// What it waits for, in words.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::KeptBack(why) | Self::Blocked(why) | Self::Rejected(why) => Some(&why.message),
            Self::InReview(left) => Some(left),
            _ => None,
        }
    }
}

/// How a ticket ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub reason: &'static str,
    pub message: String,
    pub result: Option<ChangeResult>,
}

impl End {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            result: None,
        }
    }

    /// Whether the change went well.
    pub fn is_well(&self) -> bool {
        let result = self.result.as_ref();
        result.is_some_and(|result| result.outcome == ChangeOutcome::Success)
    }
}

impl Standing<'_> {
    pub(super) fn stage(&self) -> Stage {
        match &self.status.started {
            Some(started) if started.run.is_some() => self.of_job(started),
            Some(_) => self.of_guide(),
            None if self.is_whole() => self.of_regions(),
            None => self.unstarted(),
        }
    }

    fn unstarted(&self) -> Stage {
        let (spec, window) = (&self.ticket.spec, &self.ticket.spec.window);
        if self.has_taken(ChangeVerb::Cancel) {
            return Stage::Ended(self.cancelled("before it was started"));
        }
        if let Err(stage) = self.handed_in() {
            return stage;
        }
        if self.now < window.start.0 {
            return Stage::Scheduled(format!(
                "it is approved, and waits for {:.0}",
                window.start.0
            ));
        }
        let calendars = self.world.calendars;
        if let Some(lacking) = calendars.lacking() {
            return Stage::Held(lacking.clone());
        }
        if let Some((cause, _)) = calendars.closed(self.now) {
            return Stage::Held(Refusal::new(cause.reason, cause.message));
        }
        if let Some(why) = self.kept_back(self.world.on_conflict.start) {
            return Stage::Held(why);
        }
        if self.planned().is_some() && spec.start == ChangeStart::AtWindow {
            return Stage::Due;
        }
        Stage::Startable(format!(
            "one of its implementers starts it until {:.0} (kubectl pilothouse ticket start {})",
            self.closes(),
            self.name()
        ))
    }

    /// What there is before everybody has agreed to it.
    pub(super) fn handed_in(&self) -> Result<(), Stage> {
        if !self.ticket.spec.submit {
            return Err(Stage::Draft);
        }
        if self.now >= self.closes() && !self.has_parts() {
            return Err(Stage::Ended(self.expired()));
        }
        if let Some(why) = self.kept_back(self.world.on_conflict.submit)
            && !self.reviewed.is_approved()
        {
            return Err(Stage::KeptBack(why));
        }
        self.reviewing()
    }

    /// The conflict or the risk that keeps it where it is, where policies say that one does.
    fn kept_back(&self, mode: ConflictMode) -> Option<Refusal> {
        let blocking = conflict::blocking(self.world.conflicts);
        let blocking = blocking.filter(|_| mode == ConflictMode::Block);
        blocking.or_else(|| self.world.risk.refusal.clone())
    }

    /// What stands between a submitted ticket and its window.
    fn reviewing(&self) -> Result<(), Stage> {
        region::check(&self.ticket.spec).map_err(Stage::Blocked)?;
        let (content, barred) = (self.content.as_ref(), self.world.barred.as_ref());
        let pending = review::pending(self.decided_on(), content, barred, &self.reviewed);
        pending.map_err(|pending| match pending {
            Pending::Blocked(why) => Stage::Blocked(why),
            Pending::Rejected(why) => Stage::Rejected(why),
            Pending::InReview(left) => Stage::InReview(left),
        })
    }

    fn of_guide(&self) -> Stage {
        let end = self.ticket.spec.window.end.0;
        if self.has_taken(ChangeVerb::Cancel) {
            return Stage::Ended(self.cancelled("while it was carried out"));
        }
        if self.status.result.is_some() {
            return Stage::Ended(self.reported());
        }
        if self.now < end {
            return Stage::Executing(format!("it is carried out by hand until {end:.0}"));
        }
        Stage::Verifying(format!("its window is over; {}", self.asks_for_result()))
    }

    fn of_job(&self, started: &ChangeStarted) -> Stage {
        let is_cancelled = self.has_taken(ChangeVerb::Cancel);
        let Some(run) = self.world.run else {
            return match (&self.status.run, is_cancelled) {
                (_, true) => Stage::Ended(self.cancelled("and there is no run of it")),
                (None, false) if self.now >= started.closes.0 => Stage::Ended(self.expired()),
                (None, false) if !self.is_same_solution() => {
                    Stage::Executing("its run is not created, since its ChangeSolution is not what was approved any more".to_owned())
                }
                (None, false) => Stage::Executing("its run is being created".to_owned()),
                (Some(name), false) => {
                    self.over(started, &format!("JobRun {name} was deleted"), None)
                }
            };
        };
        let named = format!(
            "JobRun {}",
            run.metadata.name.as_deref().unwrap_or_default()
        );
        match (run.is_finished(), is_cancelled) {
            (false, true) => Stage::Cancelling,
            (false, false) => Stage::Executing(format!("{named} goes on: {}", summary(run))),
            (true, true) => {
                let how = format!("in the middle; {named} ended as {}", summary(run));
                Stage::Ended(self.cancelled(&how))
            }
            (true, false) => {
                let told = format!("{named} has ended: {}", outcome(run));
                self.over(started, &told, Some(run))
            }
        }
    }

    /// The run is over, in the words of `told`.
    fn over(&self, started: &ChangeStarted, told: &str, run: Option<&JobRun>) -> Stage {
        if self.status.result.is_some() {
            return Stage::Ended(self.reported());
        }
        if started.level <= ChangeLevel::B {
            return Stage::Verifying(format!("{told}; {}", self.asks_for_result()));
        }
        let conditions = run
            .and_then(|run| run.status.as_ref())
            .map(|s| &s.conditions);
        let is_well = conditions.is_some_and(|told| condition_is_true(told, "Complete"));
        let aborted = self.status.closed_at.is_some() && started.on_close == OnClose::Abort;
        let (reason, outcome) = match (is_well, aborted) {
            (true, _) => ("Succeeded", ChangeOutcome::Success),
            (false, true) => ("WindowClosed", ChangeOutcome::Failed),
            (false, false) => ("RunFailed", ChangeOutcome::Failed),
        };
        let mut end = End::new(reason, told);
        end.result = Some(ChangeResult {
            outcome,
            verified: is_well.then_some(Verified::ByRun),
            note: Some(clip(told, 1024)),
        });
        Stage::Ended(end)
    }

    /// The end that somebody has reported.
    fn reported(&self) -> End {
        let result = self.status.result.clone();
        let taken = self.status.actions.iter();
        let mut reports = taken.filter(|taken| taken.action == ChangeVerb::Complete);
        let by = reports.next().map_or("", |taken| &taken.by);
        let note = result.as_ref().and_then(|result| result.note.as_deref());
        let message = match note {
            Some(note) => format!("reported by {by}: {note}"),
            None => format!("reported by {by}"),
        };
        let well = result.as_ref().map(|result| result.outcome) == Some(ChangeOutcome::Success);
        let reason = if well { "Succeeded" } else { "ChangeFailed" };
        End {
            result,
            ..End::new(reason, message)
        }
    }

    pub(super) fn cancelled(&self, when: &str) -> End {
        let mut taken = self.status.actions.iter();
        let cancel = taken.find(|taken| taken.action == ChangeVerb::Cancel);
        let by = cancel.map_or("", |taken| &taken.by);
        let why = cancel.and_then(|taken| taken.reason.as_deref());
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        End::new("Cancelled", format!("cancelled by {by} {when}{why}"))
    }

    fn expired(&self) -> End {
        if is_already_over(self.ticket) {
            let name = self.name();
            let message = format!(
                "nothing is started, since its window was over when it was created; what became of an earlier one of its name says kubectl get archives --field-selector kind=ChangeTicket,object={name}"
            );
            return End::new(ALREADY_OVER, message);
        }
        let message = format!(
            "nothing was started until {:.0}; write another ticket for another window",
            self.closes()
        );
        End::new("Expired", message)
    }

    fn asks_for_result(&self) -> String {
        format!(
            "one of its implementers says how the change went (kubectl pilothouse ticket complete {})",
            self.name()
        )
    }

    pub(super) fn name(&self) -> &str {
        self.ticket.metadata.name.as_deref().unwrap_or_default()
    }
}

/// How it ended and why.
fn outcome(run: &JobRun) -> String {
    let message = run.status.as_ref().and_then(|s| s.message.as_deref());
    match message.filter(|message| !message.is_empty()) {
        Some(message) => format!("{}: {message}", summary(run)),
        None => summary(run).to_owned(),
    }
}

fn summary(run: &JobRun) -> &str {
    let status = run.status.as_ref();
    status
        .and_then(|s| s.summary.as_deref())
        .unwrap_or("Waiting")
}
