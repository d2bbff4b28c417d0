//! Clients that act as a run's service account, so that a run can do what its account may and nothing more.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use kube::{Client, Config};
use reach::Fence;

use crate::{
    error::Result,
    fenced,
    listed::Listed,
    precedence::Precedence,
    resolve::{Lanes, Resolver, Secrets},
};

/// Clients by account; each is made once.
pub struct Accounts {
    config: Config,
    fence: Fence,
    precedence: Precedence,
    clients: Mutex<HashMap<String, Client>>,
    secrets: Arc<Secrets>,
    lanes: Arc<Lanes>,
    listed: Arc<Listed>,
}

impl Accounts {
    pub fn new(config: Config, fence: Fence, precedence: Precedence) -> Self {
        Self {
            config,
            fence,
            precedence,
            clients: Mutex::default(),
            secrets: Arc::default(),
            lanes: Arc::default(),
            listed: Arc::default(),
        }
    }

    /// Reads with the rights of the service account.
    pub fn resolver(&self, namespace: &str, account: &str) -> Result<Resolver> {
        Ok(Resolver {
            client: self.client(namespace, account)?,
            namespace: namespace.to_owned(),
            account: account.to_owned(),
            secrets: self.secrets.clone(),
            lanes: self.lanes.clone(),
            listed: self.listed.clone(),
        })
    }

    /// A client that acts as the service account.
    pub fn client(&self, namespace: &str, account: &str) -> Result<Client> {
        let user = user(namespace, account);
        let mut clients = self.clients.lock().expect("no holder panics");
        if let Some(client) = clients.get(&user) {
            return Ok(client.clone());
        }
        let mut config = self.config.clone();
        namespace.clone_into(&mut config.default_namespace);
        config.auth_info.impersonate = Some(user.clone());
        let client = fenced::client(config, &self.fence, &self.precedence)?;
        clients.insert(user, client.clone());
        Ok(client)
    }
}

/// The account as the API server names it.
pub fn user(namespace: &str, account: &str) -> String {
    format!("system:serviceaccount:{namespace}:{account}")
}
