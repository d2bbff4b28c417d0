//! Requests that fail while the webhook's authority and certificate are rotated. What else takes months is had at once: an authority that is published beside the old one is
//! replaced by one of the same name and key that says it is two days old, and the webhook signs with it.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant, SystemTime},
};

use futures::future::join_all;
use k8s_openapi::{
    ByteString,
    api::{
        admissionregistration::v1::ValidatingWebhookConfiguration, apps::v1::Deployment,
        core::v1::Secret,
    },
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::json;
use tokio::time::{sleep, sleep_until, timeout};

use crate::{
    Report, Result, Row,
    door::{ASKED, deployment},
    through,
};

/// Requests a second, and callers that they are shared among.
const RATE: u32 = 500;
const CALLERS: u32 = 32;
const DAY: Duration = Duration::from_hours(24);
const SECRET: &str = "pilothouse-webhook-tls";
/// The webhook looks at its Secret twice a minute.
const PATIENCE: Duration = Duration::from_mins(2);

/// Asks for as long as the rotation takes, and some seconds before and after.
pub async fn row(client: &Client, report: &mut Report) -> Result<()> {
    let load = Load::default();
    let began = Instant::now();
    let asked = join_all((0..CALLERS).map(|n| load.asks(client, n, began)));
    let rotated = async {
        let rotated = rotated(client).await;
        load.over.store(true, Ordering::Relaxed);
        rotated
    };
    let (rotated, _) = tokio::join!(rotated, asked);
    rotated?;
    let (failed, all) = (load.failed.into_inner(), load.all.into_inner());
    let rate = f64::from(u32::try_from(all)?) / began.elapsed().as_secs_f64();
    println!("{failed} of {all} requests failed in a rotation, at {rate:.0} a second");
    report.push(Row::at_most(
        "rotation of the certificate, requests that fail",
        "",
        f64::from(u32::try_from(failed)?),
        0.0,
    ));
    report.push(Row::alone(
        "rotation of the certificate, requests a second",
        "1/s",
        rate,
        ">= 475",
        rate >= 475.0,
    ));
    Ok(())
}

#[derive(Default)]
struct Load {
    over: AtomicBool,
    all: AtomicUsize,
    failed: AtomicUsize,
}

impl Load {
    /// One caller's share of the requests, each when it is due.
    async fn asks(&self, client: &Client, caller: u32, began: Instant) -> Result<()> {
        let object: Deployment = serde_json::from_value(deployment(4))?;
        for turn in (caller..).step_by(usize::try_from(CALLERS)?) {
            sleep_until((began + Duration::from_secs(1) / RATE * turn).into()).await;
            if self.over.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.all.fetch_add(1, Ordering::Relaxed);
            if let Err(failure) = through::created(client, ASKED, &object).await
                && self.failed.fetch_add(1, Ordering::Relaxed) < 5
            {
                println!("a request failed: {failure}");
            }
        }
        Ok(())
    }
}

/// Both steps, each once the API server and the webhook have seen it.
async fn rotated(client: &Client) -> Result<()> {
    sleep(Duration::from_secs(5)).await;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "pilothouse-system");
    let before = leaf(&secrets).await?;
    let key = KeyPair::generate()?;
    let fresh = authority(&key, Duration::ZERO)?;
    keep(&secrets, &fresh, &key).await?;
    timeout(PATIENCE, believed(client, &fresh)).await??;
    keep(&secrets, &authority(&key, 2 * DAY)?, &key).await?;
    let signed = async {
        while leaf(&secrets).await? == before {
            sleep(Duration::from_millis(100)).await;
        }
        Ok::<_, kube::Error>(())
    };
    timeout(PATIENCE, signed).await??;
    // The other replica, where there is one, looks as often.
    sleep(Duration::from_secs(35)).await;
    Ok(())
}

/// One of this age, by a name that is always the same.
fn authority(key: &KeyPair, age: Duration) -> Result<String> {
    let mut params = CertificateParams::default();
    let name = &mut params.distinguished_name;
    name.push(DnType::CommonName, "pilothouse rotated");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let begins = SystemTime::now() - age;
    (params.not_before, params.not_after) = (begins.into(), (begins + 365 * DAY).into());
    Ok(params.self_signed(key)?.pem())
}

/// Puts it beside the first one.
async fn keep(secrets: &Api<Secret>, certificate: &str, key: &KeyPair) -> Result<()> {
    let data = BTreeMap::from([
        ("authority-1.crt", ByteString(certificate.into())),
        ("authority-1.key", ByteString(key.serialize_pem().into())),
    ]);
    let patch = Patch::Merge(json!({"data": data}));
    secrets
        .patch(SECRET, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

async fn leaf(secrets: &Api<Secret>) -> kube::Result<Option<ByteString>> {
    let secret = secrets.get(SECRET).await?;
    Ok(secret.data.and_then(|mut data| data.remove("tls.crt")))
}

/// Until the API server is told to believe it wherever it asks.
async fn believed(client: &Client, certificate: &str) -> kube::Result<()> {
    let all: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    loop {
        let found = all.get("pilothouse-commands").await?;
        let webhooks = found.webhooks.unwrap_or_default();
        let believes = webhooks.iter().all(|webhook| {
            let bundle = webhook.client_config.ca_bundle.as_ref();
            bundle.is_some_and(|b| String::from_utf8_lossy(&b.0).contains(certificate))
        });
        if believes {
            return Ok(());
        }
        sleep(Duration::from_millis(100)).await;
    }
}
