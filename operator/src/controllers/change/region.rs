//! The parts of a ticket by region: looked up by the names that they have to have, created once, and made to follow what everybody has agreed to.

use crds::{
    names::FINALIZER_CHANGE,
    v1alpha1::{ChangeTicket, ChangeTicketSpec},
};
use decide::change::region::{self, ForPart};
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::{ObjectMeta, PostParams},
    core::DeserializeGuard,
    runtime::watcher::Event,
};

use crate::{
    bookings,
    context::Context,
    error::{Result, acting, observing},
};

/// Has other tickets looked at that one which was written is in the way of, is a part of, or is the whole of.
pub fn hear(ctx: &Context, part: &str, event: &Event<DeserializeGuard<ChangeTicket>>) {
    bookings::hear(ctx, part, event);
    let (Event::Apply(written) | Event::Delete(written)) = event else {
        return;
    };
    let namespace = written.namespace().unwrap_or_default();
    for relative in written.0.iter().flat_map(region::relatives) {
        ctx.wake_ticket(&namespace, relative);
    }
}

/// The ticket that this is a part of, where it is there: the very one, not another of its name.
pub async fn whole(ctx: &Context, part: &ChangeTicket) -> Result<Option<ChangeTicket>> {
    let Some(of) = &part.spec.part_of else {
        return Ok(None);
    };
    let found = named(ctx, part, &of.name).await?;
    Ok(found.filter(|whole| whole.uid().as_ref() == Some(&of.uid)))
}

/// What there is by the names of the parts that it has to look at.
pub async fn parts(ctx: &Context, whole: &ChangeTicket) -> Result<Vec<ChangeTicket>> {
    let mut found = Vec::new();
    for name in region::sought(whole) {
        found.extend(named(ctx, whole, &name).await?);
    }
    Ok(found)
}

async fn named(ctx: &Context, beside: &ChangeTicket, name: &str) -> Result<Option<ChangeTicket>> {
    let namespace = beside.namespace().unwrap_or_default();
    let tickets = Api::<ChangeTicket>::namespaced(ctx.client.clone(), &namespace);
    let found = tickets.get_opt(name).await;
    found.map_err(observing(format!("ChangeTicket {name}")))
}

/// Writes parts. One that cannot be written keeps no other from that.
pub async fn carry_out(
    ctx: &Context,
    whole: &ChangeTicket,
    parts: &[ChangeTicket],
    wanted: &[ForPart],
) -> Result<()> {
    let namespace = whole.namespace().unwrap_or_default();
    let api = Api::<ChangeTicket>::namespaced(ctx.client.clone(), &namespace);
    let mut all = Ok(());
    for one in wanted {
        let done = match one {
            ForPart::Create(name, spec) => {
                let part = ChangeTicket {
                    metadata: meta(whole, name),
                    spec: said(ctx, spec),
                    status: None,
                };
                create(&api, name, &part).await
            }
            ForPart::Write(name, spec) => {
                let Some(there) = parts.iter().find(|part| part.name_any() == *name) else {
                    continue;
                };
                let part = ChangeTicket {
                    spec: said(ctx, spec),
                    ..there.clone()
                };
                let written = api.replace(name, &PostParams::default(), &part).await;
                let failing = acting(format!("ChangeTicket {name}"));
                written.map(|_| ()).map_err(failing)
            }
        };
        all = all.and(done);
    }
    all
}

/// Creates a part, unless something has its name: the next turn sees what.
async fn create(api: &Api<ChangeTicket>, name: &str, part: &ChangeTicket) -> Result<()> {
    match api.create(&PostParams::default(), part).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(acting(format!("ChangeTicket {name}"))(error)),
    }
}

/// A part goes with its whole, and is kept from its first moment until that has seen it.
fn meta(whole: &ChangeTicket, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: whole.namespace(),
        owner_references: whole.controller_owner_ref(&()).map(|owner| vec![owner]),
        finalizers: Some(vec![FINALIZER_CHANGE.to_owned()]),
        ..ObjectMeta::default()
    }
}

fn said(ctx: &Context, spec: &ChangeTicketSpec) -> ChangeTicketSpec {
    ChangeTicketSpec {
        requested_by: Some(ctx.me.clone()),
        ..spec.clone()
    }
}
