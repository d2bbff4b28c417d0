//! What a job reaches: the Parameters that its values come from, the Scripts that its steps name and the Jobs that they run, however far; and who wrote them last.

use std::{collections::BTreeMap, iter, sync::Arc};

use crds::{
    names::LABEL_PARAMETER,
    v1alpha1::{Job, JobSpec, Parameter, ParameterRef, Requester, Script},
};
use decide::{
    calls::{Contents, Scripts, Unread, Written},
    kept::{self, Kept, Version},
};
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{Api, Client, ResourceExt as _};

use crate::{
    bursts::Bursts,
    context::Context,
    entitled::Writer,
    resolve::{Gap, unread as not_read},
    revisions,
};

/// A Job that a step runs, and the Scripts that its own steps name.
#[derive(Clone)]
struct Source {
    job: Job,
    scripts: BTreeMap<String, Script>,
}

/// What a Parameter holds, and who wrote it.
#[derive(Clone)]
struct Value {
    kept: Kept,
    by: Option<Requester>,
}

/// What a job names: Parameters, Scripts, and Jobs however far. What does not exist is left out.
#[derive(Clone, Default)]
pub struct Reached {
    scripts: BTreeMap<String, Script>,
    jobs: BTreeMap<String, Source>,
    values: BTreeMap<ParameterRef, Value>,
}

impl Reached {
    /// Who wrote it last.
    pub fn writers(&self) -> impl Iterator<Item = Writer> {
        let jobs = self.jobs.values();
        let scripts = jobs.clone().flat_map(|source| source.scripts.values());
        let scripts = self.scripts.values().chain(scripts).map(Writer::of);
        let values = self.values.iter();
        let values =
            values.map(|(of, value)| Writer::new("Parameter", &of.name, value.by.as_ref()));
        scripts
            .chain(jobs.map(|source| Writer::of_job(&source.job)))
            .chain(values)
    }

    /// Reads what else is named of Parameters, in the namespace of the job.
    pub async fn read_values<'a>(
        &mut self,
        client: &Client,
        namespace: &str,
        named: impl Iterator<Item = &'a ParameterRef>,
    ) -> Result<(), kube::Error> {
        for of in named {
            if !self.values.contains_key(of)
                && let Some(value) = value(client, namespace, of).await?
            {
                self.values.insert(of.clone(), value);
            }
        }
        Ok(())
    }

    /// What it says.
    pub fn contents(&self) -> Contents {
        let written = |source: &Source| Written {
            job: source.job.spec.clone(),
            scripts: contents(&source.scripts),
        };
        let jobs = self.jobs.iter();
        let jobs = jobs.map(|(name, source)| (name.clone(), written(source)));
        let kept = self.values.iter();
        let kept = kept.map(|(of, value)| (of.clone(), value.kept.clone()));
        Contents {
            scripts: contents(&self.scripts),
            jobs: jobs.collect(),
            kept: kept.collect(),
        }
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
        ..Reached::default()
    };
    reached
        .read_values(client, namespace, kept::named(job))
        .await?;
    let mut unread = Unread::of(job);
    while let Some(name) = unread.next() {
        if let Some(job) = api.get_opt(&name).await? {
            unread.read(&job.spec);
            let scripts = scripts(client, namespace, &job.spec).await?;
            reached
                .read_values(client, namespace, kept::named(&job.spec))
                .await?;
            reached.jobs.insert(name, Source { job, scripts });
        }
    }
    Ok(reached)
}

/// What a Parameter holds in the version that is named; in one that is not the latest, what its revision says.
async fn value(
    client: &Client,
    namespace: &str,
    of: &ParameterRef,
) -> Result<Option<Value>, kube::Error> {
    let parameters: Api<Parameter> = Api::namespaced(client.clone(), namespace);
    let Some(parameter) = parameters.get_opt(&of.name).await? else {
        return Ok(None);
    };
    let latest = kept::latest(&parameter);
    let Some(number) = of.version.filter(|_| of.version != latest.version) else {
        return Ok(Some(Value {
            kept: latest,
            by: parameter.spec.requested_by,
        }));
    };
    let revisions: Api<ControllerRevision> = Api::namespaced(client.clone(), namespace);
    let uid = parameter.uid().unwrap_or_default();
    let name = kept::revision_name(&of.name, &uid, number);
    let revision = revisions.get_opt(&name).await?;
    let own = revision.filter(|r| revisions::is_of(r, LABEL_PARAMETER, &parameter));
    let version = own.and_then(|r| serde_json::from_value::<Version>(r.data?.0).ok());
    Ok(version.map(|version| Value {
        kept: Kept {
            value: version.held(),
            version: Some(number),
        },
        by: version.requested_by,
    }))
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
    ctx.memory.definitions.ask(question, read).await
}

/// Reads the Parameters that a start itself names.
pub async fn values(
    ctx: &Context,
    namespace: &str,
    reached: &mut Reached,
    refs: &BTreeMap<String, ParameterRef>,
) -> Result<(), Gap> {
    let read = reached
        .read_values(&ctx.prompt, namespace, refs.values())
        .await;
    read.map_err(|e| not_read("Parameters".to_owned(), e))
}

/// What a job names, as it is read for a start.
pub async fn named(ctx: &Context, namespace: &str, job: &JobSpec) -> Result<Reached, Gap> {
    let reached = reached(&ctx.prompt, namespace, job).await;
    reached.map_err(|e| not_read("what the job names".to_owned(), e))
}
