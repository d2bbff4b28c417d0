//! A ProtectionPolicy that is written: whether the rules of risk that are new in it can be used.

use crds::v1alpha1::{ProtectionPolicy, RiskScale};

use super::{Request, Unreadable};
use crate::change::risk;

/// Why it is refused, each rule by its name; nothing where what it weighs is as it was, so that whatever else is wrong with a policy can be repaired.
pub fn refused_risks(request: &Request) -> Result<Option<String>, Unreadable> {
    let policy = read(request.object)?;
    let before = request.before.map(read).transpose()?;
    let scale = scale(&policy);
    if before.as_ref().and_then(self::scale) == scale {
        return Ok(None);
    }
    let wrong = scale.map(risk::check).unwrap_or_default();
    let wrong: Vec<_> = wrong.into_iter().map(|refusal| refusal.message).collect();
    Ok((!wrong.is_empty()).then(|| wrong.join("; ")))
}

fn read(text: &str) -> Result<ProtectionPolicy, Unreadable> {
    serde_json::from_str(text).map_err(|e| Unreadable("ProtectionPolicy", e))
}

fn scale(policy: &ProtectionPolicy) -> Option<&RiskScale> {
    let ticketed = policy.spec.require.ticket.as_ref();
    ticketed.and_then(|ticketed| ticketed.risk.as_ref())
}
