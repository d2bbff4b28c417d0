//! A change by region: the whole is reviewed once, and each region is a part of it, a ticket of its own. What a part says follows from the whole alone; one that says anything else is approved by nobody, whoever wrote it.

mod parts;

use std::collections::BTreeSet;

use crds::v1alpha1::{
    ChangePartOf, ChangeRegion, ChangeScope, ChangeTicket, ChangeTicketSpec, RegionStatus, clip,
};
use serde_json::json;

use super::{Content, JobSeen, World};
use crate::Refusal;

pub use parts::ForPart;
pub(super) use parts::regions;

/// Characters of a title.
const TITLE: usize = 128;
/// Characters of a part's name, which its run takes over.
const NAME: usize = 63;
/// Values that a Job can be given at most.
const VALUES: usize = 300;
/// Regions that are kept track of, with those that were taken out of the plan after their start.
const TRACKED: usize = 20;

/// Whether a ticket is made by region. One that was started before it had any is not.
pub fn is_whole(ticket: &ChangeTicket) -> bool {
    let status = ticket.status.as_ref();
    let has = !ticket.spec.regions.is_empty() || status.is_some_and(|s| !s.regions.is_empty());
    has && ticket.spec.part_of.is_none() && status.is_none_or(|s| s.started.is_none())
}

/// Whether any part of a ticket was seen to have started.
pub fn has_begun(whole: &ChangeTicket) -> bool {
    let mut tracked = whole.status.iter().flat_map(|status| &status.regions);
    tracked.any(|region| region.started_at.is_some())
}

/// Name of the part of a region: the same whoever creates it, and another for a ticket of the same name that was created anew.
pub fn part_name(whole: &ChangeTicket, region: &str) -> String {
    let name = whole.metadata.name.as_deref().unwrap_or_default();
    let uid = whole.metadata.uid.as_deref().unwrap_or_default();
    let uid = uid.chars().filter(char::is_ascii_hexdigit).take(8);
    let rest = format!("-{region}-{}", uid.collect::<String>());
    let left = name.len().min(NAME.saturating_sub(rest.len()));
    let name = name[..left].trim_end_matches(['-', '.']);
    format!("{name}{rest}")
}

/// What the whole makes of a region, as it is decided on under this digest.
pub fn part(whole: &ChangeTicket, region: &ChangeRegion, digest: &str) -> ChangeTicketSpec {
    let of = &whole.spec;
    let title = clip(&of.title, TITLE - 3 - region.name.len());
    let hosts = Some(&region.hosts).filter(|hosts| !hosts.is_empty());
    let implementers = region.implementers.as_ref();
    let mut plan = of.plan.clone();
    if let Some(job) = &mut plan.job {
        let own = &region.parameters;
        job.secret_parameters
            .retain(|name, _| !own.contains_key(name));
        job.parameters.extend(own.clone());
    }
    if let Some(solution) = &mut plan.solution {
        solution.parameters.extend(region.parameters.clone());
    }
    ChangeTicketSpec {
        title: format!("{title} ({})", region.name),
        scope: ChangeScope {
            hosts: hosts.unwrap_or(&of.scope.hosts).clone(),
            ..of.scope.clone()
        },
        window: region.window.clone(),
        plan,
        implementers: implementers.unwrap_or(&of.implementers).clone(),
        regions: Vec::new(),
        part_of: Some(ChangePartOf {
            name: whole.metadata.name.clone().unwrap_or_default(),
            uid: whole.metadata.uid.clone().unwrap_or_default(),
            digest: digest.to_owned(),
            region: region.name.clone(),
        }),
        submit: true,
        requested_by: None,
        ..of.clone()
    }
}

/// What is decided on where a part is reviewed with its whole, and what keeps it from that. Its Job is what it was at the part's start, where it has started.
pub(super) fn agreed<'a>(
    part: &ChangeTicket,
    of: &ChangePartOf,
    world: &World<'a>,
    own: &Content,
    job: Option<&JobSeen>,
) -> Result<(&'a ChangeTicket, Content), Refusal> {
    let whole = going_on(part, of, world)?;
    let as_begun = (own.revision.clone(), own.solution.clone());
    let content = Content::at(whole, as_begun, job, world.solution);
    follows(part, of, whole, &content)?;
    Ok((whole, content))
}

/// The whole, while it is there and handed in.
fn going_on<'a>(
    part: &ChangeTicket,
    of: &ChangePartOf,
    world: &World<'a>,
) -> Result<&'a ChangeTicket, Refusal> {
    let name = &of.name;
    let goes_on = |whole: &&ChangeTicket| {
        is_of(of, whole) && whole.metadata.deletion_timestamp.is_none() && !whole.is_finished()
    };
    let Some(whole) = world.whole.filter(goes_on) else {
        let message = format!("ChangeTicket {name}, which this is a part of, has ended or is gone");
        return Err(Refusal::new("WholeGone", message));
    };
    let begun = part.status.as_ref().is_some_and(|s| s.started.is_some());
    if !whole.spec.submit && !begun {
        let message = format!("ChangeTicket {name} was taken back (spec.submit is false)");
        return Err(Refusal::new("WholeTakenBack", message));
    }
    Ok(whole)
}

/// That a part says what its whole makes of it, as that is now.
fn follows(
    part: &ChangeTicket,
    of: &ChangePartOf,
    whole: &ChangeTicket,
    content: &Content,
) -> Result<(), Refusal> {
    let ChangePartOf { name, region, .. } = of;
    let no = |reason, message: String| Err(Refusal::new(reason, message));
    let Some(planned) = whole.spec.regions.iter().find(|r| r.name == *region) else {
        let message = format!("spec.regions of ChangeTicket {name} names no region {region}");
        return no("RegionNotPlanned", message);
    };
    let right = part_name(whole, region);
    if part.metadata.name.as_ref() != Some(&right) {
        let message = format!(
            "the part of region {region} of ChangeTicket {name} is {right}, and this is another; delete it"
        );
        return no("PartChanged", message);
    }
    if of.digest != content.digest {
        let message = format!(
            "ChangeTicket {name} or its Job was changed; this part follows as soon as that is approved (kubectl pilothouse approve ticket/{name})"
        );
        return no("WholeChanged", message);
    }
    let said = ChangeTicketSpec {
        requested_by: None,
        ..part.spec.clone()
    };
    // As they are written, since what is written and read again may be less exact.
    if json!(said) != json!(self::part(whole, planned, &of.digest)) {
        let message = format!(
            "somebody has changed it, and it is not what ChangeTicket {name} makes of region {region} any more; change it back, or change {name} and have that reviewed"
        );
        return no("PartChanged", message);
    }
    Ok(())
}

/// Whether a ticket says that it is a part of this very one.
fn is_of(of: &ChangePartOf, whole: &ChangeTicket) -> bool {
    Some(&of.name) == whole.metadata.name.as_ref() && Some(&of.uid) == whole.metadata.uid.as_ref()
}

/// Whether a ticket is the part of a region that it has the name of, as it says itself.
fn is_part(part: &ChangeTicket, whole: &ChangeTicket, region: &str) -> bool {
    let of = part.spec.part_of.as_ref();
    of.is_some_and(|of| is_of(of, whole) && of.region == region)
}

/// What keeps the regions of a ticket from being made, whoever agrees.
pub(super) fn check(spec: &ChangeTicketSpec) -> Result<(), Refusal> {
    let known: BTreeSet<_> = spec.scope.hosts.iter().collect();
    let job = spec.plan.job.iter().map(|job| &job.parameters);
    let solution = spec.plan.solution.iter().map(|used| &used.parameters);
    let given: Vec<_> = job.chain(solution).collect();
    for ChangeRegion {
        name,
        hosts,
        parameters,
        ..
    } in &spec.regions
    {
        let beyond = hosts.iter().find(|host| !known.contains(host));
        if let Some(host) = beyond.filter(|_| !known.is_empty()) {
            let message = format!(
                "spec.regions: region {name} names host {host}, and spec.scope.hosts does not; add it there, or leave it out"
            );
            return Err(Refusal::new("HostNotInScope", message));
        }
        let given = given.iter().copied().flatten();
        let given: BTreeSet<_> = given.chain(parameters).map(|(name, _)| name).collect();
        if given.len() > VALUES {
            let message = format!(
                "spec.regions: with those of region {name} the Job is given {} parameters, and {VALUES} are the most",
                given.len()
            );
            return Err(Refusal::new("TooManyParameters", message));
        }
    }
    Ok(())
}

/// Tickets that have to be looked at when this one was written: its parts, or its whole.
pub fn relatives(ticket: &ChangeTicket) -> impl Iterator<Item = &str> {
    let status = ticket.status.as_ref();
    let parts = status.into_iter().flat_map(|status| &status.regions);
    let parts = parts.map(|region: &RegionStatus| region.ticket.as_str());
    let whole = ticket.spec.part_of.iter().map(|of| of.name.as_str());
    whole.chain(parts)
}

/// Parts of a ticket that it has to look at, by their names; what ended is known.
pub fn sought(whole: &ChangeTicket) -> BTreeSet<String> {
    if whole.is_finished() || !is_whole(whole) {
        return BTreeSet::new();
    }
    let tracked = whole.status.iter().flat_map(|status| &status.regions);
    let open = tracked.clone().filter(|r| r.finished_at.is_none());
    let open = open.map(|region| region.ticket.clone());
    let is_new = |name: &&String| !tracked.clone().any(|region| region.name == **name);
    let planned = whole.spec.regions.iter().map(|region| &region.name);
    let new = planned.filter(is_new).map(|name| part_name(whole, name));
    open.chain(new).collect()
}

/// Whether the whole has seen that there is this part, and how it ended. It is kept until then: one that went unseen would be made, and carried out, once more.
pub fn knows(whole: &ChangeTicket, part: &ChangeTicket) -> bool {
    let Some(of) = part.spec.part_of.as_ref().filter(|of| is_of(of, whole)) else {
        return true;
    };
    let is_named = part.metadata.name.as_ref() == Some(&part_name(whole, &of.region));
    if whole.is_finished() || whole.metadata.deletion_timestamp.is_some() || !is_named {
        return true;
    }
    let mut tracked = whole.status.iter().flat_map(|status| &status.regions);
    match tracked.find(|region| region.name == of.region) {
        Some(region) if region.finished_at.is_some() => true,
        Some(region) => region.uid == part.metadata.uid && !part.is_finished(),
        None => !whole.spec.regions.iter().any(|r| r.name == of.region),
    }
}

#[cfg(test)]
mod tests;
