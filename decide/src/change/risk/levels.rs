//! Levels of review that different people decide on. Whoever is of two levels agrees for both, so levels that name the same user or group are one.

use crds::v1alpha1::ReviewLevel;

/// The most levels of which no two name a user or a group in common.
pub(super) fn apart(levels: &[ReviewLevel]) -> i32 {
    let Some((first, rest)) = levels.split_first() else {
        return 0;
    };
    let others: Vec<_> = rest
        .iter()
        .filter(|level| !meet(first, level))
        .cloned()
        .collect();
    apart(rest).max(1 + apart(&others))
}

fn meet(one: &ReviewLevel, other: &ReviewLevel) -> bool {
    one.users.iter().any(|user| other.users.contains(user))
        || one.groups.iter().any(|group| other.groups.contains(group))
}
