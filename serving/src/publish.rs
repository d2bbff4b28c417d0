//! Tells clients whom to trust: the bundle of authorities in a ConfigMap, for ours, and in `caBundle` of APIServices, for the API server.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    ByteString, api::core::v1::ConfigMap,
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams},
};
use serde_json::json;

use crate::telemetry::chain;

/// Key of the bundle in its ConfigMap.
const KEY: &str = "ca.crt";
/// Between two looks for a bundle that is not there yet.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Where the bundle is told.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Name of the ConfigMap (key `ca.crt`) in the namespace of the certificates.
    pub config_map: String,
    /// APIServices whose `caBundle` follows; one that does not exist yet is told when it does.
    pub api_services: Vec<String>,
    /// Field manager of both.
    pub manager: String,
}

/// The bundle of a ConfigMap, for those who are told. Clones read the same.
#[derive(Clone)]
pub struct Published {
    maps: Api<ConfigMap>,
    name: String,
}

impl Published {
    pub fn new(client: Client, namespace: &str, config_map: &str) -> Self {
        Self {
            maps: Api::namespaced(client, namespace),
            name: config_map.to_owned(),
        }
    }

    /// The bundle as it stands today; none while it cannot be read or is not there.
    pub async fn today(&self) -> Option<String> {
        let map = self.maps.get_opt(&self.name).await;
        let map = map.inspect_err(|e| tracing::warn!(error = chain(e), "bundle is not readable"));
        let bundle = map.ok()??.data?.remove(KEY);
        bundle.filter(|bundle| !bundle.is_empty())
    }

    /// Waits for the bundle; who publishes it may start after us.
    pub async fn first(&self) -> String {
        loop {
            if let Some(bundle) = self.today().await {
                return bundle;
            }
            tracing::info!(
                config_map = self.name,
                "waiting for the bundle of authorities"
            );
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Why somebody was not told.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("ConfigMap {0} could not be written")]
    ConfigMap(String, #[source] Box<kube::Error>),
    #[error("APIService {0} could not be read")]
    Read(String, #[source] Box<kube::Error>),
    #[error("APIService {0} could not be patched")]
    Patch(String, #[source] Box<kube::Error>),
}

impl Publication {
    /// Writes what is not so yet, and repairs what somebody overwrote.
    pub async fn publish(
        &self,
        client: &Client,
        namespace: &str,
        bundle: &str,
    ) -> Result<(), PublishError> {
        self.config_map(client, namespace, bundle).await?;
        for name in &self.api_services {
            self.api_service(client, name, bundle).await?;
        }
        Ok(())
    }

    async fn config_map(
        &self,
        client: &Client,
        namespace: &str,
        bundle: &str,
    ) -> Result<(), PublishError> {
        let failed = |e| PublishError::ConfigMap(self.config_map.clone(), Box::new(e));
        let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
        let wanted = BTreeMap::from([(KEY.to_owned(), bundle.to_owned())]);
        let found = api.get_opt(&self.config_map).await.map_err(failed)?;
        if found.is_some_and(|map| map.data.as_ref() == Some(&wanted)) {
            return Ok(());
        }
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(self.config_map.clone()),
                ..ObjectMeta::default()
            },
            data: Some(wanted),
            ..ConfigMap::default()
        };
        let params = PatchParams::apply(&self.manager).force();
        api.patch(&self.config_map, &params, &Patch::Apply(&map))
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn api_service(
        &self,
        client: &Client,
        name: &str,
        bundle: &str,
    ) -> Result<(), PublishError> {
        let api = Api::<APIService>::all(client.clone());
        let found = api.get_opt(name).await;
        let found = found.map_err(|e| PublishError::Read(name.to_owned(), Box::new(e)))?;
        let wanted = ByteString(bundle.as_bytes().to_vec());
        let Some(spec) = found.map(|f| f.spec.unwrap_or_default()) else {
            return Ok(());
        };
        if spec.ca_bundle.as_ref() == Some(&wanted) {
            return Ok(());
        }
        let patch = Patch::Merge(json!({"spec": {"caBundle": wanted}}));
        let params = PatchParams {
            field_manager: Some(self.manager.clone()),
            ..PatchParams::default()
        };
        let patched = api.patch(name, &params, &patch).await;
        patched.map_err(|e| PublishError::Patch(name.to_owned(), Box::new(e)))?;
        Ok(())
    }
}
