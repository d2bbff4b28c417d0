//! Ranges of addresses, in CIDR notation.

use std::{net::IpAddr, str::FromStr};

/// A network, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    network: IpAddr,
    prefix: u8,
}

/// What is not a range, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRange {
    #[error("it has no IP address in front")]
    Address,
    #[error("it has no valid prefix length")]
    Prefix,
}

impl Range {
    pub fn contains(self, ip: IpAddr) -> bool {
        let (ip, network, width) = match (ip.to_canonical(), self.network) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                (u128::from(a.to_bits()), u128::from(b.to_bits()), 32)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
            _ => return false,
        };
        let host_bits = width - u32::from(self.prefix);
        ip.checked_shr(host_bits).unwrap_or(0) == network.checked_shr(host_bits).unwrap_or(0)
    }
}

impl From<IpAddr> for Range {
    fn from(ip: IpAddr) -> Self {
        let network = ip.to_canonical();
        let prefix = if network.is_ipv4() { 32 } else { 128 };
        Self { network, prefix }
    }
}

impl FromStr for Range {
    type Err = NoRange;

    fn from_str(text: &str) -> Result<Self, NoRange> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let whole = Self::from(address.parse::<IpAddr>().map_err(|_| NoRange::Address)?);
        let prefix = prefix.map_or(Ok(whole.prefix), str::parse);
        let prefix = prefix.ok().filter(|prefix| *prefix <= whole.prefix);
        Ok(Self {
            prefix: prefix.ok_or(NoRange::Prefix)?,
            ..whole
        })
    }
}
