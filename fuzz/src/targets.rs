//! Whatever a Secret, a Host or a Job says of where work may go is read the same way twice, or refused; ranges, names and graphs mean what they say.
#![no_main]

use std::{collections::BTreeMap, net::IpAddr};

use crds::v1alpha1::{Duration, JobSpec, Selector};
use decide::{
    Limits,
    calls::Contents,
    freeze::{Findings, check, freeze},
    graph,
    parameters::Values,
    plan::{Plan, PlannedTarget},
    template,
};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use libfuzzer_sys::fuzz_target;
use reach::{
    off_limits::Range,
    ssh::{Credentials, HostKeys, Scope},
};

fuzz_target!(|text: &str| {
    match text.split_once('\n') {
        Some(("range", rest)) => ranges(rest),
        Some(("scope", rest)) => scopes(rest),
        Some(("keys", rest)) => drop(HostKeys::pinned(rest.lines())),
        Some(("secret", rest)) => secret(rest),
        Some(("duration", rest)) => duration(rest),
        _ => job(text),
    }
});

/// A range, then addresses: the range holds its own address, and of others those with the same prefix.
fn ranges(text: &str) {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let Ok(range) = first.parse::<Range>() else {
        return;
    };
    let own = first.split('/').next().map(str::parse::<IpAddr>);
    let own = own.expect("split gives one part").expect("it was read");
    assert!(range.contains(own));
    assert!(range.contains(own.to_canonical()));
    for ip in lines.filter_map(|line| line.parse::<IpAddr>().ok()) {
        assert_eq!(range.contains(ip), range.contains(ip.to_canonical()));
        let alone = Range::from(ip);
        assert!(
            alone.contains(ip) && alone.contains(own) == (ip.to_canonical() == own.to_canonical())
        );
    }
}

/// A list of places, an empty line, then addresses: permission does not hang on the case, and a list is as wide as its lines together.
fn scopes(text: &str) {
    let (list, addresses) = text.split_once("\n\n").unwrap_or((text, ""));
    let Ok(scope) = Scope::parse("addresses", list) else {
        return;
    };
    let parts: Vec<_> = list
        .lines()
        .map(|line| Scope::parse("addresses", line).expect("each line of a list that was read"))
        .collect();
    for address in addresses.lines() {
        let permitted = scope.permits(address);
        assert_eq!(permitted, scope.permits(&address.to_ascii_uppercase()));
        assert_eq!(permitted, parts.iter().any(|part| part.permits(address)));
        let Ok(ip) = address.parse::<IpAddr>() else {
            continue;
        };
        assert_eq!(scope.choose("no-such-name.invalid", &[ip]).is_empty(), {
            !permitted && !scope.permits("no-such-name.invalid")
        });
    }
}

/// Fields begin with `field:` on a line of its own. What is read goes somewhere; nothing of it is shown.
fn secret(text: &str) {
    let mut data = BTreeMap::<String, ByteString>::new();
    let mut field = "ssh-privatekey".to_owned();
    for line in text.lines() {
        if let Some(name) = line.strip_suffix(':') {
            name.clone_into(&mut field);
            continue;
        }
        let value = &mut data.entry(field.clone()).or_default().0;
        value.extend_from_slice(line.as_bytes());
        value.push(b'\n');
    }
    if let Ok(read) = Credentials::from_secret(&data) {
        assert!(!read.addresses().is_empty(), "it names a place");
        let shown = format!("{read:?}");
        let password = data.get("password").map(|p| String::from_utf8_lossy(&p.0));
        let secret = password.as_deref().map(str::trim).filter(|p| p.len() > 12);
        let public = data.get("addresses").map(|a| String::from_utf8_lossy(&a.0));
        if let (Some(secret), Some(public)) = (secret, public) {
            assert!(public.contains(secret) || !shown.contains(secret));
        }
    }
}

/// What a duration prints reads as the same duration.
fn duration(text: &str) {
    if let Ok(read) = text.parse::<Duration>() {
        let again: Duration = read.to_string().parse().expect("as printed");
        assert_eq!(again, read);
    }
}

/// A Job that can be planned at all gives a plan that hangs together and is the same when it is read back.
fn job(text: &str) {
    let Ok(job) = serde_json::from_str::<JobSpec>(text) else {
        return;
    };
    fuzz::reads_back(&job);
    let checked = check("job", &job, &Contents::default(), &Limits::default());
    let Ok((lanes, of_step)) = graph::lanes(&job) else {
        return assert!(checked.is_err());
    };
    assert_eq!(of_step.len(), graph::nodes(&job).len());
    let target = |name: &str| PlannedTarget {
        name: name.to_owned(),
        uid: format!("{name}-uid"),
        ..PlannedTarget::default()
    };
    let targets = lanes.iter().map(|lane| match lane {
        graph::LaneSpec::Workloads(of) => of.names.iter().map(|name| target(name)).collect(),
        graph::LaneSpec::Hosts(of) | graph::LaneSpec::Pods(of) | graph::LaneSpec::Nodes(of) => {
            let _ = of.selector.as_ref().map(Selector::query);
            of.names.iter().map(|name| target(name)).collect()
        }
        graph::LaneSpec::Once => vec![target("")],
    });
    let found = Findings {
        job_name: "job",
        job: &job,
        account: "runner",
        run: template::Run {
            name: "run",
            namespace: "ns",
        },
        values: Values::default(),
        reached: Contents::default(),
        revision: None,
        targets: targets.collect(),
        secrets: BTreeMap::new(),
        files: BTreeMap::new(),
    };
    let Ok(plan) = freeze(&found, &Limits::default(), Timestamp::UNIX_EPOCH) else {
        return;
    };
    assert!(plan.is_coherent());
    let (stored, hash) = plan.seal();
    assert_eq!(decide::plan::hash(&stored), hash);
    let back: Plan = serde_json::from_value(stored).expect("as sealed");
    assert_eq!(back, plan);
    assert_eq!(back.seal().1, hash);
}
