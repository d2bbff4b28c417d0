//! Who names which Parameter, as the watches of Jobs and ScheduledTasks tell it; nothing is listed for it.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Mutex, MutexGuard},
};

use crate::scope::EVERY;
use crds::v1alpha1::{Job, Parameter, ParameterRef, ParameterUser, ScheduledTask};
use decide::kept;
use kube::{
    Resource, ResourceExt as _,
    core::{DeserializeGuard, NamespaceResourceScope},
    runtime::{reflector::ObjectRef, watcher::Event},
};

/// Kinds that name Parameters.
const KINDS: usize = 2;

/// A Parameter by its name.
pub type Named = ObjectRef<DeserializeGuard<Parameter>>;

/// An object that may name Parameters: its kind, namespace and name.
type Place = (&'static str, String, String);

/// A kind in a part of the scope, each told by a watch of its own.
type Source = (&'static str, String);

/// What is known of them.
#[derive(Default)]
pub struct Users(Mutex<Known>);

#[derive(Default)]
struct Known {
    naming: HashMap<Place, BTreeSet<ParameterRef>>,
    /// Sources of which everything was told once.
    heard: HashSet<Source>,
    /// Objects of a source that tells everything anew, as far as it has come.
    telling: HashMap<Source, HashSet<Place>>,
}

/// A kind whose objects may name Parameters.
pub trait Names: Resource<DynamicType = (), Scope = NamespaceResourceScope> {
    const KIND: &'static str;
    fn names(&self) -> BTreeSet<ParameterRef>;
}

impl Names for Job {
    const KIND: &'static str = "Job";

    fn names(&self) -> BTreeSet<ParameterRef> {
        kept::named(&self.spec).cloned().collect()
    }
}

impl Names for ScheduledTask {
    const KIND: &'static str = "ScheduledTask";

    fn names(&self) -> BTreeSet<ParameterRef> {
        self.spec.parameter_refs.values().cloned().collect()
    }
}

impl Users {
    /// Takes in what a watch says; the Parameters whose users it changes, by namespace and name.
    pub fn hear<K>(&self, part: &str, event: &Event<DeserializeGuard<K>>) -> Vec<(String, String)>
    where
        K: Names,
        DeserializeGuard<K>: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let source = (K::KIND, part.to_owned());
        let mut known = self.known();
        match event {
            Event::Init => {
                known.telling.insert(source, HashSet::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                let (place, names) = read(object);
                let told = known.telling.entry(source).or_default();
                told.insert(place.clone());
                known.note(place, names)
            }
            Event::InitDone => known.all_told(source),
            Event::Apply(object) => {
                let (place, names) = read(object);
                known.note(place, names)
            }
            Event::Delete(object) => known.note(read(object).0, BTreeSet::new()),
        }
    }

    /// Who names a Parameter; none while not everything was told that may.
    pub fn of(&self, part: &str, parameter: &Parameter) -> Option<Vec<ParameterUser>> {
        let (namespace, name) = (parameter.namespace()?, parameter.name_any());
        let known = self.known();
        let heard = known.heard.iter().filter(|(_, of)| of == part).count();
        (heard == KINDS).then(|| known.users(&namespace, &name))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("no holder panics")
    }
}

fn read<K>(object: &DeserializeGuard<K>) -> (Place, BTreeSet<ParameterRef>)
where
    K: Names,
    DeserializeGuard<K>: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let place = (
        K::KIND,
        object.namespace().unwrap_or_default(),
        object.name_any(),
    );
    // What cannot be read runs nothing, and so reads nothing.
    let names = object.0.as_ref().map(Names::names);
    (place, names.unwrap_or_default())
}

impl Known {
    /// Notes what an object names; those that it names no more and those that are new, or nothing where it is as it was.
    fn note(&mut self, place: Place, names: BTreeSet<ParameterRef>) -> Vec<(String, String)> {
        let before = self.naming.remove(&place).unwrap_or_default();
        let changed = before.symmetric_difference(&names);
        let changed = changed
            .map(|of| (place.1.clone(), of.name.clone()))
            .collect();
        if !names.is_empty() {
            self.naming.insert(place, names);
        }
        changed
    }

    /// What was not told again is gone.
    fn all_told(&mut self, source: Source) -> Vec<(String, String)> {
        let told = self.telling.remove(&source).unwrap_or_default();
        let of_source =
            |place: &Place| place.0 == source.0 && (source.1 == EVERY || source.1 == place.1);
        let places: Vec<Place> = self.naming.keys().cloned().collect();
        let gone = places.iter().filter(|p| of_source(p) && !told.contains(p));
        let mut changed: Vec<_> = gone
            .flat_map(|place| self.note(place.clone(), BTreeSet::new()))
            .collect();
        if self.heard.insert(source) {
            // Until now nobody was told anything.
            let naming = self.naming.iter();
            changed.extend(naming.flat_map(|(place, names)| {
                names.iter().map(|of| (place.1.clone(), of.name.clone()))
            }));
        }
        changed
    }

    fn users(&self, namespace: &str, name: &str) -> Vec<ParameterUser> {
        let naming = self.naming.iter().filter(|(place, _)| place.1 == namespace);
        let users = naming.flat_map(|((kind, _, user), names)| {
            let of = names.iter().filter(|of| of.name == name);
            of.map(|of| ParameterUser {
                kind: (*kind).to_owned(),
                name: user.clone(),
                version: of.version,
            })
        });
        let users: BTreeSet<_> = users.collect();
        users.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str, from: &str) -> DeserializeGuard<Job> {
        let spec = serde_json::json!({
            "parameters": [{"name": "x", "from": {"name": from}}],
            "steps": [{"name": "rest", "pause": {"duration": "1s"}}],
        });
        let mut job = Job::new(name, serde_json::from_value(spec).expect("a spec"));
        job.metadata.namespace = Some("n".into());
        DeserializeGuard(Ok(job))
    }

    fn parameter() -> Parameter {
        let spec = serde_json::json!({"value": "v"});
        let mut parameter = Parameter::new("p", serde_json::from_value(spec).expect("a spec"));
        parameter.metadata.namespace = Some("n".into());
        parameter
    }

    fn names(users: &Users) -> Option<Vec<String>> {
        let of = users.of(EVERY, &parameter())?;
        Some(of.into_iter().map(|user| user.name).collect())
    }

    /// Names of the Parameters that these events change the users of.
    fn changed<K>(
        users: &Users,
        events: impl IntoIterator<Item = Event<DeserializeGuard<K>>>,
    ) -> Vec<String>
    where
        K: Names,
        DeserializeGuard<K>: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let heard = |event| users.hear(EVERY, &event);
        let changed = events.into_iter().flat_map(heard);
        changed.map(|(_, parameter)| parameter).collect()
    }

    #[test]
    fn users_are_told_once_all_were_heard_and_then_by_each_change() {
        let users = Users::default();
        let jobs = [
            Event::Init,
            Event::InitApply(job("a", "p")),
            Event::InitApply(job("b", "other")),
            Event::InitDone,
        ];
        let told = changed::<Job>(&users, jobs);
        assert_eq!(names(&users), None, "tasks may name it too");
        let tasks = changed::<ScheduledTask>(&users, [Event::Init, Event::InitDone]);
        assert_eq!(names(&users), Some(vec!["a".into()]));
        assert!([told, tasks].concat().contains(&"p".to_owned()));
        let changed = |event| changed::<Job>(&users, [event]);
        let told = changed(Event::Apply(job("a", "p")));
        assert!(told.is_empty(), "nothing has changed");
        assert_eq!(changed(Event::Apply(job("b", "p"))), ["other", "p"]);
        assert_eq!(names(&users), Some(vec!["a".into(), "b".into()]));
        changed(Event::Delete(job("a", "p")));
        assert_eq!(names(&users), Some(vec!["b".into()]));
    }

    #[test]
    fn what_went_while_a_watch_was_away_is_a_user_no_more() {
        let users = Users::default();
        let jobs = [
            Event::Apply(job("a", "p")),
            Event::Init,
            Event::InitApply(job("b", "p")),
            Event::InitDone,
        ];
        let told = changed::<Job>(&users, jobs);
        changed::<ScheduledTask>(&users, [Event::Init, Event::InitDone]);
        assert_eq!(names(&users), Some(vec!["b".into()]));
        assert!(told.contains(&"p".to_owned()));
    }
}
