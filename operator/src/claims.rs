//! Which run holds which machines. In memory of the one leader; rebuilt from the plans of unfinished runs when it takes over.

use std::{collections::HashMap, sync::Mutex};

use decide::lock::{self, Claim};

/// Claims by run UID.
#[derive(Default)]
pub struct Claims(Mutex<HashMap<String, Claim>>);

impl Claims {
    /// Takes a place in the order. Registering again changes nothing but what the run itself has learnt.
    pub fn register(&self, claim: &Claim) {
        let mut claims = self.0.lock().expect("no holder panics");
        let known = claims
            .entry(claim.uid.clone())
            .or_insert_with(|| claim.clone());
        known.held |= claim.held;
        known.suspended = claim.suspended;
    }

    /// Gives the run its machines, or says whom it waits for and why. Deciding and taking are one step, so two runs cannot both win.
    pub fn take(&self, uid: &str) -> Result<(), (Claim, String)> {
        let mut claims = self.0.lock().expect("no holder panics");
        let all: Vec<Claim> = claims.values().cloned().collect();
        let Some(mine) = claims.get_mut(uid) else {
            return Ok(());
        };
        if let Some(other) = lock::blocker(mine, &all) {
            return Err((other.clone(), lock::wait_message(mine, other)));
        }
        mine.held = true;
        Ok(())
    }

    /// Gives the machines back; returns the runs that may be waiting for them, as namespace and name.
    pub fn release(&self, uid: &str) -> Vec<(String, String)> {
        let mut claims = self.0.lock().expect("no holder panics");
        if claims.remove(uid).is_none() {
            return Vec::new();
        }
        claims
            .values()
            .filter(|c| !c.held)
            .map(|c| (c.namespace.clone(), c.name.clone()))
            .collect()
    }
}
