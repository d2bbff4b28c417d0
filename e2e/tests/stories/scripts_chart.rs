//! The chart of public scripts as Helm renders it: what is chosen comes whole, and every script is written as the others are.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use e2e::{
    Manifest,
    helm::{helm, refuses},
};
use serde_json::{Value, json};

/// What is wrong, and how Helm says so.
const REFUSED: [(&[&str], &str); 5] = [
    (
        &["--set", "typo=1"],
        "additional properties 'typo' not allowed",
    ),
    (
        &["--set", "include={no-such-thing}"],
        "there is no Script or Job no-such-thing",
    ),
    (
        &["--set", "exclude={no-such-thing}"],
        "there is no Script or Job no-such-thing",
    ),
    (&["--set", "namePrefix=Public"], "/namePrefix"),
    (
        &["--set", "targets.hosts.selector=all"],
        "/targets/hosts/selector",
    ),
];

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/pilothouse-scripts")
}

fn render(settings: &[&str]) -> Result<Vec<Value>, String> {
    let chart = chart();
    let chart = chart.to_str().expect("a path of letters");
    let text = helm(
        "shop",
        &[&["template", "public", chart], settings].concat(),
        "",
    )?;
    let manifests = Manifest::read(&text).into_iter();
    Ok(manifests.map(Manifest::into_json).collect())
}

fn rendered(settings: &[&str]) -> Vec<Value> {
    render(settings).unwrap_or_else(|refusal| panic!("{settings:?}: {refusal}"))
}

/// Names of one kind.
fn named(all: &[Value], kind: &str) -> BTreeSet<String> {
    let of_kind = all.iter().filter(|object| object["kind"] == kind);
    let names = of_kind.map(|object| text(&object["metadata"]["name"]).to_owned());
    names.collect()
}

/// Scripts that the steps of a Job name.
fn used(job: &Value) -> BTreeSet<String> {
    let steps = job["spec"]["steps"].as_array().expect("a Job has steps");
    let names = steps.iter().filter_map(|step| step.pointer("/script/name"));
    names.map(|name| text(name).to_owned()).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn wrong_values_are_refused_where_they_stand() {
    refuses(render, &REFUSED);
}

#[test]
fn by_default_everything_comes_and_every_job_finds_its_scripts() {
    for settings in [&[][..], &["--set", "namePrefix=public-"]] {
        let all = rendered(settings);
        let scripts = named(&all, "Script");
        assert!(scripts.len() >= 30, "only {} scripts", scripts.len());
        assert!(named(&all, "Job").len() >= 6);
        for job in all.iter().filter(|object| object["kind"] == "Job") {
            let missing: Vec<_> = used(job).difference(&scripts).cloned().collect();
            assert!(
                missing.is_empty(),
                "{} needs {missing:?}",
                job["metadata"]["name"]
            );
        }
    }
}

#[test]
fn a_job_that_is_included_brings_its_scripts_and_one_without_them_is_left_out() {
    let all = rendered(&["--set", "include={patch-status,load-average}"]);
    assert_eq!(
        named(&all, "Job"),
        BTreeSet::from(["patch-status".to_owned()])
    );
    let scripts = [
        "load-average",
        "package-hold",
        "reboot-required",
        "updates-pending",
    ];
    assert_eq!(named(&all, "Script"), scripts.map(str::to_owned).into());

    let all = rendered(&["--set", "exclude={reboot-required,security-audit}"]);
    for job in ["patch-status", "host-health", "security-audit"] {
        assert!(!named(&all, "Job").contains(job), "{job}");
    }
    assert!(!named(&all, "Script").contains("reboot-required"));
    assert!(named(&all, "Script").contains("sudoers-listing"));
}

#[test]
fn labels_requester_and_targets_reach_every_object() {
    let all = rendered(&[
        "--set",
        "commonLabels.team=a,requestedBy.user=mia,requestedBy.groups={ops},targets.hosts.names={web-1}",
    ]);
    for object in &all {
        assert_eq!(object["metadata"]["labels"]["team"], "a");
        let requester = json!({"user": "mia", "groups": ["ops"]});
        assert_eq!(object["spec"]["requestedBy"], requester);
        if let Some(hosts) = object.pointer("/spec/targets/hosts") {
            assert_eq!(hosts, &json!({"names": ["web-1"]}));
        }
    }
}

#[test]
fn every_script_reads_each_parameter_and_changes_nothing_unless_it_is_told_to() {
    for script in rendered(&[]) {
        let name = text(&script["metadata"]["name"]);
        let spec = &script["spec"];
        if script["kind"] != "Script" {
            continue;
        }
        assert!(
            !text(&script["metadata"]["annotations"]["pilothouse.dev/timeout"]).is_empty(),
            "{name}"
        );
        let parameters = spec["parameters"].as_array().into_iter().flatten();
        let mut defaults = BTreeMap::new();
        for parameter in parameters {
            let title = text(&parameter["name"]);
            let content = text(&spec["content"]);
            let read = ["$", "${", "$((", "environ[\""].map(|before| format!("{before}{title}"));
            assert!(
                read.iter().any(|r| content.contains(r)),
                "{name} does not read {title}"
            );
            assert!(
                !text(&parameter["description"]).is_empty(),
                "{name}: {title}"
            );
            defaults.insert(title, text(&parameter["default"]));
        }
        let harmless =
            defaults.get("DRY_RUN") == Some(&"true") || defaults.get("ACTION") == Some(&"show");
        let adds = name.starts_with("backup-");
        assert!(spec["riskLevel"] == "Low" || harmless || adds, "{name}");
    }
}

#[test]
fn every_shell_script_is_one_for_its_shell() {
    for file in fs::read_dir(chart().join("scripts")).expect("the chart is there") {
        let file = file.expect("it is listed").path();
        if file.extension().is_none_or(|extension| extension != "sh") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("it is there");
        let shell = text.lines().next().and_then(|line| line.strip_prefix("#!"));
        let shell = shell.unwrap_or_else(|| panic!("{} names no shell", file.display()));
        assert!(text.contains("\nset -eu\n"), "{}", file.display());
        let mut check = Command::new(shell)
            .arg("-n")
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut pipe = check.stdin.take().expect("it is piped");
        pipe.write_all(text.as_bytes()).expect("it reads");
        drop(pipe);
        assert!(
            check.wait().expect("it ends").success(),
            "{}",
            file.display()
        );
    }
}

#[test]
fn the_readme_names_everything() {
    let readme = fs::read_to_string(chart().join("README.md")).expect("there is one");
    for object in rendered(&[]) {
        let row = format!("| `{}` |", text(&object["metadata"]["name"]));
        assert!(readme.contains(&row), "no {row}");
    }
}
