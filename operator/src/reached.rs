//! What a job reaches: the Scripts that its steps name and the Jobs that they run, however far, and who wrote them last.

use std::{collections::BTreeMap, iter, sync::Arc};

use crds::v1alpha1::{Job, JobSpec, Script};
use decide::calls::{Jobs, Scripts, Unread, Written};
use kube::{Api, Client};

use crate::{
    bursts::Bursts,
    context::Context,
    entitled::Writer,
    resolve::{Gap, unread as not_read},
};

/// A Job that a step runs, and the Scripts that its own steps name.
#[derive(Clone)]
struct Source {
    job: Job,
    scripts: BTreeMap<String, Script>,
}

/// What the steps of a job name: Scripts, and Jobs however far. What does not exist is left out.
#[derive(Clone, Default)]
pub struct Reached {
    scripts: BTreeMap<String, Script>,
    jobs: BTreeMap<String, Source>,
}

impl Reached {
    /// Who wrote it last.
    pub fn writers(&self) -> impl Iterator<Item = Writer> {
        let jobs = self.jobs.values();
        let scripts = jobs.clone().flat_map(|source| source.scripts.values());
        let scripts = self.scripts.values().chain(scripts).map(Writer::of);
        scripts.chain(jobs.map(|source| Writer::of_job(&source.job)))
    }

    /// What it says.
    pub fn contents(&self) -> (Scripts, Jobs) {
        let written = |source: &Source| Written {
            job: source.job.spec.clone(),
            scripts: contents(&source.scripts),
        };
        let jobs = self.jobs.iter();
        let jobs = jobs.map(|(name, source)| (name.clone(), written(source)));
        (contents(&self.scripts), jobs.collect())
    }
}

fn contents(scripts: &BTreeMap<String, Script>) -> Scripts {
    let content = |script: &Script| {
        let digest = decide::script::digest(&script.spec);
        (script.spec.clone(), digest)
    };
    let all = scripts.iter();
    all.map(|(name, script)| (name.clone(), content(script)))
        .collect()
}

/// Reads what a job names; no more Jobs than it may name.
pub async fn reached(
    client: &Client,
    namespace: &str,
    job: &JobSpec,
) -> Result<Reached, kube::Error> {
    let api: Api<Job> = Api::namespaced(client.clone(), namespace);
    let mut reached = Reached {
        scripts: scripts(client, namespace, job).await?,
        jobs: BTreeMap::new(),
    };
    let mut unread = Unread::of(job);
    while let Some(name) = unread.next() {
        if let Some(job) = api.get_opt(&name).await? {
            unread.read(&job.spec);
            let scripts = scripts(client, namespace, &job.spec).await?;
            reached.jobs.insert(name, Source { job, scripts });
        }
    }
    Ok(reached)
}

async fn scripts(
    client: &Client,
    namespace: &str,
    job: &JobSpec,
) -> Result<BTreeMap<String, Script>, kube::Error> {
    let api: Api<Script> = Api::namespaced(client.clone(), namespace);
    let mut found = BTreeMap::new();
    for name in job
        .all_steps()
        .filter_map(|s| s.script.as_ref())
        .map(|s| &s.name)
    {
        if !found.contains_key(name)
            && let Some(script) = api.get_opt(name).await?
        {
            found.insert(name.clone(), script);
        }
    }
    Ok(found)
}

/// A Job, and what it reaches.
pub struct Definition {
    pub job: Job,
    pub reached: Reached,
}

impl Definition {
    /// Who wrote last what a run of it does.
    pub fn writers(&self) -> impl Iterator<Item = Writer> {
        iter::once(Writer::of_job(&self.job)).chain(self.reached.writers())
    }
}

/// Definitions by namespace and name: many runs of one Job start together.
pub type Definitions = Bursts<[String; 2], Result<Option<Arc<Definition>>, Gap>>;

/// A definition as it is read for a start, if there is such a Job.
pub async fn definition(
    ctx: &Context,
    namespace: &str,
    name: &str,
) -> Result<Option<Arc<Definition>>, Gap> {
    let question = [namespace, name].map(str::to_owned);
    let read = async || {
        let jobs = Api::<Job>::namespaced(ctx.prompt.clone(), namespace);
        let job = jobs.get_opt(name).await;
        let Some(job) = job.map_err(|e| not_read(format!("Job {name}"), e))? else {
            return Ok(None);
        };
        let reached = named(ctx, namespace, &job.spec).await?;
        Ok(Some(Arc::new(Definition { job, reached })))
    };
    ctx.definitions.ask(question, read).await
}

/// What a job names, as it is read for a start.
pub async fn named(ctx: &Context, namespace: &str, job: &JobSpec) -> Result<Reached, Gap> {
    let reached = reached(&ctx.prompt, namespace, job).await;
    reached.map_err(|e| not_read("Scripts and Jobs that steps name".to_owned(), e))
}
