//! What became of the tickets that were started with a solution, each counted once whatever is lost on the way. A ticket that has ended owes its end until it knows that the solution has it;
//! the solution keeps those that owe it among its results, and takes in no more at once than it can keep.

use std::collections::BTreeSet;

use crds::v1alpha1::{
    ChangeSolution, ChangeSolutionStatus, ChangeTicket, SolutionResult, SolutionUsed,
    condition_is_true, find_condition,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Results that a solution keeps.
const KEPT: usize = 10;

/// The solution that a ticket was started with and still owes its end, once it has ended.
pub fn owing(ticket: &ChangeTicket) -> Option<&SolutionUsed> {
    let status = ticket.status.as_ref()?;
    let is_over = ticket.is_finished() && status.started.is_some();
    let used = status.solution.as_ref().filter(|_| is_over);
    used.filter(|used| !used.told)
}

/// Whether a solution has the end of a ticket among its results.
pub fn knows(solution: &ChangeSolution, ticket: &ChangeTicket) -> bool {
    let mut known = solution.status.iter().flat_map(|status| &status.results);
    known.any(|result| Some(&result.uid) == ticket.metadata.uid.as_ref())
}

/// An end that is not among the results yet, and when that ticket was started.
struct New {
    result: SolutionResult,
    started: Option<Time>,
}

/// Takes in ends that are owed to the solution.
pub fn take_in(
    status: &mut ChangeSolutionStatus,
    solution: &ChangeSolution,
    ended: &[ChangeTicket],
) {
    let own = |used: &&SolutionUsed| Some(&used.uid) == solution.metadata.uid.as_ref();
    let owed = ended.iter().filter_map(|ticket| {
        let used = owing(ticket).filter(own)?;
        Some((ticket, used))
    });
    let (known, new): (Vec<_>, Vec<_>) = owed.partition(|(ticket, _)| knows(solution, ticket));
    let mut new: Vec<_> = new
        .into_iter()
        .filter_map(|(t, used)| end(t, used))
        .collect();
    new.sort_by_key(|new| new.result.finished_at.0);
    new.truncate(KEPT.saturating_sub(known.len()));
    for New { result, started } in &new {
        match result.result.as_str() {
            "Succeeded" => status.succeeded += 1,
            _ => status.failed += 1,
        }
        let last = status.last_used.iter().chain(started);
        status.last_used = last.max_by_key(|at| at.0).cloned();
    }
    let of_known = known.iter().filter_map(|(t, _)| t.metadata.uid.clone());
    let of_new = new.iter().map(|new| new.result.uid.clone());
    let kept: BTreeSet<_> = of_known.chain(of_new).collect();
    status.results.extend(new.into_iter().map(|new| new.result));
    keep(&mut status.results, &kept);
}

/// The latest first; those that are still owed before others, which make room.
fn keep(results: &mut Vec<SolutionResult>, owed: &BTreeSet<String>) {
    let latest = |result: &SolutionResult| (result.finished_at.0, result.uid.clone());
    results.sort_by_key(latest);
    results.reverse();
    let mut room = KEPT.saturating_sub(owed.len());
    results.retain(|result| {
        if owed.contains(&result.uid) {
            return true;
        }
        let has_room = room > 0;
        room = room.saturating_sub(1);
        has_room
    });
}

fn end(ticket: &ChangeTicket, used: &SolutionUsed) -> Option<New> {
    let status = ticket.status.as_ref()?;
    let ends = ["Complete", "Failed"].into_iter();
    let mut ends = ends.filter(|end| condition_is_true(&status.conditions, end));
    let end = find_condition(&status.conditions, ends.next()?)?;
    Some(New {
        result: SolutionResult {
            ticket: ticket.metadata.name.clone()?,
            uid: ticket.metadata.uid.clone()?,
            result: status.summary.clone().unwrap_or_default(),
            reason: end.reason.clone(),
            digest: used.digest.clone(),
            finished_at: status.finished_at.clone()?,
        },
        started: status.started.as_ref().map(|started| started.at.clone()),
    })
}
