//! UIDs of namespaces, which records are keyed by.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt as _};

use crate::{
    bursts::Bursts,
    error::{Error, Result},
};

pub struct Namespaces {
    all: Api<Namespace>,
    /// By run, since a namespace of the same name may be another one tomorrow.
    of_runs: Mutex<HashMap<String, String>>,
    now: Bursts<String, Result<String, Arc<kube::Error>>>,
}

impl Namespaces {
    pub fn new(client: Client) -> Self {
        Self {
            all: Api::all(client),
            of_runs: Mutex::default(),
            now: Bursts::default(),
        }
    }

    /// The UID of a namespace as it is now.
    pub async fn now(&self, name: &str) -> Result<String> {
        let read = async || {
            let namespace = self.all.get(name).await;
            let uid = namespace.map(|found| found.uid().unwrap_or_default());
            uid.map_err(Arc::new)
        };
        let uid = self.now.ask(name.to_owned(), read).await;
        uid.map_err(|source| Error::Observe {
            what: format!("Namespace {name}"),
            source,
        })
    }

    /// The UID of a run's namespace.
    pub async fn of_run(&self, run: &str, name: &str) -> Result<String> {
        if let Some(uid) = self.of_runs().get(run) {
            return Ok(uid.clone());
        }
        let uid = self.now(name).await?;
        self.of_runs().insert(run.to_owned(), uid.clone());
        Ok(uid)
    }

    /// Forgets a run that has ended.
    pub fn forget(&self, run: &str) {
        self.of_runs().remove(run);
    }

    fn of_runs(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.of_runs.lock().expect("no holder panics")
    }
}
