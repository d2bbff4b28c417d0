//! Where a credential may go: the `addresses` and `jumpHosts` of its Secret, decided without touching the network.

use std::net::IpAddr;

use super::Error;
use crate::off_limits::{NoRange, Range};

/// Addresses that a Secret names: IP addresses, CIDR ranges, host names with `*` and `?`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Range(Range),
    Name(String),
}

impl Scope {
    /// One entry a line; blank lines and lines that start with `#` say nothing.
    pub fn parse(field: &'static str, list: &str) -> Result<Self, Error> {
        let entries = list
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| Entry::parse(field, line))
            .collect::<Result<_, _>>()?;
        Ok(Self { entries })
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether this very text, an address or the name of a Host, is named.
    pub fn permits(&self, address: &str) -> bool {
        match address.parse::<IpAddr>() {
            Ok(ip) => self.permits_ip(ip),
            Err(_) => self.permits_name(address),
        }
    }

    /// Which of a name's resolved addresses the credential may go to: all of them when the name itself is permitted, else those in a permitted range.
    pub fn choose(&self, address: &str, resolved: &[IpAddr]) -> Vec<IpAddr> {
        let all = self.permits(address);
        resolved
            .iter()
            .copied()
            .filter(|ip| all || self.permits_ip(*ip))
            .collect()
    }

    fn permits_ip(&self, ip: IpAddr) -> bool {
        self.entries.iter().any(|entry| match entry {
            Entry::Range(range) => range.contains(ip),
            Entry::Name(pattern) => pattern == "*",
        })
    }

    fn permits_name(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.entries
            .iter()
            .any(|entry| matches!(entry, Entry::Name(pattern) if glob(pattern.as_bytes(), name.as_bytes())))
    }
}

impl Entry {
    fn parse(field: &'static str, line: &str) -> Result<Self, Error> {
        let bad = |reason: String| Error::BadCredential { field, reason };
        let prefixed = line.contains('/');
        match line.parse() {
            Ok(range) => return Ok(Self::Range(range)),
            Err(NoRange::Prefix) => {
                return Err(bad(format!("{line:?} has no valid prefix length")));
            }
            Err(NoRange::Address) => {}
        }
        let name_like = |c: char| c.is_ascii_alphanumeric() || "-._*?".contains(c);
        if prefixed || !line.chars().all(name_like) {
            return Err(bad(format!(
                "{line:?} is no IP address, CIDR range or host name pattern"
            )));
        }
        // A pattern of digits would match names such as 10.0.0.example.org, which anybody can own.
        if line != "*" && !line.chars().any(|c| c.is_ascii_alphabetic()) {
            return Err(bad(format!(
                "{line:?} has no letter; write ranges of addresses as CIDR"
            )));
        }
        Ok(Self::Name(line.trim_end_matches('.').to_ascii_lowercase()))
    }
}

/// `*` stands for any run of characters, `?` for one.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            p = at + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(list: &str) -> Scope {
        Scope::parse("addresses", list).expect("list")
    }

    #[test]
    fn an_address_is_permitted_when_the_list_names_it() {
        let cases = [
            ("10.0.0.5", "10.0.0.5", true),
            ("10.0.0.5", "10.0.0.6", false),
            ("10.0.0.0/24", "10.0.0.255", true),
            ("10.0.0.0/24", "10.0.1.0", false),
            ("10.0.0.0/24", "::ffff:10.0.0.9", true),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("::/0", "2001:db8::1", true),
            ("*.example.org", "web.example.org", true),
            ("*.example.org", "WEB.Example.ORG.", true),
            ("*.example.org", "example.org", false),
            ("*.example.org", "example.org.evil.net", false),
            ("web-?.lan", "web-1.lan", true),
            ("web-?.lan", "web-12.lan", false),
            ("*", "anything", true),
            ("*", "192.0.2.1", true),
            ("# only a remark\n\n", "10.0.0.1", false),
            ("bastion\n10.0.0.1", "bastion", true),
        ];
        for (list, address, expected) in cases {
            assert_eq!(
                scope(list).permits(address),
                expected,
                "{address} in {list:?}"
            );
        }
    }

    #[test]
    fn a_name_goes_to_those_of_its_addresses_that_are_permitted() {
        let resolved: Vec<IpAddr> = ["10.0.0.1", "192.0.2.1"]
            .map(|ip| ip.parse().expect("ip"))
            .to_vec();
        assert_eq!(
            scope("10.0.0.0/8").choose("web.lan", &resolved),
            resolved[..1]
        );
        assert_eq!(scope("*.lan").choose("web.lan", &resolved), resolved);
        assert!(
            scope("172.16.0.0/12")
                .choose("web.lan", &resolved)
                .is_empty()
        );
    }

    #[test]
    fn what_could_be_misread_is_refused() {
        for line in [
            "10.0.0.*",
            "10.0.0.0/33",
            "10.0.0.0/x",
            "!web.lan",
            "web lan",
            "web.lan:22",
            "web.lan/24",
        ] {
            assert!(Scope::parse("addresses", line).is_err(), "{line}");
        }
    }
}
