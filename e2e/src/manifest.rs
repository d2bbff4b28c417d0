//! Manifests as people write them: YAML documents of any kind, applied as `kubectl apply --server-side` does.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{
    Api, Client, Result,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
    discovery::{Scope, pinned_kind},
};
use serde_json::{Value, json};

use crate::cluster::demands_requester;

/// One object, not yet anywhere.
#[derive(Clone, Debug)]
pub struct Manifest {
    object: DynamicObject,
    /// Goes as it is written where the writer has to sign.
    unsigned: bool,
}

impl Manifest {
    /// Every document of a YAML text.
    pub fn read(yaml: &str) -> Vec<Self> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(yaml)
            .unwrap_or_else(|error| panic!("no YAML: {error}\n{yaml}"));
        documents.into_iter().map(Self::from_json).collect()
    }

    /// An object already in the shape of JSON.
    pub fn from_json(document: Value) -> Self {
        Self {
            object: serde_json::from_value(document)
                .expect("an object has apiVersion, kind and metadata"),
            unsigned: false,
        }
    }

    /// An object of our own API.
    pub fn of(kind: &str, name: &str, spec: &Value) -> Self {
        Self::from_json(
            json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}),
        )
    }

    /// The same object in another namespace; one that belongs to none stays so when it is applied.
    #[must_use]
    pub fn within(mut self, namespace: &str) -> Self {
        self.object.metadata.namespace = Some(namespace.to_owned());
        self
    }

    /// The same object, not signed by its writer.
    #[must_use]
    pub fn unsigned(mut self) -> Self {
        self.unsigned = true;
        self
    }

    /// The object in the shape of JSON.
    pub fn into_json(self) -> Value {
        serde_json::to_value(self.object).expect("an object is plain data")
    }

    /// Its name; one that the API server gives is none.
    pub fn name(&self) -> String {
        self.object.metadata.name.clone().unwrap_or_default()
    }

    /// Kind and name, for messages.
    pub fn title(&self) -> String {
        let kind = self.object.types.as_ref().map_or("?", |types| &types.kind);
        let name = self.object.metadata.name.as_ref().or(self
            .object
            .metadata
            .generate_name
            .as_ref());
        format!("{kind} {}", name.map_or("?", |name| name))
    }

    pub async fn create(&self, client: &Client) -> Result<DynamicObject> {
        self.post(client, &PostParams::default()).await
    }

    /// What the API server would make of it, with nothing kept.
    pub async fn try_create(&self, client: &Client) -> Result<DynamicObject> {
        self.post(
            client,
            &PostParams {
                dry_run: true,
                ..PostParams::default()
            },
        )
        .await
    }

    pub async fn apply(&self, client: &Client) -> Result<DynamicObject> {
        self.patch(client, &PatchParams::apply("pilothouse-e2e").force())
            .await
    }

    /// What applying it would make, with nothing kept.
    pub async fn try_apply(&self, client: &Client) -> Result<DynamicObject> {
        self.patch(
            client,
            &PatchParams::apply("pilothouse-e2e").force().dry_run(),
        )
        .await
    }

    /// The API of this object's kind, in its namespace.
    pub async fn api(&self, client: &Client) -> Result<Api<DynamicObject>> {
        let types = self
            .object
            .types
            .as_ref()
            .expect("an object has apiVersion and kind");
        let kind = GroupVersionKind::try_from(types).expect("apiVersion is group/version");
        let (resource, capabilities) = pinned_kind(client, &kind).await?;
        Ok(
            match (
                capabilities.scope,
                self.object.metadata.namespace.as_deref(),
            ) {
                (Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
                (Scope::Namespaced, namespace) => {
                    Api::namespaced_with(client.clone(), namespace.unwrap_or("default"), &resource)
                }
            },
        )
    }

    async fn post(&self, client: &Client, parameters: &PostParams) -> Result<DynamicObject> {
        let api = self.api(client).await?;
        let object = self.signed(client, self.placed(&api)).await?;
        api.create(parameters, &object).await
    }

    async fn patch(&self, client: &Client, parameters: &PatchParams) -> Result<DynamicObject> {
        let name = self
            .object
            .metadata
            .name
            .as_deref()
            .expect("only a named object can be applied");
        let api = self.api(client).await?;
        let object = self.signed(client, self.placed(&api)).await?;
        api.patch(name, parameters, &Patch::Apply(object)).await
    }

    /// With the user and groups of its writer, where the API server does not write them itself.
    async fn signed(&self, client: &Client, mut object: DynamicObject) -> Result<DynamicObject> {
        let types = object.types.as_ref();
        let ours = types.is_some_and(|types| types.api_version.starts_with("pilothouse.dev/"));
        if !ours || self.unsigned || !demands_requester() {
            return Ok(object);
        }
        let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
        let review = SelfSubjectReview::default();
        let seen = reviews.create(&PostParams::default(), &review).await?;
        let me = seen.status.and_then(|status| status.user_info);
        let me = me.expect("the API server knows who asks");
        if let Some(spec) = object.data["spec"].as_object_mut() {
            let requester = json!({"user": me.username, "groups": me.groups});
            spec.insert("requestedBy".to_owned(), requester);
        }
        Ok(object)
    }

    /// An object of the whole cluster carries no namespace.
    fn placed(&self, api: &Api<DynamicObject>) -> DynamicObject {
        let mut object = self.object.clone();
        object.metadata.namespace = api.namespace().map(str::to_owned);
        object
    }
}
