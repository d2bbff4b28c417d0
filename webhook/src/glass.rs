//! What is known of broken glass: every BreakGlass that has not ended, as it was last heard. Whether one is live is asked by this webhook's own clock.

use std::{collections::BTreeMap, sync::Arc};

use crds::v1alpha1::BreakGlass;
use kube::{Client, ResourceExt as _, core::DeserializeGuard, runtime::watcher::Event};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::heard::{self, News};

/// All of them, by namespace and name.
pub type Glasses = BTreeMap<(String, String), BreakGlass>;

/// As last heard; empty until they were listed once, so that nobody passes before.
pub type Known = watch::Receiver<Arc<Glasses>>;

/// Follows them until the token is cancelled.
pub fn follow(client: &Client, shutdown: &CancellationToken) -> Known {
    let (tell, known) = watch::channel(Arc::default());
    let mut glasses = Glasses::new();
    heard::follow(client, shutdown, move |news| {
        if take_in(news, &mut glasses) {
            tell.send_replace(Arc::new(glasses.clone()));
        }
    });
    known
}

/// Whether what is known is whole with that. What a new list lacks, cannot be read or has ended lets nobody pass.
fn take_in(news: News<BreakGlass>, glasses: &mut Glasses) -> bool {
    let is_whole = !matches!(news, Event::Init | Event::InitApply(_));
    match news {
        Event::Init => glasses.clear(),
        Event::InitDone => {}
        Event::InitApply(glass) | Event::Apply(glass) => {
            let key = key(&glass);
            let is_over = |glass: &BreakGlass| {
                let status = glass.status.as_ref();
                status.is_some_and(|status| status.ended_at.is_some())
            };
            match glass.0 {
                Ok(glass) if !is_over(&glass) => glasses.insert(key, glass),
                _ => glasses.remove(&key),
            };
        }
        Event::Delete(glass) => {
            glasses.remove(&key(&glass));
        }
    }
    is_whole
}

fn key(glass: &DeserializeGuard<BreakGlass>) -> (String, String) {
    (glass.namespace().unwrap_or_default(), glass.name_any())
}
