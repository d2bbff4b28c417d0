//! Objects that people create beside a run, as the operator hears of them: one that wakes a controller can be found here by then.

use std::{collections::HashMap, fmt::Debug, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _, stream::BoxStream};
use kube::{
    Api, Client, Resource,
    core::{DeserializeGuard, NamespaceResourceScope},
    runtime::{
        WatchStreamExt as _,
        reflector::{self, Store, reflector},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::{
    error::{Error, Result},
    scope::{self, EVERY, Scope},
};

/// News of one part of the scope, which has to be followed for the objects to be known.
pub type News<K> = BoxStream<'static, Result<DeserializeGuard<K>, watcher::Error>>;

/// How long a start may take to hear of those that are there.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known, by part of the scope.
pub struct Heard<K: Resource<DynamicType = ()> + 'static>(HashMap<String, Known<K>>);

/// What is known of one part.
pub type Known<K> = Store<DeserializeGuard<K>>;

impl<K> Heard<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// Everything that is heard of in the scope, and the news of each part.
    pub fn of(client: &Client, scope: &Scope) -> (Self, HashMap<String, News<K>>) {
        let part = |part: &str| {
            let (known, news) = follow(scope::within(client, part));
            ((part.to_owned(), known), (part.to_owned(), news.boxed()))
        };
        let (known, news) = scope.parts().map(part).unzip();
        (Self(known), news)
    }

    /// Those of a namespace that can be read and that this is true of, in no order.
    pub async fn within(&self, namespace: &str, is: impl Fn(&K) -> bool) -> Result<Vec<K>> {
        let known = self.0.get(namespace).or_else(|| self.0.get(EVERY));
        let all = all(known.expect("whoever asks comes from the scope")).await?;
        let readable = all.iter().filter_map(|object| object.0.as_ref().ok());
        let here = readable.filter(|object| object.meta().namespace.as_deref() == Some(namespace));
        Ok(here.filter(|object| is(object)).cloned().collect())
    }
}

/// Everything that is known, once there is anything to know.
pub async fn all<K>(known: &Known<K>) -> Result<Vec<Arc<DeserializeGuard<K>>>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let ready = timeout(PATIENCE, known.wait_until_ready()).await;
    if !ready.is_ok_and(|ready| ready.is_ok()) {
        let what = K::kind(&()).into_owned();
        return Err(Error::Unheard { what });
    }
    Ok(known.state())
}

/// What is known of objects, and the news that have to be followed for that.
pub fn follow<K>(
    objects: Api<DeserializeGuard<K>>,
) -> (
    Known<K>,
    impl Stream<Item = Result<DeserializeGuard<K>, watcher::Error>> + use<K>,
)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (known, writer) = reflector::store();
    let news = reflector(writer, watcher(objects, watcher::Config::default())).touched_objects();
    (known, news)
}
