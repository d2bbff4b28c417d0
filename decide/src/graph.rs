//! Steps as a graph: an order in which they can go, the lanes of targets they share, and the stages between which whole lanes wait.

use std::collections::BTreeMap;

use crds::v1alpha1::{JobSpec, ObjectTargets, Step};

use crate::Refusal;

/// Steps in an order that respects `needs`, or the cycle that prevents one.
pub fn order(steps: &[Step]) -> Result<Vec<usize>, Refusal> {
    let index: BTreeMap<&str, usize> = steps
        .iter()
        .enumerate()
        .map(|(i, s)| (s.name.as_str(), i))
        .collect();
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

/// One set of targets that one or more steps share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneSpec {
    Hosts(ObjectTargets),
    Pods(ObjectTargets),
    Once,
}

/// The lanes of a job, and for each step the lane it is in.
pub fn lanes(job: &JobSpec) -> Result<(Vec<LaneSpec>, Vec<usize>), Refusal> {
    let mut lanes: Vec<LaneSpec> = Vec::new();
    let mut of_step = Vec::with_capacity(job.steps.len());
    for step in &job.steps {
        let lane = lane(job, step)?;
        let at = lanes.iter().position(|l| *l == lane).unwrap_or_else(|| {
            lanes.push(lane);
            lanes.len() - 1
        });
        of_step.push(at);
    }
    Ok((lanes, of_step))
}

fn lane(job: &JobSpec, step: &Step) -> Result<LaneSpec, Refusal> {
    if step.pod.is_some() {
        return Ok(LaneSpec::Once);
    }
    let targets = step.targets.as_ref().or(job.targets.as_ref());
    let wrong = |body, wanted| {
        Refusal::new(
            "WrongTargets",
            format!(
                "steps.{}: {body} works on {wanted}; give the step `targets: {{{wanted}: ...}}`",
                step.name
            ),
        )
    };
    let (hosts, pods) = targets.map_or((None, None), |t| (t.hosts.as_ref(), t.pods.as_ref()));
    if step.exec.is_some() {
        return pods
            .cloned()
            .map(LaneSpec::Pods)
            .ok_or_else(|| wrong("exec", "pods"));
    }
    let body = if step.script.is_some() {
        "script"
    } else {
        "inline"
    };
    hosts
        .cloned()
        .map(LaneSpec::Hosts)
        .ok_or_else(|| wrong(body, "hosts"))
}

/// For each step how often the longest way to it changes lanes. Batches of a lane run within one stage, so lanes that wait for each other cannot lock up.
pub fn stages(order: &[usize], needs: &[Vec<usize>], lane: &[usize]) -> Vec<usize> {
    let mut stage = vec![0; order.len()];
    for &step in order {
        let from = |&need: &usize| stage[need] + usize::from(lane[need] != lane[step]);
        stage[step] = needs[step].iter().map(from).max().unwrap_or(0);
    }
    stage
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
    fn stages_count_changes_of_lane() {
        // a(lane 0) -> b(lane 1) -> c(lane 0), and d(lane 0) needs a
        let needs = [vec![], vec![0], vec![1], vec![0]];
        assert_eq!(stages(&[0, 1, 2, 3], &needs, &[0, 1, 0, 0]), [0, 1, 2, 0]);
    }
}
