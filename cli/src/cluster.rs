//! The cluster as the caller may use it: typed reads that say what was not found.

use crds::v1alpha1::{Job, JobRun};
use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::{
    connection::Connection,
    error::{Error, Result, doing},
};

/// A connection and the namespace that commands speak of.
pub struct Cluster {
    pub client: Client,
    pub namespace: String,
}

impl Cluster {
    pub async fn connect(connection: &Connection) -> Result<Self> {
        let config = connection.config().await?;
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config).map_err(|e| Error::Client(Box::new(e)))?;
        Ok(Self { client, namespace })
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub async fn run(&self, name: &str) -> Result<JobRun> {
        self.get("JobRun", name).await
    }

    pub async fn job(&self, name: &str) -> Result<Job> {
        self.get("Job", name).await
    }

    pub async fn get<K>(&self, kind: &'static str, name: &str) -> Result<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let found = self
            .api::<K>()
            .get_opt(name)
            .await
            .map_err(doing(format!("read {kind} {name}")))?;
        found.ok_or_else(|| self.not_found(kind, name))
    }

    pub fn not_found(&self, kind: &'static str, name: &str) -> Error {
        Error::NotFound {
            kind,
            name: name.to_owned(),
            namespace: self.namespace.clone(),
        }
    }

    /// A command line of this plugin, to copy.
    pub fn command(&self, rest: &str) -> String {
        command(&self.namespace, rest)
    }
}

/// A command line of this plugin in a namespace, to copy.
pub fn command(namespace: &str, rest: &str) -> String {
    format!("kubectl pilothouse {rest} -n {namespace}")
}
