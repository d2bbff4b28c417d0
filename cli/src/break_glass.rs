//! Breaking the glass: a BreakGlass in the caller's name, and until when it lets them pass.

use std::time::Duration;

use crds::v1alpha1::{BreakGlass, BreakGlassSpec, Requester, find_condition};
use kube::{ResourceExt as _, api::PostParams};
use tokio::time::{Instant, sleep};

use crate::{
    args::BreakGlassArgs,
    caller,
    cluster::Cluster,
    error::{Error, Result, doing},
    output::{self, Format},
};

/// How long the operator is waited for.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks for it.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

pub async fn break_glass(
    cluster: &Cluster,
    asked: &BreakGlassArgs,
    format: Option<Format>,
) -> Result<u8> {
    let by = caller::requester(cluster).await?;
    let created = cluster
        .api::<BreakGlass>()
        .create(&PostParams::default(), &wanted(asked, by))
        .await
        .map_err(doing("create the BreakGlass"))?;
    let opened = opened(cluster, &created.name_any()).await?;
    let name = format!("breakglass.pilothouse.dev/{}", created.name_any());
    let told = opened.status.as_ref();
    let live = told.and_then(|s| find_condition(&s.conditions, "Live"));
    if let Some(refused) = live.filter(|live| live.status == "False") {
        return Err(Error::NotTaken {
            reason: refused.reason.clone(),
            message: refused.message.clone(),
        });
    }
    let until = told.and_then(|s| s.expires_at.as_ref());
    let line = match until {
        Some(until) => format!(
            "{name} is live until {:.0}; close it when you are done: kubectl patch {name} -n {} --type merge -p '{{\"spec\": {{\"closed\": true}}}}'\n",
            until.0, cluster.namespace
        ),
        None => format!("{name} created; the operator has not opened it yet\n"),
    };
    output::result(&opened, format, &name, |_| line)?;
    Ok(0)
}

/// What is typed, as an object whose name the API server makes.
fn wanted(asked: &BreakGlassArgs, by: Requester) -> BreakGlass {
    let spec = BreakGlassSpec {
        reason: asked.reason.clone(),
        incident: asked.incident.clone(),
        expires_after: asked.lasts,
        policies: asked.policy.clone(),
        closed: false,
        requested_by: Some(by),
    };
    let mut wanted = BreakGlass::new("", spec);
    wanted.metadata.name = None;
    wanted.metadata.generate_name = Some("glass-".to_owned());
    wanted
}

/// As it is once the operator has looked at it, or as it is when that takes too long.
async fn opened(cluster: &Cluster, name: &str) -> Result<BreakGlass> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let glass: BreakGlass = cluster.get("BreakGlass", name).await?;
        let told = glass.status.as_ref().map(|s| &s.conditions);
        let is_told = told.is_some_and(|told| find_condition(told, "Live").is_some());
        if is_told || Instant::now() >= deadline {
            return Ok(glass);
        }
        sleep(LOOK_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn typed(words: &[&str]) -> Option<BreakGlass> {
        let words = ["k", "break-glass"].iter().chain(words);
        match Args::try_parse_from(words).ok()?.command {
            Command::BreakGlass(asked) => Some(wanted(&asked, Requester::default())),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nobody_breaks_the_glass_without_a_reason_and_an_incident() {
        let least = ["--reason", "carts are empty", "--incident", "INC-7"];
        let made = typed(&least).expect("valid").spec;
        assert_eq!(
            made.expires_after,
            crds::v1alpha1::Duration::from_secs(3600)
        );
        assert!(made.policies.is_empty() && !made.closed);
        let more = [&least[..], &["--for", "20m", "--policy", "freeze"]].concat();
        let made = typed(&more).expect("valid").spec;
        assert_eq!(
            made.expires_after,
            crds::v1alpha1::Duration::from_secs(1200)
        );
        assert_eq!(made.policies, ["freeze"]);
        assert!(typed(&least[..2]).is_none() && typed(&least[2..]).is_none());
    }
}
