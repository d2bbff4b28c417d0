//! Whom the API server's front proxy speaks for: `X-Remote-*` headers count only on a connection whose client certificate the front-proxy authority
//! signed for an allowed name. What that authority is stands in a ConfigMap of kube-system, followed while it changes.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use futures::{StreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{User, telemetry::chain};

/// Where the API server publishes it.
const NAMESPACE: &str = "kube-system";
const CONFIG_MAP: &str = "extension-apiserver-authentication";

/// Headers of our own front.
const USER: &str = "X-Remote-User";
const UID: &str = "X-Remote-Uid";
const GROUP: &str = "X-Remote-Group";
const EXTRA: &str = "X-Remote-Extra-";

/// The API server's own words about its front proxy; empty (and then nobody is believed) until they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrontProxy {
    /// PEM bundle of the authorities.
    pub authorities: String,
    /// Common names that may speak; any when empty.
    pub allowed_names: Vec<String>,
    pub user_headers: Vec<String>,
    pub uid_headers: Vec<String>,
    pub group_headers: Vec<String>,
    pub extra_prefixes: Vec<String>,
}

impl FrontProxy {
    fn read(data: &BTreeMap<String, String>) -> Self {
        let list = |key: &str| -> Vec<String> {
            let text = data.get(key).map_or("[]", String::as_str);
            serde_json::from_str(text).unwrap_or_default()
        };
        Self {
            authorities: data
                .get("requestheader-client-ca-file")
                .cloned()
                .unwrap_or_default(),
            allowed_names: list("requestheader-allowed-names"),
            user_headers: list("requestheader-username-headers"),
            uid_headers: list("requestheader-uid-headers"),
            group_headers: list("requestheader-group-headers"),
            extra_prefixes: list("requestheader-extra-headers-prefix"),
        }
    }

    /// The headers in which our own front speaks for others.
    pub fn ours() -> Self {
        Self {
            user_headers: vec![USER.into()],
            uid_headers: vec![UID.into()],
            group_headers: vec![GROUP.into()],
            extra_prefixes: vec![EXTRA.into()],
            ..Self::default()
        }
    }

    /// What `ours` reads as this user.
    pub fn headers(user: &User) -> HeaderMap {
        let mut all = HeaderMap::new();
        let mut put = |name: &str, value: &str| {
            let name = HeaderName::try_from(name.to_ascii_lowercase());
            // What is no header text names nobody: left out, it grants nothing.
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
                all.append(name, value);
            }
        };
        put(USER, &user.name);
        if let Some(uid) = &user.uid {
            put(UID, uid);
        }
        for group in &user.groups {
            put(GROUP, group);
        }
        for (key, values) in &user.extra {
            let name = format!("{EXTRA}{}", escaped(key));
            for value in values {
                put(&name, value);
            }
        }
        all
    }

    /// Whether a certificate of this name, already verified against `authorities`, may speak for others.
    pub fn allows(&self, common_name: &str) -> bool {
        self.allowed_names.is_empty() || self.allowed_names.iter().any(|n| n == common_name)
    }

    /// For whom the headers speak.
    pub fn user(&self, headers: &HeaderMap) -> Option<User> {
        let first = |names: &[String]| names.iter().find_map(|n| text(headers.get(n)?));
        let name = first(&self.user_headers).filter(|name| !name.is_empty())?;
        let groups = self.group_headers.iter().flat_map(|n| headers.get_all(n));
        Some(User {
            name,
            uid: first(&self.uid_headers),
            groups: groups.filter_map(text).collect(),
            extra: self.extra(headers),
        })
    }

    fn extra(&self, headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
        let mut extra = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in headers {
            let mut prefixes = self.extra_prefixes.iter().map(|p| p.to_ascii_lowercase());
            let key = prefixes.find_map(|p| name.as_str().strip_prefix(p.as_str()));
            if let (Some(key), Some(value)) = (key, text(value)) {
                extra.entry(unescaped(key)).or_default().push(value);
            }
        }
        extra
    }
}

fn text(value: &axum::http::HeaderValue) -> Option<String> {
    String::from_utf8(value.as_bytes().to_vec()).ok()
}

/// Keys of extra fields are percent-encoded, because header names cannot hold every character.
fn unescaped(key: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = key.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail
            .get(..2)
            .filter(|_| first == b'%')
            .and_then(|two| hex::decode(two).ok());
        if let Some(code) = code {
            bytes.extend(code);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| key.to_owned())
}

/// Everything but letters, digits and hyphens, so that each key is a header's name.
fn escaped(key: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
        other => format!("%{other:02x}"),
    };
    key.bytes().map(byte).collect()
}

/// Follows the ConfigMap until the token is cancelled.
pub fn follow(client: Client, shutdown: CancellationToken) -> watch::Receiver<FrontProxy> {
    let (tell, current) = watch::channel(FrontProxy::default());
    tokio::spawn(shutdown.run_until_cancelled_owned(async move {
        let api = Api::<ConfigMap>::namespaced(client, NAMESPACE);
        let changes = watcher::watch_object(api, CONFIG_MAP).default_backoff();
        pin_mut!(changes);
        while let Some(change) = changes.next().await {
            match change {
                Ok(found) => {
                    let data = found.and_then(|map| map.data).unwrap_or_default();
                    let read = FrontProxy::read(&data);
                    tell.send_if_modified(|now| std::mem::replace(now, read.clone()) != read);
                }
                Err(e) => {
                    tracing::warn!(error = chain(&e), "front proxy settings are not readable");
                }
            }
        }
    }));
    current
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::http::{HeaderMap, HeaderName, HeaderValue};

    use super::FrontProxy;
    use crate::User;

    fn settings() -> FrontProxy {
        let data = [
            ("requestheader-client-ca-file", "PEM"),
            ("requestheader-allowed-names", r#"["front-proxy-client"]"#),
            ("requestheader-username-headers", r#"["X-Remote-User"]"#),
            ("requestheader-group-headers", r#"["X-Remote-Group"]"#),
            (
                "requestheader-extra-headers-prefix",
                r#"["X-Remote-Extra-"]"#,
            ),
        ];
        FrontProxy::read(&data.map(|(k, v)| (k.to_owned(), v.to_owned())).into())
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(k, v): &(&str, &str)| {
            let name = HeaderName::try_from(*k).expect("a name");
            (name, HeaderValue::from_str(v).expect("a value"))
        };
        let mut all = HeaderMap::new();
        for (k, v) in pairs.iter().map(pair) {
            all.append(k, v);
        }
        all
    }

    #[test]
    fn headers_tell_user_groups_and_extra() {
        let asked = headers(&[
            ("X-Remote-User", "ann"),
            ("X-Remote-Group", "ops"),
            ("X-Remote-Group", "system:authenticated"),
            ("X-Remote-Extra-Example.com%2fScope", "read"),
        ]);
        let user = settings().user(&asked).expect("a user");
        assert_eq!(user.name, "ann");
        assert_eq!(user.groups, ["ops", "system:authenticated"]);
        let scope = BTreeMap::from([("example.com/scope".to_owned(), vec!["read".to_owned()])]);
        assert_eq!(user.extra, scope);
    }

    #[test]
    fn our_front_is_understood_by_our_store() {
        let user = User {
            name: "ann".into(),
            uid: Some("7".into()),
            groups: vec!["ops".into(), "system:authenticated".into()],
            extra: BTreeMap::from([("Example.com/Scope".into(), vec!["read".into()])]),
        };
        assert_eq!(
            FrontProxy::ours().user(&FrontProxy::headers(&user)),
            Some(user)
        );
        let unspeakable = User {
            name: "a\nb".into(),
            ..User::default()
        };
        assert_eq!(
            FrontProxy::ours().user(&FrontProxy::headers(&unspeakable)),
            None
        );
    }

    #[test]
    fn nobody_is_nobody() {
        assert_eq!(
            settings().user(&headers(&[("X-Remote-Group", "system:masters")])),
            None
        );
        assert_eq!(settings().user(&headers(&[("X-Remote-User", "")])), None);
        assert_eq!(
            FrontProxy::default().user(&headers(&[("X-Remote-User", "ann")])),
            None
        );
    }

    #[test]
    fn only_listed_names_may_speak() {
        assert!(settings().allows("front-proxy-client"));
        assert!(!settings().allows("kubelet"));
        assert!(
            FrontProxy::default().allows("anyone"),
            "no list means any certificate of that authority"
        );
    }
}
