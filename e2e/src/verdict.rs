//! What the API server thought of a write: taken, or refused with the words that help.

use kube::api::DynamicObject;

/// The object as it was taken.
#[track_caller]
pub fn accepted(answer: kube::Result<DynamicObject>) -> DynamicObject {
    answer.unwrap_or_else(|error| panic!("refused, but should be accepted: {error}"))
}

/// The refusal says all that is asked for.
#[track_caller]
pub fn refused(answer: kube::Result<DynamicObject>, fragments: &[&str]) {
    let error = answer
        .expect_err("accepted, but should be refused")
        .to_string();
    for fragment in fragments {
        assert!(error.contains(fragment), "no {fragment:?} in: {error}");
    }
}
