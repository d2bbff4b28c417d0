//! What this operator knows of the runs it drives: their plans, the rows of records, and the work in flight.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use crds::execution::{Execution, Via};
use decide::{
    ledger::Ledger,
    plan::{Plan, Task},
};
use tokio_util::sync::CancellationToken;

/// Everything known, by run UID.
#[derive(Default)]
pub struct Ledgers(Mutex<HashMap<String, Entry>>);

struct Entry {
    plan: Arc<Plan>,
    /// Of the plan as it is stored: an operator of another version may have written there what this one does not know.
    hash: String,
    rows: HashMap<String, Execution>,
    in_flight: HashMap<Task, CancellationToken>,
    /// Pods may be held for results that are known.
    pods_left: bool,
}

impl Ledgers {
    /// The plan of a run whose ledger is open, and its hash.
    pub fn plan(&self, run: &str) -> Option<(Arc<Plan>, String)> {
        let all = self.0.lock().expect("no holder panics");
        all.get(run).map(|e| (e.plan.clone(), e.hash.clone()))
    }

    /// Notes that a pod could not be let go.
    pub fn leave_pods(&self, run: &str) {
        if let Some(entry) = self.0.lock().expect("no holder panics").get_mut(run) {
            entry.pods_left = true;
        }
    }

    /// Whether pods of a run may still be held: unless every one was begun and let go here.
    pub fn may_hold_pods(&self, run: &str) -> bool {
        let all = self.0.lock().expect("no holder panics");
        all.get(run).is_none_or(|entry| entry.pods_left)
    }

    /// Opens a ledger from what records hold.
    pub fn open(&self, run: &str, (plan, hash): (Arc<Plan>, String), rows: Vec<Execution>) {
        let rows: HashMap<String, Execution> = rows
            .into_iter()
            .map(|row| (row.key.digest(), row))
            .collect();
        let entry = Entry {
            pods_left: rows.values().any(|row| row.via == Via::Pod),
            plan,
            hash,
            rows,
            in_flight: HashMap::new(),
        };
        self.0
            .lock()
            .expect("no holder panics")
            .entry(run.to_owned())
            .or_insert(entry);
    }

    /// The state of every task.
    pub fn read(&self, run: &str) -> Ledger {
        let all = self.0.lock().expect("no holder panics");
        all.get(run)
            .map(|e| {
                Ledger::new(&e.plan, e.rows.values(), |task| {
                    e.in_flight.contains_key(&task)
                })
            })
            .unwrap_or_default()
    }

    /// What the steps before a task have handed on to it.
    pub fn outputs(&self, run: &str, task: Task) -> BTreeMap<String, String> {
        let plan = self.plan(run).map(|(plan, _)| plan);
        let hands_on = plan.filter(|plan| plan.steps.iter().any(|step| !step.outputs.is_empty()));
        hands_on.map_or_else(BTreeMap::new, |plan| self.read(run).outputs(&plan, task))
    }

    /// The rows of a run.
    pub fn rows(&self, run: &str) -> Vec<Execution> {
        let all = self.0.lock().expect("no holder panics");
        let entry = all.get(run).into_iter();
        entry.flat_map(|e| e.rows.values().cloned()).collect()
    }

    /// The row of an attempt.
    pub fn row(&self, run: &str, digest: &str) -> Option<Execution> {
        self.0
            .lock()
            .expect("no holder panics")
            .get(run)?
            .rows
            .get(digest)
            .cloned()
    }

    /// Takes a task in hand; none when it already is. The row counts as started from here on.
    pub fn begin(&self, run: &str, task: Task, row: &Execution) -> Option<CancellationToken> {
        let mut all = self.0.lock().expect("no holder panics");
        let entry = all.get_mut(run)?;
        if entry.in_flight.contains_key(&task) {
            return None;
        }
        let token = CancellationToken::new();
        entry.in_flight.insert(task, token.clone());
        entry
            .rows
            .entry(row.key.digest())
            .or_insert_with(|| row.clone());
        Some(token)
    }

    /// Lets go of a task that has begun and goes on without anybody here.
    pub fn put_down(&self, run: &str, task: Task) {
        if let Some(entry) = self.0.lock().expect("no holder panics").get_mut(run) {
            entry.in_flight.remove(&task);
        }
    }

    /// Notes the acknowledged end of a task.
    pub fn end(&self, run: &str, task: Task, row: Execution) {
        if let Some(entry) = self.0.lock().expect("no holder panics").get_mut(run) {
            entry.in_flight.remove(&task);
            entry.rows.insert(row.key.digest(), row);
        }
    }

    /// Asks the work on a task to end.
    pub fn cancel(&self, run: &str, task: Task) -> bool {
        let all = self.0.lock().expect("no holder panics");
        let token = all.get(run).and_then(|e| e.in_flight.get(&task));
        token.inspect(|t| t.cancel()).is_some()
    }

    /// Forgets a run that has ended, unless work of it is still in flight.
    pub fn close(&self, run: &str) {
        let mut all = self.0.lock().expect("no holder panics");
        if all.get(run).is_some_and(|e| e.in_flight.is_empty()) {
            all.remove(run);
        }
    }
}
