//! Whether those who last wrote what a run carries out may act as its account. Asked anew at every start, since rights change and content is copied.

use crds::v1alpha1::{Job, Origin, Requester, Script};
use decide::Refusal;
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, ResourceAttributes, SubjectAccessReviewSpec,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ObjectMeta, PostParams},
};

use crate::{
    bursts::Bursts,
    context::Context,
    resolve::{Gap, unread},
};

/// An object, and who wrote it last.
pub struct Writer {
    object: String,
    by: Option<Requester>,
}

impl Writer {
    pub fn new(kind: &str, name: &str, by: Option<&Requester>) -> Self {
        Self {
            object: format!("{kind} {name}"),
            by: by.cloned(),
        }
    }

    pub fn by(&self) -> Option<&Requester> {
        self.by.as_ref()
    }

    /// Who had written what a run comes from.
    pub fn behind(origin: &Origin) -> Self {
        Self::new(&origin.kind, &origin.name, Some(&origin.requested_by))
    }

    pub fn of_job(job: &Job) -> Self {
        Self::new("Job", &job.name_any(), job.spec.requested_by.as_ref())
    }

    pub fn of(script: &Script) -> Self {
        Self::new(
            "Script",
            &script.name_any(),
            script.spec.requested_by.as_ref(),
        )
    }
}

/// Refuses a run whose content was last written by somebody who may not impersonate its account.
pub async fn all(
    ctx: &Context,
    namespace: &str,
    account: &str,
    writers: Vec<Writer>,
) -> Result<(), Gap> {
    let mut entitled: Vec<Requester> = Vec::new();
    for Writer { object, by } in writers {
        let Some(by) = by else {
            return Err(Gap::Refused(Refusal::new(
                "NotStamped",
                format!(
                    "spec.requestedBy of {object} is empty; apply it again while the admission policies of the chart are in force"
                ),
            )));
        };
        if entitled.contains(&by) {
            continue;
        }
        if !may_impersonate(ctx, namespace, account, &by).await? {
            return Err(Gap::Refused(Refusal::new(
                "WriterNotEntitled",
                format!(
                    "{object} was last written by {}, who may not impersonate the account {account}; let somebody who may apply it again, or grant the verb impersonate on serviceaccounts/{account}",
                    by.user
                ),
            )));
        }
        entitled.push(by);
    }
    Ok(())
}

/// Answers by namespace, account and who would act as it: many runs start together, and the same few people wrote them.
pub type Rights = Bursts<(String, String, Requester), Result<bool, Gap>>;

async fn may_impersonate(
    ctx: &Context,
    namespace: &str,
    account: &str,
    by: &Requester,
) -> Result<bool, Gap> {
    let question = (namespace.to_owned(), account.to_owned(), by.clone());
    let asked = ResourceAttributes {
        verb: Some("impersonate".to_owned()),
        resource: Some("serviceaccounts".to_owned()),
        name: Some(account.to_owned()),
        ..ResourceAttributes::default()
    };
    let review = async || {
        let answer = reviewed(&ctx.prompt, namespace, by, asked).await;
        answer.map_err(|e| unread(format!("the rights of {}", by.user), e))
    };
    ctx.memory.rights.ask(question, review).await
}

/// Whether somebody may do something in a namespace.
pub async fn reviewed(
    client: &Client,
    namespace: &str,
    by: &Requester,
    asked: ResourceAttributes,
) -> Result<bool, kube::Error> {
    let review = LocalSubjectAccessReview {
        metadata: ObjectMeta {
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        spec: SubjectAccessReviewSpec {
            user: Some(by.user.clone()),
            groups: Some(by.groups.clone()),
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(namespace.to_owned()),
                ..asked
            }),
            ..SubjectAccessReviewSpec::default()
        },
        status: None,
    };
    let reviews: Api<LocalSubjectAccessReview> = Api::namespaced(client.clone(), namespace);
    let answer = reviews.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
