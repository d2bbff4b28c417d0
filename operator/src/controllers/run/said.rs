//! The runs that have to be looked at because of what people say.

use crds::v1alpha1::{Approval, RunAction, SubjectKind};
use kube::{ResourceExt as _, core::DeserializeGuard, runtime::reflector::ObjectRef};

use crate::context::{Context, Run};

/// The runs that an approval may let begin or go on; whatever else it is about is woken.
pub fn of_approval(approval: DeserializeGuard<Approval>, ctx: &Context) -> Vec<Run> {
    let Some((approval, namespace)) = approval.0.ok().and_then(|a| a.namespace().map(|n| (a, n)))
    else {
        return Vec::new();
    };
    let (kind, name) = (approval.spec.subject.kind, &approval.spec.subject.name);
    match kind {
        SubjectKind::Script => ctx.wake_script(&namespace, name),
        SubjectKind::ChangeTicket => ctx.wake_ticket(&namespace, name),
        SubjectKind::ChangeSolution => ctx.wake_solution(&namespace, name),
        SubjectKind::BreakGlass => ctx.wake_glass(&namespace, name),
        SubjectKind::Job | SubjectKind::JobRun => {}
    }
    let named = (kind == SubjectKind::JobRun).then(|| name.clone());
    let waiting = ctx.memory.awaiting.take(Some(&namespace)).into_iter();
    let waiting = waiting.map(|(_, name)| name);
    let of = |name: String| ObjectRef::new(&name).within(&namespace);
    waiting.chain(named).map(of).collect()
}

/// The run that an action is about.
pub fn of_action(action: DeserializeGuard<RunAction>) -> Option<Run> {
    let action = action.0.ok()?;
    Some(ObjectRef::new(&action.spec.run_ref.name).within(&action.namespace()?))
}
