//! What controllers hear: what they are woken by from within, and what people say, by the part of the scope that it is in.

use std::collections::HashMap;

use crds::v1alpha1::{Approval, ChangeAction, ProtectionPolicy, RunAction};
use kube::Client;

use super::protection;
use crate::{
    heard::{Heard, Known, News},
    policies::{self, Policies},
    scope::Scope,
    wakes::{Sleepers, Wakes},
};

/// What people say of one kind.
pub type Heeded<K> = HashMap<String, News<K>>;

pub struct Ears {
    pub woken: Sleepers,
    pub actions: Heeded<RunAction>,
    pub approvals: Heeded<Approval>,
    pub change_actions: Heeded<ChangeAction>,
    pub policies: Option<policies::News>,
    pub protections: Option<protection::News>,
}

/// What is known by them, and the ways to wake.
pub struct Said {
    pub wakes: Wakes,
    pub actions: Heard<RunAction>,
    pub approvals: Heard<Approval>,
    pub change_actions: Heard<ChangeAction>,
    pub policies: Policies,
    pub protections: Option<Known<ProtectionPolicy>>,
}

impl Ears {
    pub fn open(client: &Client, scope: &Scope) -> (Self, Said) {
        let (wakes, woken) = Wakes::of(scope);
        let actions = Heard::of(client, scope);
        let approvals = Heard::of(client, scope);
        let change_actions = Heard::of(client, scope);
        let policies = Policies::heard(client, scope);
        let protections = protection::heard(client, scope);
        let said = Said {
            wakes,
            actions: actions.0,
            approvals: approvals.0,
            change_actions: change_actions.0,
            policies: policies.0,
            protections: protections.as_ref().map(|(_, known)| known.clone()),
        };
        let ears = Self {
            woken,
            actions: actions.1,
            approvals: approvals.1,
            change_actions: change_actions.1,
            policies: policies.1,
            protections,
        };
        (ears, said)
    }
}

/// What is of a part of the scope.
pub fn own<T>(all: &mut HashMap<String, T>, part: &str) -> T {
    all.remove(part).expect("each part has its own")
}
