//! Story: every public script and every job of them is run on real hosts, finds what it should find, and fails where it should fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crds::v1alpha1::{Job, Script, condition_is_true};
use e2e::{Guest, Manifest, Stage, guest::HOSTS, helm, stage::PATIENCE, wait_for};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use serde::Deserialize;
use serde_json::{Value, json};

/// A job has at most 50 steps.
const STEPS: usize = 50;

/// Jobs at once, and executions of samples: a host of the local cluster has one processor, and some checks give up after seconds.
const JOBS: usize = 3;
const AT_ONCE: usize = 8;

#[derive(Deserialize)]
struct Samples {
    scripts: Vec<Sample>,
    jobs: Vec<Whole>,
}

/// One run of a script.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Sample {
    script: String,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    given: BTreeMap<String, String>,
    #[serde(default)]
    run_as: Option<String>,
    #[serde(default)]
    after: bool,
    #[serde(default)]
    exit: i64,
    says: Vec<String>,
}

/// One run of a job.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    job: String,
    #[serde(default)]
    parameters: BTreeMap<String, String>,
    #[serde(default)]
    secret: Option<String>,
    #[serde(default)]
    steps: Vec<Part>,
}

/// What a step of a job comes to, on one target or on all of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    step: String,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    exit: i64,
    #[serde(default)]
    says: Vec<String>,
}

fn samples(story: &str) -> Samples {
    let text = include_str!("public_scripts.yaml").replace("STORY", story);
    serde_saphyr::from_str(&text).expect("the samples are written well")
}

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/pilothouse-scripts")
}

/// Names of the chart's files in a folder.
fn names(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(chart().join(folder)).expect("the chart is there");
    let entries = entries.map(|entry| entry.expect("it is listed").file_name());
    let yaml = entries.filter_map(|name| Some(name.to_str()?.strip_suffix(".yaml")?.to_owned()));
    yaml.collect()
}

#[test]
fn every_script_and_every_job_of_the_chart_has_a_sample() {
    let samples = samples("story");
    let scripts = samples.scripts.into_iter().map(|sample| sample.script);
    assert_eq!(scripts.collect::<BTreeSet<_>>(), names("scripts"));
    let jobs = samples.jobs.into_iter().map(|whole| whole.job);
    assert_eq!(jobs.collect::<BTreeSet<_>>(), names("jobs"));
}

/// Hosts with something to find, cleaned up when this is dropped.
struct Prepared(String);

impl Prepared {
    fn on(story: &str) -> Self {
        let prepared = Self(story.to_owned());
        for host in HOSTS {
            host.sh(&prepared.script("prepare"));
        }
        prepared
    }

    fn script(&self, wish: &str) -> String {
        let text = include_str!("public_scripts.sh");
        text.replace("STORY", &self.0).replace("WISH", wish)
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        for Guest(name) in HOSTS {
            let removed = Guest(name).output(&self.script("remove"));
            if !removed.status.success() {
                eprintln!("{name} is left as it is: {removed:?}");
            }
        }
    }
}

/// Installs the chart for both hosts and a pod, and waits until all of it is ready.
async fn installed(stage: &Stage) {
    let values = json!({
        "targets": {"hosts": {"selector": {"matchLabels": {"fleet": "both"}}}, "pods": {"names": ["shell"]}},
        "podImage": "local/busybox:1",
    });
    let chart = chart();
    let chart = chart.to_str().expect("a path of letters");
    let words = ["install", "public", chart, "--values", "-"];
    let said = helm(stage.name(), &words, &values.to_string());
    println!("{}", said.unwrap_or_else(|error| panic!("{error}")));
    let ready = |conditions: &[Condition]| condition_is_true(conditions, "Ready");
    for name in names("scripts") {
        let scripts: Api<Script> = Api::namespaced(stage.client.clone(), stage.name());
        wait_for(scripts, &name, "Ready", PATIENCE, |s: Option<&Script>| {
            s.and_then(|s| s.status.as_ref())
                .is_some_and(|s| ready(&s.conditions))
        })
        .await;
    }
    for name in names("jobs") {
        let jobs: Api<Job> = Api::namespaced(stage.client.clone(), stage.name());
        wait_for(jobs, &name, "Ready", PATIENCE, |j: Option<&Job>| {
            j.and_then(|j| j.status.as_ref())
                .is_some_and(|s| ready(&s.conditions))
        })
        .await;
    }
}

/// Name of the step that runs a sample.
fn step(at: usize, sample: &Sample) -> String {
    format!("{}-{at}", sample.script)
}

/// Samples that wait for each other stay together.
fn shares(samples: &[Sample]) -> Vec<Vec<(usize, &Sample)>> {
    let mut chains: Vec<Vec<(usize, &Sample)>> = Vec::new();
    for (at, sample) in samples.iter().enumerate() {
        match chains.last_mut().filter(|_| sample.after) {
            Some(chain) => chain.push((at, sample)),
            None => chains.push(vec![(at, sample)]),
        }
    }
    let mut shares: Vec<Vec<(usize, &Sample)>> = Vec::new();
    for chain in chains {
        match shares.last_mut() {
            Some(share) if share.len() + chain.len() <= STEPS => share.extend(chain),
            _ => shares.push(chain),
        }
    }
    shares
}

/// A job with one step for each sample, which fail on their own, on this host if they name none.
fn job_of(share: &[(usize, &Sample)], Guest(host): Guest) -> Value {
    let steps = share.iter().enumerate().map(|(place, (at, sample))| {
        let needs = sample.after.then(|| {
            let (before, earlier) = share[place - 1];
            step(before, earlier)
        });
        let mut one = json!({
            "name": step(*at, sample), "timeout": "1m",
            "targets": {"hosts": {"names": [sample.target.as_deref().unwrap_or(host)]}},
            "needs": needs.into_iter().collect::<Vec<_>>(),
            "script": {"name": sample.script, "parameters": sample.given},
        });
        if let Some(user) = &sample.run_as {
            one["runAs"] = user.as_str().into();
        }
        one
    });
    let steps: Vec<_> = steps.collect();
    let parameters = json!([{"name": "password", "sensitive": true}]);
    json!({"parameters": parameters, "sharing": "Shared", "strategy": {"maxFailures": "100%", "maxParallel": AT_ONCE}, "steps": steps})
}

/// Starts a run of what is written or referred to in its spec.
async fn start(stage: &Stage, name: &str, spec: Value) {
    let run = Manifest::of("JobRun", name, &spec).within(stage.name());
    let created = run.create(&stage.client).await;
    created.unwrap_or_else(|error| panic!("JobRun {name} was refused: {error}"));
}

/// A run of a job of the chart.
fn spec_of(whole: &Whole) -> Value {
    let secrets = whole
        .secret
        .iter()
        .map(|name| (name.clone(), json!({"name": "database", "key": "password"})));
    let secrets: serde_json::Map<_, _> = secrets.collect();
    json!({"jobRef": {"name": whole.job}, "parameters": whole.parameters, "secretParameters": secrets})
}

/// What is wrong about one execution, empty if nothing is.
async fn wrong(stage: &Stage, run: &str, row: &Value, exit: i64, says: &[String]) -> Vec<String> {
    let (step, target) = (text(row, "step"), text(row, "target"));
    let title = format!("{run}/{step}/{target}");
    let succeeded = exit == 0 && row["state"] == "Succeeded";
    if row["exitCode"].is_null() && !succeeded {
        return vec![format!("{title} did not end by itself: {row}")];
    }
    let log = stage.log(run, step, target).await;
    let log = String::from_utf8_lossy(&log);
    if row["exitCode"] != exit && !succeeded {
        return vec![format!("{title} should end with {exit}: {row}\n{log}")];
    }
    let missing = says.iter().filter(|words| !log.contains(*words));
    missing
        .map(|words| format!("{title} does not say {words:?} but:\n{log}"))
        .collect()
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}

/// What is wrong about the samples that one run has tried.
async fn tried(stage: &Stage, run: &str, share: &[(usize, &Sample)]) -> Vec<String> {
    stage.ends(run).await;
    let rows = stage.executions(run).await;
    let mut all = Vec::new();
    for (at, sample) in share {
        let name = step(*at, sample);
        match rows.iter().find(|row| row["step"] == name.as_str()) {
            Some(row) => all.extend(wrong(stage, run, row, sample.exit, &sample.says).await),
            None => all.push(format!("{run}/{name} did not run")),
        }
    }
    all
}

/// What is wrong about a job that has run.
async fn carried_out(stage: &Stage, whole: &Whole) -> Vec<String> {
    let run = &whole.job;
    stage.ends(run).await;
    let rows = stage.executions(run).await;
    let mut all = Vec::new();
    let jobs: Api<Job> = Api::namespaced(stage.client.clone(), stage.name());
    for step in jobs.get(run).await.expect("it is there").spec.steps {
        if !rows.iter().any(|row| text(row, "step") == step.name) {
            all.push(format!("{run}/{} did not run", step.name));
        }
    }
    for row in &rows {
        let part = whole.steps.iter().find(|part| {
            part.step == text(row, "step")
                && part
                    .target
                    .as_deref()
                    .is_none_or(|t| t == text(row, "target"))
        });
        let (exit, says) = part.map_or((0, &[][..]), |part| (part.exit, &part.says));
        all.extend(wrong(stage, run, row, exit, says).await);
    }
    all
}

#[tokio::test]
async fn every_public_script_does_on_real_hosts_what_it_says() {
    let stage = Stage::set("public").await;
    let prepared = Prepared::on(stage.name());
    stage.shell("shell").await;
    let password = [("password", "of-the-database")];
    stage.secret("database", "Opaque", &password).await;
    installed(&stage).await;
    stage.hosts_seen().await;

    let samples = samples(stage.name());
    let shares = shares(&samples.scripts);
    let password = json!({"password": {"name": "database", "key": "password"}});
    for (at, share) in shares.iter().enumerate() {
        let job = job_of(share, HOSTS[at % HOSTS.len()]);
        let spec = json!({"job": job, "secretParameters": password});
        start(&stage, &format!("scripts-{at}"), spec).await;
    }
    let mut all = Vec::new();
    for (at, share) in shares.iter().enumerate() {
        all.extend(tried(&stage, &format!("scripts-{at}"), share).await);
    }
    for some in samples.jobs.chunks(JOBS) {
        for whole in some {
            start(&stage, &whole.job, spec_of(whole)).await;
        }
        for whole in some {
            all.extend(carried_out(&stage, whole).await);
        }
    }
    drop(prepared);
    assert!(all.is_empty(), "{}", all.join("\n\n"));
}
