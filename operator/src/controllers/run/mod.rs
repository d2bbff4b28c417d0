//! Drives one JobRun: observe, decide, act, report. Nothing has an effect before its status says that it has its plan and its machines.

mod act;
mod again;
mod freeze;
mod gate;
mod observe;
pub mod part;
mod said;
mod sign_off;

use std::{sync::Arc, time::Duration};

use crds::v1alpha1::{JobRun, Sharing, find_condition};
use decide::{
    ledger::Ledger,
    lock::Claim,
    plan::Plan,
    receipt,
    run::{Next, Phase},
    status::Outlook,
    template,
};
use kube::{ResourceExt as _, core::DeserializeGuard, runtime::controller::Action};

pub use act::is_done;
use observe::Control;
pub use observe::{Kept, plan_of};
pub use said::{of_action, of_approval};

use super::valid;
use crate::{
    claims::Taken,
    context::Context,
    error::{Error, Result, chain},
};

/// Turns without news, as a safety net.
const CALM: Duration = Duration::from_mins(5);
/// Turns while something is waited for that tells nobody when it comes.
const WAITING: Duration = Duration::from_secs(2);
/// Turns of a run that waits for machines or in a crowd: it is woken when it may go on, so this is for what nobody tells of.
const QUEUED: Duration = Duration::from_secs(15);
/// Shortest time between two statuses that differ in counts only.
const COUNTS: Duration = Duration::from_secs(1);

pub async fn reconcile(run: Arc<DeserializeGuard<JobRun>>, ctx: Arc<Context>) -> Result<Action> {
    let run = valid(&run)?;
    let latest = ctx.memory.latest.than(run);
    let run = latest.as_deref().unwrap_or(run);
    let _turn = ctx.hands.turns.take(run).await;
    // On the heap only while it is taken: thousands of runs may wait for their turn.
    let (action, begins) = Box::pin(reported(run, &ctx)).await?;
    // What a run begins with does not wait until the watch tells of what was just written.
    match ctx.memory.latest.than(run).filter(|_| begins) {
        Some(begun) => Ok(Box::pin(reported(&begun, &ctx)).await?.0),
        None => Ok(action),
    }
}

/// One turn, told in the status; when to look again, and whether the run has just begun by it.
async fn reported(run: &JobRun, ctx: &Arc<Context>) -> Result<(Action, bool)> {
    let now = jiff::Timestamp::now();
    if run.is_finished() {
        return act::tidy(ctx, run, now).await.map(|action| (action, false));
    }
    let (held, failed) = match act::hold(ctx, run, now).await {
        Ok(held) => (held, None),
        Err(error) => (None, Some(error)),
    };
    let run = held.as_ref().unwrap_or(run);
    let turn = match failed {
        Some(error) => Err(error),
        None => turn(run, ctx, now).await,
    };
    let action = act::report(ctx, run, &turn, now).await?;
    let begins = turn?.begun && !has_begun(run);
    ctx.succeeded(run);
    Ok((action, begins))
}

/// Its status says that it has its machines.
fn has_begun(run: &JobRun) -> bool {
    run.status.as_ref().is_some_and(|s| s.started_at.is_some())
}

/// What a turn came to.
pub struct Turn {
    pub kept: Option<Kept>,
    pub control: Control,
    /// The run has its machines.
    pub begun: bool,
    /// It does without them while people think; none where nothing changes in that.
    pub lets_go: Option<bool>,
    pub news: News,
    pub again: Duration,
}

impl Turn {
    fn unplanned(control: Control, begun: bool, (news, again): (News, Duration)) -> Self {
        Self {
            kept: None,
            control,
            begun,
            lets_go: None,
            news,
            again,
        }
    }
}

/// What the status has to say.
pub enum News {
    Refused(decide::Refusal),
    Waiting {
        reason: &'static str,
        message: String,
    },
    Moving(Box<decide::run::Next>),
    Cancelled,
}

impl News {
    /// Nothing begins whose start would be on no disk.
    pub const fn without_records(message: String) -> Self {
        let reason = "WaitingForRecords";
        Self::Waiting { reason, message }
    }

    pub fn outlook(&self) -> Outlook<'_> {
        match self {
            Self::Refused(refusal) => Outlook::Refused(refusal),
            Self::Waiting { reason, message } => Outlook::Waiting { reason, message },
            Self::Moving(next) => Outlook::Moving(next),
            Self::Cancelled => Outlook::Cancelled,
        }
    }
}

async fn turn(run: &JobRun, ctx: &Arc<Context>, now: jiff::Timestamp) -> Result<Turn> {
    if let Some(refusal) = receipt::overdue(run, now) {
        return Ok(Turn::unplanned(
            Control::default(),
            false,
            (News::Refused(refusal), Duration::ZERO),
        ));
    }
    let kept = match planned(run, ctx, now).await? {
        Ok(kept) => kept,
        Err(unplanned) => return Ok(unplanned),
    };
    let ledger = observe::ledger(ctx, run, &kept).await;
    let read = ledger.as_ref().ok();
    let mut control = observe::control(ctx, run, Some(&*kept.plan), read).await?;
    ctx.register(&claim(run, &kept.plan, control.decided.is_suspended()));
    let moved = moves(run, ctx, &kept, ledger, &mut control, now).await?;
    Ok(Turn {
        kept: Some(kept),
        control,
        begun: moved.begun,
        lets_go: moved.lets_go,
        news: moved.news,
        again: moved.again,
    })
}

/// The run's plan, which is frozen now where there was none; or what there is to say without one.
async fn planned(
    run: &JobRun,
    ctx: &Arc<Context>,
    now: jiff::Timestamp,
) -> Result<std::result::Result<Kept, Turn>> {
    let kept = match plan_of(ctx, run).await {
        Ok(Some(kept)) => return Ok(Ok(kept)),
        kept => kept,
    };
    let control = observe::control(ctx, run, None, None).await?;
    let told = match kept {
        // Without its plan nothing can be done for the run; whoever cancels or deletes it must not wait for ever.
        Ok(_) | Err(Error::PlanChanged { .. } | Error::Invalid(_)) if control.decided.cancel => {
            (News::Cancelled, Duration::ZERO)
        }
        Err(error) => return Err(error),
        Ok(_) => match crowded(run, ctx) {
            Some(told) => told,
            None => match freeze::turn(ctx, run, now).await? {
                Ok(kept) => return Ok(Ok(kept)),
                Err(told) => told,
            },
        },
    };
    Ok(Err(Turn::unplanned(control, has_begun(run), told)))
}

/// What there is to say of a run that had better not begin yet, and when to look again. A part belongs to what has begun, which would wait for it.
fn crowded(run: &JobRun, ctx: &Context) -> Option<(News, Duration)> {
    let line = ctx.hands.places.line(&run.namespace()?);
    if !part::family(run).is_empty() || !ctx.hands.crowds.holds(run, line) {
        return None;
    }
    let message = decide::status::CROWDED.to_owned();
    let reason = "WaitingForPlace";
    Some((News::Waiting { reason, message }, QUEUED))
}

/// What one turn of a planned run came to.
struct Moved {
    begun: bool,
    lets_go: Option<bool>,
    news: News,
    again: Duration,
}

impl Moved {
    /// Nothing changed in what the run has.
    const fn none(begun: bool, news: News, again: Duration) -> Self {
        Self {
            begun,
            lets_go: None,
            news,
            again,
        }
    }
}

/// One turn of a planned run: whether it has its machines, what there is to say, and when to look again.
async fn moves(
    run: &JobRun,
    ctx: &Arc<Context>,
    kept: &Kept,
    ledger: Result<Ledger>,
    control: &mut Control,
    now: jiff::Timestamp,
) -> Result<Moved> {
    let begun = has_begun(run);
    let moved = |(news, again)| Ok(Moved::none(begun, news, again));
    let ledger = match known(ledger, control.decided.cancel && !begun)? {
        Ok(ledger) => ledger,
        Err(told) => return moved(told),
    };
    let mut next = next(run, &kept.plan, &ledger, control, now);
    if let Some(message) = ctx.desk.away().filter(|_| !next.start.is_empty()) {
        return moved((News::without_records(message), WAITING));
    }
    sign_off::ask(ctx, run, kept, &mut next, now).await?;
    if !control.taken(run).is_empty() {
        // What was asked for is written down before it has an effect, so that no other leader takes it in once more.
        next.start.clear();
        next.conclude.clear();
        next.again = Some(now);
    }
    if begun {
        return go_on(run, ctx, kept, next, now).await;
    }
    if next.phase != Phase::Running {
        return moved((News::Moving(Box::new(next)), CALM));
    }
    if let Some(told) = held_back(run, ctx, kept, now).await? {
        return moved(told);
    }
    // The turn that gets the machines only says so; effects come once that is written.
    let news = News::Moving(Box::new(next));
    Ok(Moved::none(true, news, Duration::ZERO))
}

/// What has been done so far; or what there is to say where records do not answer, which nobody waits for who only wants to be rid of a run.
fn known(
    ledger: Result<Ledger>,
    unwanted: bool,
) -> Result<std::result::Result<Ledger, (News, Duration)>> {
    match ledger {
        Ok(ledger) => Ok(Ok(ledger)),
        Err(Error::Records(_)) if unwanted => Ok(Err((News::Cancelled, Duration::ZERO))),
        Err(Error::Records(error)) => {
            let news = News::without_records(chain(&*error));
            Ok(Err((news, WAITING)))
        }
        Err(error) => Err(error),
    }
}

/// What comes next by what has been done so far.
fn next(
    run: &JobRun,
    plan: &Plan,
    ledger: &Ledger,
    control: &mut Control,
    now: jiff::Timestamp,
) -> Next {
    let (name, namespace) = (run.name_any(), run.namespace().unwrap_or_default());
    let named = template::Run {
        name: &name,
        namespace: &namespace,
    };
    let next = decide::run::next(plan, named, ledger, &control.decided, now);
    if !control.resumes(run) {
        return next;
    }
    // The threshold counts from the failures that stand when somebody resumes.
    control.decided.forgiven = next.failed_targets;
    decide::run::next(plan, named, ledger, &control.decided, now)
}

/// What comes next of a run that has begun.
async fn go_on(
    run: &JobRun,
    ctx: &Arc<Context>,
    kept: &Kept,
    mut next: Next,
    now: jiff::Timestamp,
) -> Result<Moved> {
    let (lets_go, waits) = sign_off::machines(ctx, run, kept, &mut next, now).await?;
    let facts = observe::facts(ctx, run, kept).await?;
    let again = act::carry_out(ctx, &facts, &next, now);
    next.carried_out();
    let (news, again) = match waits {
        Some(waits) => (waits, QUEUED.min(again)),
        None => (News::Moving(Box::new(next)), again),
    };
    Ok(Moved {
        begun: true,
        lets_go: Some(lets_go),
        news,
        again,
    })
}

/// What keeps a run from beginning; nothing once it has its machines and records keep its receipt.
async fn held_back(
    run: &JobRun,
    ctx: &Arc<Context>,
    kept: &Kept,
    now: jiff::Timestamp,
) -> Result<Option<(News, Duration)>> {
    // Before it gets machines, which it would keep from others while people think.
    let pass = match gate::ask(ctx, run, kept, now).await? {
        Ok(pass) => pass,
        Err(held) => return Ok(Some(held)),
    };
    match ctx.memory.claims.take(&run.uid().unwrap_or_default()) {
        Taken::Given => {}
        Taken::Waits(other, message) => {
            observe::still_there(ctx, &other).await?;
            let news = News::Waiting {
                reason: "WaitingForMachine",
                message,
            };
            // A part may find out that it waits for itself.
            let is_part = !part::family(run).is_empty();
            return Ok(Some((news, if is_part { WAITING } else { QUEUED })));
        }
        Taken::Never(refusal) => return Ok(Some((News::Refused(refusal), Duration::ZERO))),
    }
    match act::claim(ctx, run, kept, now).await {
        Ok(Some(refusal)) => Ok(Some((News::Refused(refusal), Duration::ZERO))),
        Ok(None) => {
            let waiting = gate::pass(ctx, run, kept, pass, now).await?;
            Ok(waiting.map(|news| (news, WAITING)))
        }
        Err(Error::Records(error)) => {
            let news = News::without_records(chain(&*error));
            Ok(Some((news, WAITING)))
        }
        Err(error) => Err(error),
    }
}

/// The run's place in the order of those that touch the same machines. Nobody waits for one that does without them while people think.
pub fn claim(run: &JobRun, plan: &Plan, suspended: bool) -> Claim {
    let status = run.status.as_ref();
    let does_without = status.is_some_and(|s| s.released_at.is_some());
    let running = status.and_then(|s| find_condition(&s.conditions, "Running"));
    let thinks = running.is_some_and(|c| c.reason == "AwaitingApproval");
    Claim {
        uid: run.uid().unwrap_or_default(),
        namespace: run.namespace().unwrap_or_default(),
        name: run.name_any(),
        since: plan.frozen_at,
        machines: plan.machines(),
        family: part::family(run),
        shared: plan.sharing == Sharing::Shared,
        held: has_begun(run) && !does_without,
        suspended: suspended || (does_without && thinks),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{JobRun, claim};

    #[test]
    fn a_run_is_out_of_everybodys_way_only_while_people_think() {
        let plan = json!({"version": 1, "job": "", "account": "a", "frozenAt": "2026-01-01T00:00:00Z", "sharing": "Exclusive",
            "strategy": {}, "lanes": [], "steps": [], "params": {}, "secrets": {}});
        let plan = serde_json::from_value(plan).expect("a plan");
        let stands = |released: bool, reason: &str| {
            let mut run = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "JobRun", "metadata": {"name": "r"}, "spec": {"jobRef": {"name": "j"}},
                "status": {"startedAt": "2026-01-01T00:00:00Z", "conditions": [
                    {"type": "Running", "status": "False", "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
            if released {
                run["status"]["releasedAt"] = json!("2026-01-01T00:00:01Z");
            }
            let run: JobRun = serde_json::from_value(run).expect("a run");
            let claim = claim(&run, &plan, false);
            (claim.held, claim.suspended)
        };
        assert_eq!(stands(false, "InProgress"), (true, false));
        assert_eq!(stands(false, "AwaitingApproval"), (true, false));
        assert_eq!(stands(true, "AwaitingApproval"), (false, true));
        assert_eq!(stands(true, "WaitingForMachine"), (false, false));
        assert_eq!(stands(true, "WaitingForRecords"), (false, false));
    }
}
