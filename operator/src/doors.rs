//! What the API server has been told to ask about: one object holds the webhooks of all CommandPolicies, the one of ChangeTickets and the one of risks, and is written whenever a policy changes, the authority of their
//! certificate does, or somebody else has written it.

use std::{sync::Arc, time::Duration};

use crds::v1alpha1::CommandPolicy;
use decide::admission::{Place, of_risks, of_tickets, webhooks};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::{
    Api, Client, Resource as _,
    api::{Patch, PatchParams},
    core::{DeserializeGuard, ObjectMeta},
};
use serving::Published;
use tokio::{sync::Notify, time::timeout};

use crate::{
    context::Context,
    error::{self, Error, Result, acting},
    heard::{self, Known},
};

/// The object; the chart brings it, empty.
const NAME: &str = "pilothouse-commands";
/// The service, and the ConfigMap with the authorities of its certificate.
const SERVICE: &str = "pilothouse-webhook";
const BUNDLE: &str = "pilothouse-webhook-ca";
const MANAGER: &str = "pilothouse-commandpolicy";
/// Between two looks when nothing is heard of.
pub const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// The way to tell the API server.
pub struct Doors {
    namespace: String,
    published: Published,
    changed: Notify,
}

impl Doors {
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            published: Published::new(client, namespace, BUNDLE),
            changed: Notify::new(),
        }
    }

    /// Has the object written anew soon.
    pub fn changed(&self) {
        self.changed.notify_one();
    }

    /// Writes the object as the policies want it.
    pub async fn tell(&self, ctx: &Context, known: &Known<CommandPolicy>) -> Result<()> {
        let bundle = self.published.today().await;
        let bundle = bundle.ok_or(Error::NoWebhook { config_map: BUNDLE })?;
        let place = Place {
            namespace: self.namespace.clone(),
            service: SERVICE.to_owned(),
            operator: ctx.me.user.clone(),
            bundle,
        };
        let all: Vec<Arc<DeserializeGuard<CommandPolicy>>> = heard::all(known).await?;
        let readable = all.iter().filter_map(|policy| policy.0.as_ref().ok());
        let mut asked = webhooks(readable, &place);
        asked.extend([of_risks(&place), of_tickets(&place)]);
        let wanted = ValidatingWebhookConfiguration {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                ..ObjectMeta::default()
            },
            webhooks: Some(asked),
        };
        let api = Api::<ValidatingWebhookConfiguration>::all(ctx.client.clone());
        let params = PatchParams::apply(MANAGER).force();
        let written = api.patch(NAME, &params, &Patch::Apply(&wanted)).await;
        let kind = ValidatingWebhookConfiguration::kind(&());
        written.map(drop).map_err(acting(format!("{kind} {NAME}")))
    }

    /// Keeps the object as it has to be. One whose policy is gone has no turn, so that this hears of it here.
    pub async fn keep(&self, ctx: &Context, known: Option<Known<CommandPolicy>>) {
        let Some(known) = known else {
            return;
        };
        loop {
            if let Err(error) = self.tell(ctx, &known).await {
                tracing::warn!(error = %error::chain(&error), "the API server is not told what to ask");
            }
            // Late is as good as told.
            let _ = timeout(LOOK_AGAIN, self.changed.notified()).await;
        }
    }
}
