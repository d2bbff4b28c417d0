//! Which cluster, as whom: kubeconfig and its flags, read as kubectl reads them.

use std::path::PathBuf;

use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::error::{Error, Result};

/// Flags of kubectl that say where to go and as whom.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Connection {
    /// Namespace; otherwise that of the context
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,
    /// Context of the kubeconfig
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// Cluster of the kubeconfig
    #[arg(long, global = true)]
    pub cluster: Option<String>,
    /// User of the kubeconfig
    #[arg(long, global = true)]
    pub user: Option<String>,
    /// Path of the kubeconfig; otherwise KUBECONFIG, then ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// User to act as
    #[arg(long = "as", global = true, value_name = "USER")]
    pub act_as: Option<String>,
    /// Group to act as; may be given more than once
    #[arg(long = "as-group", global = true, value_name = "GROUP")]
    pub act_as_groups: Vec<String>,
}

impl Connection {
    /// The configuration of the client, with every flag in it.
    pub async fn config(&self) -> Result<Config> {
        let mut config = self.found().await?;
        if let Some(namespace) = &self.namespace {
            config.default_namespace.clone_from(namespace);
        }
        if self.act_as.is_some() {
            config.auth_info.impersonate.clone_from(&self.act_as);
        }
        if !self.act_as_groups.is_empty() {
            config.auth_info.impersonate_groups = Some(self.act_as_groups.clone());
        }
        Ok(config)
    }

    async fn found(&self) -> Result<Config> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            cluster: self.cluster.clone(),
            user: self.user.clone(),
        };
        if let Some(path) = &self.kubeconfig {
            let file = Kubeconfig::read_from(path).map_err(Error::kubeconfig)?;
            return Config::from_custom_kubeconfig(file, &options)
                .await
                .map_err(Error::kubeconfig);
        }
        let chosen = self.context.is_some() || self.cluster.is_some() || self.user.is_some();
        match Config::from_kubeconfig(&options).await {
            Ok(config) => Ok(config),
            // In a pod there is no kubeconfig, and kubectl takes the pod's own account.
            Err(error) if !chosen => Config::incluster().map_err(|_| Error::kubeconfig(error)),
            Err(error) => Err(Error::kubeconfig(error)),
        }
    }
}
