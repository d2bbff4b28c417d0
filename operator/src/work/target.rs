//! A Host object becomes what SSH needs: address, login, credentials read as the account, host keys, and the way through a jump host.

use crds::{
    names::SECRET_TYPE_SSH,
    v1alpha1::{Escalation, Host, HostKeyPolicy},
};
use kube::ResourceExt as _;
use reach::ssh::{Credentials, HostKeys, Target};

use crate::resolve::{Gap, Resolver};
use decide::Refusal;

/// Reason of a host whose key nobody has pinned yet.
pub const NOT_PINNED: &str = "NotPinnedYet";
/// Jump hosts in a row.
const HOPS: usize = 4;

/// The machine as SSH sees it. With `first_look`, an unpinned TrustOnFirstUse host may show a key that the caller pins.
pub async fn of(resolver: &Resolver, host: &Host, first_look: bool) -> Result<Target, Gap> {
    let mut chain = vec![single(resolver, host, first_look).await?];
    let mut next = host.spec.jump_host_ref.clone();
    while let Some(reference) = next {
        if chain.len() > HOPS {
            return Err(refused(
                "TooManyJumps",
                format!(
                    "Host {}: more than {HOPS} jump hosts in a row, or a circle of them",
                    host.name_any()
                ),
            ));
        }
        let jump = resolver
            .host(
                &reference.name,
                &format!("Host {} spec.jumpHostRef", host.name_any()),
            )
            .await?;
        chain.push(single(resolver, &jump, false).await?);
        next = jump.spec.jump_host_ref;
    }
    let mut target = chain.pop().expect("the chain starts with the host itself");
    while let Some(mut before) = chain.pop() {
        before.jump = Some(Box::new(target));
        target = before;
    }
    target
        .credentials
        .permit(&target)
        .map_err(|e| refused(e.reason(), e.to_string()))?;
    Ok(target)
}

async fn single(resolver: &Resolver, host: &Host, first_look: bool) -> Result<Target, Gap> {
    let (spec, name) = (&host.spec, host.name_any());
    let field = format!("Host {name} spec.credentialsRef");
    let secret = resolver.secret(&spec.credentials_ref.name, &field).await?;
    if secret.type_.as_deref() != Some(SECRET_TYPE_SSH) {
        return Err(refused(
            "WrongSecretType",
            format!(
                "{field}: Secret {} is not of type {SECRET_TYPE_SSH}; create it with that type and the addresses it may be used with",
                spec.credentials_ref.name
            ),
        ));
    }
    let data = secret.data.unwrap_or_default();
    let credentials = Credentials::from_secret(&data).map_err(|e| {
        let named = &spec.credentials_ref.name;
        refused(e.reason(), format!("{field}: Secret {named}: {e}"))
    })?;
    Ok(Target {
        team: resolver.namespace.clone(),
        name,
        address: spec.address.clone(),
        port: u16::try_from(spec.port).expect("the schema bounds the port"),
        user: spec.user.clone(),
        credentials,
        host_keys: host_keys(host, first_look)?,
        sudo: spec.escalation == Escalation::Sudo,
        jump: None,
        node: spec.node_name.clone(),
    })
}

fn host_keys(host: &Host, first_look: bool) -> Result<HostKeys, Gap> {
    let pinned = host
        .status
        .as_ref()
        .and_then(|s| s.pinned_host_key.as_deref());
    if host.spec.host_key_policy == HostKeyPolicy::Pinned {
        return pin(host, host.spec.host_keys.iter().map(String::as_str));
    }
    match pinned {
        Some(key) => pin(host, [key]),
        None if first_look => Ok(HostKeys::trust_on_first_use()),
        None => Err(refused(
            NOT_PINNED,
            format!(
                "Host {} was not looked at yet, so its key is not pinned; wait until it is Reachable",
                host.name_any()
            ),
        )),
    }
}

fn pin<'a>(host: &Host, keys: impl IntoIterator<Item = &'a str>) -> Result<HostKeys, Gap> {
    HostKeys::pinned(keys).map_err(|e| {
        refused(
            e.reason(),
            format!("Host {} spec.hostKeys: {e}", host.name_any()),
        )
    })
}

fn refused(reason: &'static str, message: String) -> Gap {
    Gap::Refused(Refusal::new(reason, message))
}
