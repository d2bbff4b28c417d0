//! The ways in which controllers are woken from within; each has one for every part of the scope that it is driven in.

use std::collections::HashMap;

use kube::{Resource, runtime::reflector::ObjectRef};
use tokio::sync::{
    broadcast,
    mpsc::{self, UnboundedSender},
};
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::{
    context::{Given, Glass, Run, Solution, Ticket, Written},
    scope::{EVERY, Scope},
    users::Named,
};

/// Ends of runs that whoever waits for one may be behind.
const ENDS: usize = 1024;

/// The way to wake the controllers of a kind, by the part of the scope.
pub struct Wake<T>(HashMap<String, UnboundedSender<T>>);

/// Its other ends.
pub type Woken<T> = HashMap<String, UnboundedReceiverStream<T>>;

impl<T> Wake<T> {
    fn of(scope: &Scope) -> (Self, Woken<T>) {
        let of = |part: &str| {
            let (wake, woken) = mpsc::unbounded_channel();
            let woken = UnboundedReceiverStream::new(woken);
            ((part.to_owned(), wake), (part.to_owned(), woken))
        };
        let (wake, woken) = scope.parts().map(of).unzip();
        (Self(wake), woken)
    }
}

impl<K: Resource<DynamicType = ()>> Wake<ObjectRef<K>> {
    /// Has an object looked at soon. Its controller is gone only when the operator ends.
    pub fn one(&self, namespace: &str, name: &str) {
        let wake = self.0.get(namespace).or_else(|| self.0.get(EVERY));
        let _ = wake.map(|wake| wake.send(ObjectRef::new(name).within(namespace)));
    }
}

impl Wake<()> {
    /// Has every object looked at soon.
    pub fn each(&self) {
        for wake in self.0.values() {
            let _ = wake.send(());
        }
    }
}

/// The ways to wake each controller that needs one.
pub struct Wakes {
    pub runs: Wake<Run>,
    pub parameters: Wake<Named>,
    /// Of Scripts: one of them, or each.
    pub script: Wake<Written>,
    pub scripts: Wake<()>,
    pub approvals: Wake<Given>,
    pub glasses: Wake<Glass>,
    pub tickets: Wake<Ticket>,
    pub solutions: Wake<Solution>,
    /// UIDs of runs that have ended, for those who wait for one.
    pub ended: broadcast::Sender<String>,
}

/// What they are woken by.
pub struct Sleepers {
    pub runs: Woken<Run>,
    pub parameters: Woken<Named>,
    pub script: Woken<Written>,
    pub scripts: Woken<()>,
    pub approvals: Woken<Given>,
    pub glasses: Woken<Glass>,
    pub tickets: Woken<Ticket>,
    pub solutions: Woken<Solution>,
}

impl Wakes {
    pub fn of(scope: &Scope) -> (Self, Sleepers) {
        let runs = Wake::of(scope);
        let parameters = Wake::of(scope);
        let script = Wake::of(scope);
        let scripts = Wake::of(scope);
        let approvals = Wake::of(scope);
        let glasses = Wake::of(scope);
        let tickets = Wake::of(scope);
        let solutions = Wake::of(scope);
        let wakes = Self {
            runs: runs.0,
            parameters: parameters.0,
            script: script.0,
            scripts: scripts.0,
            approvals: approvals.0,
            glasses: glasses.0,
            tickets: tickets.0,
            solutions: solutions.0,
            ended: broadcast::Sender::new(ENDS),
        };
        let sleepers = Sleepers {
            runs: runs.1,
            parameters: parameters.1,
            script: script.1,
            scripts: scripts.1,
            approvals: approvals.1,
            glasses: glasses.1,
            tickets: tickets.1,
            solutions: solutions.1,
        };
        (wakes, sleepers)
    }
}
