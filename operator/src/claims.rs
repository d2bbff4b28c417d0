//! Which run holds which machines. In memory of the one leader; rebuilt from the plans of unfinished runs when it takes over.

use std::sync::Mutex;

use decide::{
    Refusal,
    lock::{self, Claim},
};

/// A run, as namespace and name.
type Run = (String, String);

/// What became of a run that wanted its machines.
pub enum Taken {
    Given,
    /// For whom it waits, and why.
    Waits(Claim, String),
    Never(Refusal),
}

/// Claims by run UID.
#[derive(Default)]
pub struct Claims(Mutex<lock::Claims>);

impl Claims {
    /// Takes a place in the order. Registering again changes nothing but what the run itself has learnt. Returns whom it concerns that a run was suspended or resumed: its parts, and those that need not wait for it any more.
    pub fn register(&self, claim: &Claim) -> Vec<Run> {
        let mut claims = self.0.lock().expect("no holder panics");
        let known = claims
            .entry(claim.uid.clone())
            .or_insert_with(|| claim.clone());
        known.held |= claim.held;
        if std::mem::replace(&mut known.suspended, claim.suspended) == claim.suspended {
            return Vec::new();
        }
        let parts = claims.values();
        let parts = parts.filter(|part| part.family.contains(&claim.uid));
        parts.chain(lock::ready(&claims)).map(run).collect()
    }

    /// Gives the run its machines, or says whom it waits for and why. Deciding and taking are one step, so two runs cannot both win.
    pub fn take(&self, uid: &str) -> Taken {
        let mut claims = self.0.lock().expect("no holder panics");
        let Some(mine) = claims.get(uid) else {
            return Taken::Given;
        };
        if let Some(other) = lock::blocker(mine, &claims) {
            if lock::is_circle(mine, &claims) {
                return Taken::Never(lock::circle(mine, other));
            }
            return Taken::Waits(other.clone(), lock::wait_message(mine, other));
        }
        claims
            .entry(uid.to_owned())
            .and_modify(|mine| mine.held = true);
        Taken::Given
    }

    /// Whether one of these runs is suspended.
    pub fn is_suspended(&self, uids: &[String]) -> bool {
        let claims = self.0.lock().expect("no holder panics");
        let mut found = uids.iter().filter_map(|uid| claims.get(uid));
        found.any(|claim| claim.suspended)
    }

    /// Gives the machines back; returns the runs that may have got them by that.
    pub fn release(&self, uid: &str) -> Vec<Run> {
        let mut claims = self.0.lock().expect("no holder panics");
        if claims.remove(uid).is_none() {
            return Vec::new();
        }
        lock::ready(&claims).into_iter().map(run).collect()
    }
}

fn run(claim: &Claim) -> Run {
    (claim.namespace.clone(), claim.name.clone())
}
