//! RunActions as the operator hears of them: one that wakes its run's controller can be found here by then.

use std::{collections::HashMap, time::Duration};

use crds::v1alpha1::{Action, JobRun, LocalRef, RunAction, RunActionSpec};
use futures::{Stream, StreamExt as _, stream::BoxStream};
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::PostParams,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, Store, reflector},
        watcher,
    },
};
use tokio::time::timeout;

use crate::{
    context::Context,
    error::{Error, Result, acting, observing},
    scope::{self, EVERY, Scope},
};

type Guarded = DeserializeGuard<RunAction>;
/// News of one part of the scope, which has to be followed for the actions to be known.
pub type News = BoxStream<'static, Result<Guarded, watcher::Error>>;

/// How long a start may take to hear of those that are there.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known, by part of the scope.
pub struct Actions(HashMap<String, Store<Guarded>>);

impl Actions {
    /// Everything that is heard of in the scope, and the news of each part.
    pub fn heard(client: &Client, scope: &Scope) -> (Self, HashMap<String, News>) {
        let part = |part: &str| {
            let (known, news) = follow(client, part);
            ((part.to_owned(), known), (part.to_owned(), news.boxed()))
        };
        let (known, news) = scope.parts().map(part).unzip();
        (Self(known), news)
    }

    /// Those about a run, in no order.
    pub async fn about(&self, run: &JobRun) -> Result<Vec<RunAction>> {
        let namespace = run.namespace().unwrap_or_default();
        let known = self.0.get(&namespace).or_else(|| self.0.get(EVERY));
        let known = known.expect("runs come from the scope only");
        let ready = timeout(PATIENCE, known.wait_until_ready()).await;
        if !ready.is_ok_and(|ready| ready.is_ok()) {
            return Err(Error::Unheard { what: "RunActions" });
        }
        let about = |action: &RunAction| {
            action.namespace().as_ref() == Some(&namespace)
                && action.spec.run_ref.name == run.name_any()
                && action.creation_timestamp() >= run.creation_timestamp()
        };
        let all = known.state();
        let readable = all.iter().filter_map(|action| action.0.as_ref().ok());
        Ok(readable.filter(|action| about(action)).cloned().collect())
    }
}

/// Has a run cancelled, once for each such word.
pub async fn cancel(ctx: &Context, run: &JobRun, word: &str, because: &str) -> Result<()> {
    let name = run.name_any();
    let spec = RunActionSpec {
        run_ref: LocalRef { name: name.clone() },
        action: Action::Cancel,
        step: None,
        max_parallel: None,
        reason: Some(because.to_owned()),
        requested_by: Some(ctx.me.clone()),
    };
    let name = format!("{name}-{word}");
    let mut action = RunAction::new(&name, spec);
    action.metadata.owner_references = run.controller_owner_ref(&()).map(|owner| vec![owner]);
    let namespace = run.namespace().unwrap_or_default();
    let api = Api::<RunAction>::namespaced(ctx.client.clone(), &namespace);
    let written = acting(format!("RunAction {name}"));
    match api.create(&PostParams::default(), &action).await {
        Ok(_) => return Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => return Err(written(error)),
    }
    let there = api.get_opt(&name).await;
    let there = there.map_err(observing(format!("RunAction {name}")))?;
    if there.is_some_and(|there| cancels(&there, run)) {
        return Ok(());
    }
    // Somebody has taken the name for something else.
    action.metadata.name = None;
    action.metadata.generate_name = Some(format!("{name}-"));
    let made = api.create(&PostParams::default(), &action).await;
    made.map(drop).map_err(written)
}

fn cancels(action: &RunAction, run: &JobRun) -> bool {
    action.spec.action == Action::Cancel
        && action.spec.run_ref.name == run.name_any()
        && action.creation_timestamp() >= run.creation_timestamp()
}

fn follow(
    client: &Client,
    part: &str,
) -> (
    Store<Guarded>,
    impl Stream<Item = Result<Guarded, watcher::Error>> + use<>,
) {
    let (known, writer) = reflector::store();
    let watch = watcher(scope::within(client, part), watcher::Config::default());
    let news = reflector(writer, watch).touched_objects();
    (known, news)
}
