//! What a leader holds in memory of objects. Each begins with none of it, and finds it anew.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Instant,
};

use crds::v1alpha1::ChangeCalendar;

use crate::{
    awaiting::Awaiting, bursts::Bursts, claims::Claims, entitled::Rights, error::Result,
    latest::Latest, ledgers::Ledgers, reached::Definitions, scales::Scales, sweeps::Sweeps,
    users::Users,
};

/// ChangeCalendars by namespace and name: many tasks that refer to one are due together, and many policies flip with one.
pub type Calendars = Bursts<[String; 2], Result<Option<Arc<ChangeCalendar>>, Arc<kube::Error>>>;

#[derive(Default)]
pub struct Memory {
    /// Runs that wait for what people say.
    pub awaiting: Awaiting,
    pub ledgers: Ledgers,
    pub claims: Claims,
    pub latest: Latest,
    /// When the status of a run was written last.
    pub reported: Mutex<HashMap<String, Instant>>,
    pub failures: Failures,
    pub sweeps: Sweeps,
    /// Who names which Parameter.
    pub users: Users,
    pub calendars: Calendars,
    pub definitions: Definitions,
    pub rights: Rights,
    pub scales: Scales,
}

/// How often an object's turns failed in a row.
#[derive(Default)]
pub struct Failures(Mutex<HashMap<String, u32>>);

impl Failures {
    pub fn failed(&self, uid: &str) -> u32 {
        let mut all = self.0.lock().expect("no holder panics");
        let count = all.entry(uid.to_owned()).or_default();
        *count += 1;
        *count - 1
    }

    pub fn succeeded(&self, uid: &str) {
        self.0.lock().expect("no holder panics").remove(uid);
    }
}
