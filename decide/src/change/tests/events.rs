//! Whatever happens, in any order, and whatever is lost on the way.

use proptest::prelude::*;

use super::*;

#[test]
fn a_status_that_says_it_all_is_not_written_again() {
    let mut desk = Desk::with(&json!({})).agreed();
    for second in [50, START, CLOSES, END] {
        desk.turns(second);
        let again = desk.look(second);
        assert_eq!(Some(&again.status), desk.ticket.status.as_ref(), "{second}");
    }
}

/// What may happen to a ticket, in any order.
#[derive(Clone, Debug)]
enum Event {
    Passes(i64),
    Says(&'static str, &'static str),
    Does(&'static str, &'static str),
    Edits(u8),
    RunEnds(bool),
    /// A turn whose status is lost after its effect.
    Dies,
}

fn event() -> impl Strategy<Value = Event> {
    let people = || prop::sample::select(&["rita", "wanda", "ivan", "bob", "carol", "dave"][..]);
    prop_oneof![
        4 => (0..40_i64).prop_map(Event::Passes),
        6 => (people(), prop::sample::select(&["Approve", "Approve", "Approve", "Reject"][..]))
            .prop_map(|(who, what)| Event::Says(who, what)),
        3 => (people(), prop::sample::select(&["Start", "Cancel", "Complete"][..]))
            .prop_map(|(who, what)| Event::Does(who, what)),
        1 => (0..3_u8).prop_map(Event::Edits),
        1 => any::<bool>().prop_map(Event::RunEnds),
        2 => Just(Event::Dies),
    ]
}

proptest! {
    /// Whatever happens and whatever is lost: one run at most, only of what others have agreed to, only within the window; and an end is an end.
    #[test]
    fn nothing_runs_twice_or_without_those_who_have_to_agree(
        manual in any::<bool>(),
        events in prop::collection::vec(event(), 1..60),
    ) {
        let start = if manual { "Manual" } else { "AtWindow" };
        let mut desk = Desk::with(&json!({"start": start}));
        let mut now = 60;
        let mut ended: Option<ChangeTicketStatus> = None;
        for event in events {
            let mut dies = false;
            match event {
                Event::Passes(seconds) => now += seconds,
                Event::Says(who, what) => desk.says(who, &[], what),
                Event::Does(who, what) => {
                    let result = (what == "Complete").then_some("Success");
                    desk.does(who, what, result);
                }
                Event::Edits(n) => desk.ticket.spec.title = format!("title {n}"),
                Event::RunEnds(well) if desk.run.is_some() => {
                    desk.run_ends(if well { "Complete" } else { "Failed" }, "Ended");
                }
                Event::RunEnds(_) => {}
                Event::Dies => dies = true,
            }
            let turn = desk.look(now);
            if turn.effect == Some(Effect::Create) {
                prop_assert!((START..CLOSES).contains(&now));
                let started = turn.status.started.as_ref().expect("it is written down");
                let agreed = |user: &str| desk.approvals.iter().any(|a| {
                    a.spec.digest == started.digest && a.spec.decision == crds::v1alpha1::Decision::Approve
                        && a.spec.requested_by.as_ref().is_some_and(|by| by.user == user)
                });
                prop_assert!(["bob", "carol", "dave"].into_iter().all(agreed));
                prop_assert_eq!(manual, started.by == "ivan");
            }
            desk.carry_out(turn.effect);
            if dies {
                continue;
            }
            desk.actions.clear();
            if let Some(ended) = &ended {
                prop_assert_eq!(&turn.status.finished_at, &ended.finished_at);
                prop_assert_eq!(&turn.status.summary, &ended.summary);
            } else if turn.status.finished_at.is_some() {
                ended = Some(turn.status.clone());
            }
            desk.ticket.status = Some(turn.status);
        }
        prop_assert!(desk.created <= 1);
    }
}
