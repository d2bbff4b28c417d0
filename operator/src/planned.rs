//! What a change is planned with, as it is now: its Job with all that this names, who wrote that, whether they may have it run, and the solution that it is of.

use std::collections::BTreeSet;

use crds::v1alpha1::{ChangeJob, JobSpec};
use decide::{
    Refusal, calls,
    change::{JobSeen, SolutionSeen},
};

use crate::{
    context::Context,
    entitled::{self, Writer},
    error::{Error, Result},
    reached::{self, Definition},
    resolve::Gap,
};

/// What was found of it.
pub struct Planned {
    /// The Job, none where a guide is followed; or why it cannot be run.
    pub job: Result<Option<JobSeen>, Refusal>,
    /// Why a run of it would be refused.
    pub barred: Option<Refusal>,
    /// The solution that the Job or the guide is of, where others have agreed to that.
    pub solution: Option<SolutionSeen>,
    /// What the Job says, as far as it can be run.
    pub says: Option<JobSpec>,
}

impl Planned {
    /// A guide, or what nobody has looked at.
    pub const GUIDE: Self = Self::as_job(Ok(None));

    const fn as_job(job: Result<Option<JobSeen>, Refusal>) -> Self {
        Self {
            job,
            barred: None,
            solution: None,
            says: None,
        }
    }
}

impl From<Refusal> for Planned {
    fn from(refusal: Refusal) -> Self {
        Self::as_job(Err(refusal))
    }
}

/// Looks at a planned Job; at the rights of its writers and of those who plan it where these are given.
pub async fn look(
    ctx: &Context,
    namespace: &str,
    planned: Option<&ChangeJob>,
    behind: Option<Vec<Writer>>,
) -> Result<Planned> {
    let Some(planned) = planned else {
        return Ok(Planned::GUIDE);
    };
    let name = &planned.job_ref.name;
    let asked = async {
        let found = reached::definition(ctx, namespace, name).await?;
        let Some(found) = found else {
            let message = format!("spec.plan.job.jobRef.name: there is no Job {name}; create it");
            return Err(Gap::Refused(Refusal::new("JobNotFound", message)));
        };
        let seen = seen(name, &found).map_err(Gap::Refused)?;
        let says = found.job.spec.clone();
        let Some(mut writers) = behind else {
            return Ok((seen, says, None));
        };
        writers.extend(found.writers());
        let account = &planned.service_account_name;
        match entitled::all(ctx, namespace, account, writers).await {
            Ok(()) => Ok((seen, says, None)),
            Err(Gap::Refused(barred)) => Ok((seen, says, Some(barred))),
            Err(gap) => Err(gap),
        }
    };
    Ok(match asked.await {
        Ok((seen, says, barred)) => Planned {
            barred,
            says: Some(says),
            ..Planned::as_job(Ok(Some(seen)))
        },
        Err(Gap::Refused(refusal)) => refusal.into(),
        Err(Gap::Failed { what, source }) => return Err(Error::Observe { what, source }),
        Err(Gap::Forbidden(why) | Gap::Unseen(_, why)) => Refusal::new("Forbidden", why).into(),
    })
}

fn seen(name: &str, found: &Definition) -> Result<JobSeen, Refusal> {
    let revisions = calls::revisions(name, &found.job.spec, &found.reached.contents());
    let revision = revisions.map_err(|refusal| {
        let message = format!("Job {name} cannot be run: {}", refusal.message);
        Refusal::new(refusal.reason, message)
    })?;
    let writers = found.writers();
    let writers = writers.filter_map(|writer| writer.by().map(|by| by.user.clone()));
    Ok(JobSeen {
        revision: revision.own,
        writers: writers.collect::<BTreeSet<_>>(),
    })
}
