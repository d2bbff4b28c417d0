//! Reviews by the API server: TokenReview and SubjectAccessReview.

use futures::future::BoxFuture;
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{Api, Client, api::PostParams};

use crate::{Attributes, Decision, Review, ReviewError, User};

/// Asks the API server each time; wrap it in [`crate::Remembered`].
#[derive(Clone)]
pub struct ApiReview {
    client: Client,
}

impl ApiReview {
    pub const fn new(client: Client) -> Self {
        Self { client }
    }
}

impl Review for ApiReview {
    fn whose<'a>(
        &'a self,
        token: &'a str,
        audience: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<User>, ReviewError>> {
        Box::pin(async move {
            let review = TokenReview {
                spec: TokenReviewSpec {
                    token: Some(token.to_owned()),
                    audiences: audience.map(|a| vec![a.to_owned()]),
                },
                ..TokenReview::default()
            };
            let api = Api::<TokenReview>::all(self.client.clone());
            let answer = api.create(&PostParams::default(), &review).await;
            let status = answer
                .map_err(|e| ReviewError::Token(Box::new(e)))?
                .status
                .unwrap_or_default();
            // An API server that does not know audiences answers without them, and then vouches for its own only.
            let meant = audience.is_none_or(|a| status.audiences.iter().flatten().any(|s| s == a));
            let owner = status
                .user
                .filter(|_| status.authenticated == Some(true) && meant);
            Ok(owner.and_then(user))
        })
    }

    fn may<'a>(
        &'a self,
        user: &'a User,
        attributes: &'a Attributes,
    ) -> BoxFuture<'a, Result<Decision, ReviewError>> {
        Box::pin(async move {
            let review = SubjectAccessReview {
                spec: question(user, attributes),
                ..SubjectAccessReview::default()
            };
            let api = Api::<SubjectAccessReview>::all(self.client.clone());
            let answer = api.create(&PostParams::default(), &review).await;
            let status = answer
                .map_err(|e| ReviewError::Access(Box::new(e)))?
                .status
                .unwrap_or_default();
            Ok(Decision {
                allowed: status.allowed && status.denied != Some(true),
                reason: status.reason.unwrap_or_default(),
            })
        })
    }
}

fn user(info: UserInfo) -> Option<User> {
    Some(User {
        name: info.username.filter(|name| !name.is_empty())?,
        uid: info.uid,
        groups: info.groups.unwrap_or_default(),
        extra: info.extra.unwrap_or_default(),
    })
}

fn question(user: &User, attributes: &Attributes) -> SubjectAccessReviewSpec {
    SubjectAccessReviewSpec {
        user: Some(user.name.clone()),
        uid: user.uid.clone(),
        groups: Some(user.groups.clone()),
        extra: Some(user.extra.clone()),
        resource_attributes: Some(ResourceAttributes {
            verb: Some(attributes.verb.clone()),
            group: Some(attributes.group.clone()),
            version: Some(attributes.version.clone()),
            resource: Some(attributes.resource.clone()),
            subresource: attributes.subresource.clone(),
            namespace: attributes.namespace.clone(),
            name: attributes.name.clone(),
            ..ResourceAttributes::default()
        }),
        ..SubjectAccessReviewSpec::default()
    }
}
