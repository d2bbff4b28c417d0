//! Addresses that nobody is taken to in the name of a Host or of a URL: this machine itself, link-local services, and what belongs to the cluster. A machine that is a node
//! of the cluster is reached only as that node.

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
};

mod range;

pub use range::{NoRange, Range};

/// Never a machine that work is done on: unspecified, loopback, link-local and multicast.
const NEVER: [&str; 8] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "::/128",
    "::1/128",
    "fe80::/10",
    "ff00::/8",
];

/// Whose an address is that is off limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Loopback, link-local and the like.
    Nobodys,
    ApiServer,
    Services,
    /// What somebody in charge keeps Hosts and URLs away from.
    Denied,
    /// The node itself, or a pod on it.
    Node(String),
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobodys => f.write_str("a loopback, link-local or multicast address"),
            Self::ApiServer => f.write_str("the API server"),
            Self::Services => f.write_str("a Service of the cluster"),
            Self::Denied => f.write_str("a range of operator.outbound.deny"),
            Self::Node(name) => write!(
                f,
                "node {name} or a pod on it; if the machine is that node, say so in its Host's nodeName"
            ),
        }
    }
}

/// What is off limits. By default nothing is.
#[derive(Clone, Debug, Default)]
pub struct OffLimits {
    ranges: Vec<(Range, Whose)>,
    excepted: Vec<Range>,
}

impl OffLimits {
    /// These ranges, and what is never a machine; except for ranges that somebody in charge has allowed.
    pub fn new(ranges: Vec<(Range, Whose)>, excepted: Vec<Range>) -> Self {
        let never = NEVER.map(|range| (range.parse().expect("a literal range"), Whose::Nobodys));
        Self {
            ranges: never.into_iter().chain(ranges).collect(),
            excepted,
        }
    }

    /// Whose the address is, where a machine that is this node, or none, may not be sought there.
    fn judge(&self, ip: IpAddr, node: Option<&str>) -> Option<&Whose> {
        if self.excepted.iter().any(|range| range.contains(ip)) {
            return None;
        }
        let of = |(range, _): &&(Range, Whose)| range.contains(ip);
        let mut owners = self.ranges.iter().filter(of).map(|(_, whose)| whose);
        owners.find(|whose| !matches!(whose, Whose::Node(name) if Some(name.as_str()) == node))
    }
}

/// What is off limits just now. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Avoided(Arc<RwLock<OffLimits>>);

impl Avoided {
    /// From now on no connection is opened to these addresses.
    pub fn set(&self, off_limits: OffLimits) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = off_limits;
    }

    /// Whose the address is, where a machine that is this node, or none, may not be sought there.
    pub fn judge(&self, ip: IpAddr, node: Option<&str>) -> Option<Whose> {
        let now = self.0.read().unwrap_or_else(PoisonError::into_inner);
        now.judge(ip, node).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn off_limits(excepted: &[&str]) -> OffLimits {
        let range = |text: &str| text.parse().expect("range");
        OffLimits::new(
            vec![
                (range("10.96.0.0/16"), Whose::Services),
                (range("192.0.2.1"), Whose::ApiServer),
                (range("192.0.2.7"), Whose::Node("n7".into())),
                (range("10.244.7.0/24"), Whose::Node("n7".into())),
            ],
            excepted.iter().map(|text| range(text)).collect(),
        )
    }

    #[test]
    fn an_address_of_the_cluster_is_off_limits_but_for_the_node_that_it_is() {
        let cases: [(&str, Option<&str>, Option<Whose>); 9] = [
            ("198.51.100.1", None, None),
            ("127.0.0.1", None, Some(Whose::Nobodys)),
            ("::ffff:169.254.169.254", None, Some(Whose::Nobodys)),
            ("fe80::1", None, Some(Whose::Nobodys)),
            ("10.96.0.1", None, Some(Whose::Services)),
            ("192.0.2.1", Some("n7"), Some(Whose::ApiServer)),
            ("192.0.2.7", None, Some(Whose::Node("n7".into()))),
            ("10.244.7.1", Some("n8"), Some(Whose::Node("n7".into()))),
            ("192.0.2.7", Some("n7"), None),
        ];
        for (ip, node, expected) in cases {
            let judged = off_limits(&[]);
            let judged = judged.judge(ip.parse().expect("ip"), node);
            assert_eq!(judged, expected.as_ref(), "{ip} as {node:?}");
        }
    }

    #[test]
    fn what_is_allowed_by_configuration_is_not_off_limits_and_by_default_nothing_is() {
        let ip = "127.0.0.9".parse().expect("ip");
        assert_eq!(off_limits(&["127.0.0.0/8"]).judge(ip, None), None);
        assert_eq!(OffLimits::default().judge(ip, None), None);
    }
}
