//! What can go wrong between a credential and the first byte of an answer: one variant a step, each with the way out in its text.

use std::{net::IpAddr, time::Duration};

use crate::off_limits::Whose;

/// A step on the way to a machine that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{field}: {reason}")]
    BadCredential { field: &'static str, reason: String },
    #[error("the credentials may not go to {address}; add it to `addresses` of their Secret")]
    CredentialNotForAddress { address: String },
    #[error("the credentials may not go through {jump}; add it to `jumpHosts` of their Secret")]
    CredentialNotForJumpHost { jump: String },
    #[error("{address} is off limits: {ip} belongs to {whose}")]
    AddressOffLimits {
        address: String,
        ip: IpAddr,
        whose: Whose,
    },
    #[error("{address} has no address")]
    Resolve {
        address: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot connect to {address}")]
    Connect {
        address: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the SSH handshake with {address} failed")]
    Handshake {
        address: String,
        #[source]
        source: russh::Error,
    },
    #[error("{address} shows the host key {seen}, expected {}", expected.join(" or "))]
    HostKeyMismatch {
        address: String,
        expected: Vec<String>,
        seen: String,
    },
    #[error("{address} shows the host key {seen}, which nobody has pinned; pin it if it is right")]
    HostKeyUnknown { address: String, seen: String },
    #[error("{address} does not accept {user} with these credentials (it offers {offered}){}", withheld(*password_withheld))]
    AuthRejected {
        address: String,
        user: String,
        offered: String,
        password_withheld: bool,
    },
    #[error("{address} refused a channel: {reason}")]
    ChannelRefused { address: String, reason: String },
    #[error("{address} refused to start the command")]
    ExecRefused { address: String },
    #[error("{address} was not reached within {waited:?} (last step: {step})")]
    DeliveryTimedOut {
        address: String,
        waited: Duration,
        step: &'static str,
        #[source]
        last: Option<Box<Error>>,
    },
    #[error("the jump host {jump} is in the way")]
    JumpHost {
        jump: String,
        #[source]
        source: Box<Error>,
    },
    #[error("the connection to {address} broke before the command's end was seen")]
    ConnectionLost { address: String },
    #[error("copying {path} to {address} failed: {message}")]
    UploadFailed {
        address: String,
        path: String,
        message: String,
    },
    #[error("{path} on {address} lies in a folder that is not safe: {message}")]
    UploadUnsafe {
        address: String,
        path: String,
        message: String,
    },
}

fn withheld(password: bool) -> &'static str {
    if password {
        "; a password is never sent to a host on first use, pin its host key"
    } else {
        ""
    }
}

impl Error {
    /// Category of the error, spelled as in Events and conditions.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::BadCredential { .. } => "BadCredential",
            Self::CredentialNotForAddress { .. } => "CredentialNotForAddress",
            Self::CredentialNotForJumpHost { .. } => "CredentialNotForJumpHost",
            Self::AddressOffLimits { .. } => "AddressOffLimits",
            Self::Resolve { .. } => "Resolve",
            Self::Connect { .. } => "Connect",
            Self::Handshake { .. } => "Handshake",
            Self::HostKeyMismatch { .. } => "HostKeyMismatch",
            Self::HostKeyUnknown { .. } => "HostKeyUnknown",
            Self::AuthRejected { .. } => "AuthRejected",
            Self::ChannelRefused { .. } => "ChannelRefused",
            Self::ExecRefused { .. } => "ExecRefused",
            Self::DeliveryTimedOut { .. } => "DeliveryTimedOut",
            Self::JumpHost { source, .. } => source.reason(),
            Self::ConnectionLost { .. } => "ConnectionLost",
            Self::UploadFailed { .. } => "UploadFailed",
            Self::UploadUnsafe { .. } => "UploadUnsafe",
        }
    }

    /// Whether the same call may succeed later with nothing changed in its arguments.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::Handshake { .. }
            | Self::ChannelRefused { .. }
            | Self::DeliveryTimedOut { .. }
            | Self::ConnectionLost { .. } => true,
            Self::JumpHost { source, .. } => source.is_passing(),
            _ => false,
        }
    }
}
