//! Steps as a graph: what forEach and onFailure make of them, an order in which they can go, the lanes of targets they share, and the stages between which whole lanes wait.

use std::collections::BTreeMap;

use crds::v1alpha1::{
    ActionStep, JobSpec, ObjectTargets, Step, Targets, WorkloadKind, WorkloadTargets,
};

use crate::Refusal;

/// Steps in an order that respects `needs`, or the cycle that prevents one.
pub fn order(steps: &[Step]) -> Result<Vec<usize>, Refusal> {
    let index: BTreeMap<&str, usize> = steps
        .iter()
        .enumerate()
        .map(|(i, s)| (s.name.as_str(), i))
        .collect();
    if index.len() < steps.len() {
        let message = "spec.steps: two steps have the same name; give each its own";
        return Err(Refusal::new("StepNotUnique", message));
    }
    let (mut done, mut out) = (vec![false; steps.len()], Vec::with_capacity(steps.len()));
    while out.len() < steps.len() {
        let ready = |i: &usize| {
            !done[*i]
                && steps[*i]
                    .needs
                    .iter()
                    .all(|n| index.get(n.as_str()).is_some_and(|&j| done[j]))
        };
        let Some(next) = (0..steps.len()).find(ready) else {
            return Err(stuck(steps, &done, &index));
        };
        done[next] = true;
        out.push(next);
    }
    Ok(out)
}

/// Names a cycle among the steps that never became ready, or a need that does not exist.
fn stuck(steps: &[Step], done: &[bool], index: &BTreeMap<&str, usize>) -> Refusal {
    let mut path = vec![done.iter().position(|d| !d).expect("some step is not done")];
    loop {
        let step = &steps[path[path.len() - 1]];
        let Some(need) = step
            .needs
            .iter()
            .find(|n| index.get(n.as_str()).is_none_or(|&j| !done[j]))
        else {
            unreachable!("a step whose needs are all done is ready")
        };
        let Some(&next) = index.get(need.as_str()) else {
            return Refusal::new(
                "UnknownStep",
                format!("steps.{}.needs: there is no step {need}", step.name),
            );
        };
        if let Some(start) = path.iter().position(|&i| i == next) {
            let names: Vec<_> = path[start..]
                .iter()
                .chain([&next])
                .map(|&i| steps[i].name.as_str())
                .collect();
            return Refusal::new(
                "CycleInNeeds",
                format!(
                    "spec.steps: {} need each other in a circle; remove one of these needs",
                    names.join(" -> ")
                ),
            );
        }
        path.push(next);
    }
}

/// A step as it is carried out: one of forEach stands for itself, and those of onFailure come after all others.
#[derive(Clone, Debug)]
pub struct Node<'a> {
    pub step: &'a Step,
    pub name: String,
    /// Its value of forEach, a template.
    pub item: Option<&'a str>,
    /// Positions of the nodes that come before.
    pub needs: Vec<usize>,
    pub on_failure: bool,
}

/// The nodes of a job whose steps can be ordered, in the order in which it lists them.
pub fn nodes(job: &JobSpec) -> Vec<Node<'_>> {
    let all = job.steps.iter().map(|step| (step, false));
    let all = all.chain(job.on_failure.iter().map(|step| (step, true)));
    let mut nodes: Vec<Node<'_>> = all
        .flat_map(|(step, on_failure)| repeated(step, on_failure))
        .collect();
    let needs: Vec<Vec<usize>> = nodes.iter().map(|node| needs(&nodes, node)).collect();
    for (node, needs) in nodes.iter_mut().zip(needs) {
        node.needs = needs;
    }
    nodes
}

fn repeated(step: &Step, on_failure: bool) -> Vec<Node<'_>> {
    let node = |name, item| Node {
        step,
        name,
        item,
        needs: Vec::new(),
        on_failure,
    };
    if step.for_each.is_empty() {
        return vec![node(step.name.clone(), None)];
    }
    let items = step.for_each.iter().enumerate();
    items
        .map(|(i, item)| node(format!("{}.{i}", step.name), Some(item.as_str())))
        .collect()
}

/// What a node waits for: the steps that it needs, or among those of onFailure the one before.
fn needs(nodes: &[Node<'_>], of: &Node<'_>) -> Vec<usize> {
    let all = nodes.iter().enumerate();
    if !of.on_failure {
        let needed =
            all.filter(|(_, node)| !node.on_failure && of.step.needs.contains(&node.step.name));
        return needed.map(|(i, _)| i).collect();
    }
    let before = nodes
        .iter()
        .take_while(|node| node.step.name != of.step.name);
    let Some(before) = before.filter(|node| node.on_failure).last() else {
        return Vec::new();
    };
    let before = all.filter(|(_, node)| node.on_failure && node.step.name == before.step.name);
    before.map(|(i, _)| i).collect()
}

/// One set of targets that one or more steps share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneSpec {
    Hosts(ObjectTargets),
    Pods(ObjectTargets),
    Workloads(WorkloadTargets),
    Nodes(ObjectTargets),
    Once,
}

/// The lanes of a job, and for each of its nodes the lane it is in.
pub fn lanes(job: &JobSpec) -> Result<(Vec<LaneSpec>, Vec<usize>), Refusal> {
    let mut lanes: Vec<LaneSpec> = Vec::new();
    let mut of_node = Vec::new();
    for node in nodes(job) {
        let lane = lane(job, node.step)?;
        let at = lanes.iter().position(|l| *l == lane).unwrap_or_else(|| {
            lanes.push(lane);
            lanes.len() - 1
        });
        of_node.push(at);
    }
    Ok((lanes, of_node))
}

fn lane(job: &JobSpec, step: &Step) -> Result<LaneSpec, Refusal> {
    if step.pod.is_some() || step.job.is_some() || step.approval.is_some() {
        return Ok(LaneSpec::Once);
    }
    let targets = step.targets.as_ref().or(job.targets.as_ref());
    let given = targets.map_or(LaneSpec::Once, spec);
    let (body, takes) = body(step);
    let fits = match given {
        LaneSpec::Hosts(_) => takes.contains(&"hosts"),
        LaneSpec::Pods(_) => takes.contains(&"pods"),
        LaneSpec::Workloads(_) => takes.contains(&"workloads"),
        LaneSpec::Nodes(_) => takes.contains(&"nodes"),
        LaneSpec::Once => takes.contains(&"none"),
    };
    if fits {
        return of_a_kind_that_can(step, given);
    }
    Err(Refusal::new(
        "WrongTargets",
        format!(
            "steps.{}: {body} works on {}; give the step `targets: {{{}: ...}}`",
            step.name,
            takes.join(" or "),
            takes[0]
        ),
    ))
}

/// Not every workload has replicas to set.
fn of_a_kind_that_can(step: &Step, given: LaneSpec) -> Result<LaneSpec, Refusal> {
    let action = step.action.as_ref();
    let scales = action.is_some_and(|action| action.scale.is_some());
    match &given {
        LaneSpec::Workloads(of) if scales && of.kind == WorkloadKind::DaemonSet => {
            let message = format!(
                "steps.{}: action.scale works on Deployments and StatefulSets, not on a DaemonSet",
                step.name
            );
            Err(Refusal::new("WrongTargets", message))
        }
        _ => Ok(given),
    }
}

fn spec(targets: &Targets) -> LaneSpec {
    let hosts = targets.hosts.clone().map(LaneSpec::Hosts);
    let pods = targets.pods.clone().map(LaneSpec::Pods);
    let workloads = targets.workloads.clone().map(LaneSpec::Workloads);
    let nodes = targets.nodes.clone().map(LaneSpec::Nodes);
    hosts
        .or(pods)
        .or(workloads)
        .or(nodes)
        .unwrap_or(LaneSpec::Once)
}

/// What a step's body is called, and the targets that it works on.
fn body(step: &Step) -> (&'static str, &'static [&'static str]) {
    const ANY: &[&str] = &["hosts", "pods", "workloads", "nodes", "none"];
    if let Some(action) = &step.action {
        return operation(action);
    }
    let bodies: [(bool, &str, &[&str]); 7] = [
        (step.exec.is_some(), "exec", &["pods"]),
        (step.script.is_some(), "script", &["hosts"]),
        (step.inline.is_some(), "inline", &["hosts"]),
        (step.file.is_some(), "file", &["hosts"]),
        (step.http.is_some(), "http", ANY),
        (step.wait.is_some(), "wait", ANY),
        (step.pause.is_some(), "pause", ANY),
    ];
    let given = bodies.into_iter().find(|(given, ..)| *given);
    given.map_or(("a step without a body", ANY), |(_, name, takes)| {
        (name, takes)
    })
}

fn operation(action: &ActionStep) -> (&'static str, &'static [&'static str]) {
    const OBJECTS: &[&str] = &["workloads", "pods", "nodes"];
    let operations: [(bool, &str, &[&str]); 13] = [
        (action.scale.is_some(), "action.scale", &["workloads"]),
        (
            action.rollout_restart.is_some(),
            "action.rolloutRestart",
            &["workloads"],
        ),
        (
            action.rollout_undo.is_some(),
            "action.rolloutUndo",
            &["workloads"],
        ),
        (action.delete_pod.is_some(), "action.deletePod", &["pods"]),
        (action.evict.is_some(), "action.evict", &["pods"]),
        (
            action.cordon.is_some(),
            "action.cordon",
            &["nodes", "hosts"],
        ),
        (
            action.uncordon.is_some(),
            "action.uncordon",
            &["nodes", "hosts"],
        ),
        (action.drain.is_some(), "action.drain", &["nodes", "hosts"]),
        (action.label.is_some(), "action.label", OBJECTS),
        (action.annotate.is_some(), "action.annotate", OBJECTS),
        (action.patch.is_some(), "action.patch", OBJECTS),
        (action.service.is_some(), "action.service", &["hosts"]),
        (action.reboot.is_some(), "action.reboot", &["hosts"]),
    ];
    let given = operations.into_iter().find(|(given, ..)| *given);
    given.map_or(("action.packageHold", &["hosts"]), |(_, name, takes)| {
        (name, takes)
    })
}

/// For each step how often the longest way to it changes lanes. Batches of a lane run within one stage, so lanes that wait for each other cannot lock up; steps that come last, whatever they need, have stages of their own.
pub fn stages(needs: &[Vec<usize>], lane: &[usize], last: &[bool]) -> Vec<usize> {
    let mut stages: Vec<Option<usize>> = vec![None; needs.len()];
    let ready = |stages: &[Option<usize>], step: usize| {
        stages[step].is_none() && needs[step].iter().all(|&need| stages[need].is_some())
    };
    while let Some(next) = (0..needs.len()).find(|&step| ready(&stages, step)) {
        let from =
            |&need: &usize| stages[need].unwrap_or(0) + usize::from(lane[need] != lane[next]);
        let first = if last[next] { needs.len() } else { 0 };
        stages[next] = Some(needs[next].iter().map(from).max().unwrap_or(first));
    }
    let all = stages.into_iter();
    all.map(|stage| stage.expect("steps that were ordered have no cycle"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(steps: &str) -> JobSpec {
        serde_json::from_str(&format!(
            r#"{{"targets":{{"hosts":{{"names":["a"]}}}},"steps":[{steps}]}}"#
        ))
        .expect("valid")
    }

    fn step(name: &str, needs: &str) -> String {
        format!(r#"{{"name":"{name}","needs":[{needs}],"inline":{{"content":"true"}}}}"#)
    }

    #[test]
    fn steps_are_ordered_by_their_needs() {
        let job = job(&[step("c", r#""b""#), step("b", r#""a""#), step("a", "")].join(","));
        assert_eq!(order(&job.steps).expect("a chain"), [2, 1, 0]);
    }

    #[test]
    fn an_operation_that_a_kind_of_workload_does_not_know_is_refused() {
        for (operation, kind, fits) in [
            ("scale\":{\"replicas\":1}", "StatefulSet", true),
            ("scale\":{\"replicas\":1}", "DaemonSet", false),
            ("rolloutUndo\":{}", "StatefulSet", true),
            ("rolloutRestart\":{}", "DaemonSet", true),
        ] {
            let targets = format!(r#""targets":{{"workloads":{{"kind":"{kind}","names":["a"]}}}}"#);
            let step = format!(r#"{{"name":"x",{targets},"action":{{"{operation}}}}}"#);
            assert_eq!(lanes(&job(&step)).is_ok(), fits, "{operation} {kind}");
        }
    }

    #[test]
    fn two_steps_of_one_name_are_refused() {
        let job = job(&[step("a", ""), step("a", r#""a""#)].join(","));
        assert_eq!(
            order(&job.steps).expect_err("twice").reason,
            "StepNotUnique"
        );
    }

    #[test]
    fn a_cycle_is_named_step_by_step() {
        let job = job(&[
            step("a", r#""c""#),
            step("b", r#""a""#),
            step("c", r#""b""#),
        ]
        .join(","));
        let refusal = order(&job.steps).expect_err("a cycle");
        assert_eq!(refusal.reason, "CycleInNeeds");
        assert!(
            refusal.message.contains("a -> c -> b -> a"),
            "{}",
            refusal.message
        );
    }

    #[test]
    fn a_body_on_the_wrong_kind_of_target_is_refused() {
        let job = job(r#"{"name":"x","exec":{"command":["true"]}}"#);
        assert_eq!(lanes(&job).expect_err("hosts").reason, "WrongTargets");
    }

    #[test]
    fn repeated_steps_stand_each_for_itself_and_what_needs_them_waits_for_all() {
        let many = r#"{"name":"b","needs":["a"],"forEach":["x","y"],"inline":{"content":"true"}}"#;
        let mut job = job(&[step("a", ""), many.to_owned(), step("c", r#""b""#)].join(","));
        job.on_failure = job.steps[..1].to_vec();
        job.on_failure.push(job.steps[1].clone());
        job.on_failure[0].name = "undo".into();
        job.on_failure[1].name = "tell".into();
        let nodes = nodes(&job);
        let needs: Vec<_> = nodes.iter().map(|node| node.needs.clone()).collect();
        let last: Vec<_> = nodes.iter().map(|node| node.on_failure).collect();
        assert_eq!(stages(&needs, &[0; 7], &last), [0, 0, 0, 0, 7, 7, 7]);
        let shown: Vec<_> = nodes
            .into_iter()
            .map(|n| (n.name, n.needs, n.on_failure))
            .collect();
        let wanted: [(&str, &[usize], bool); 7] = [
            ("a", &[], false),
            ("b.0", &[0], false),
            ("b.1", &[0], false),
            ("c", &[1, 2], false),
            ("undo", &[], true),
            ("tell.0", &[4], true),
            ("tell.1", &[4], true),
        ];
        assert_eq!(
            shown,
            wanted.map(|(name, needs, last)| (name.to_owned(), needs.to_vec(), last))
        );
    }

    #[test]
    fn stages_count_changes_of_lane() {
        // a(lane 0) -> b(lane 1) -> c(lane 0), and d(lane 0) needs a
        let needs = [vec![], vec![0], vec![1], vec![0]];
        assert_eq!(stages(&needs, &[0, 1, 0, 0], &[false; 4]), [0, 1, 2, 0]);
    }
}
