//! A machine as SSH sees it: where, as whom, with what, and how it proves who it is.

use super::{Credentials, HostKeys};

/// Everything that is needed to log in to one machine.
#[derive(Clone, Debug)]
pub struct Target {
    /// Whose machine it is; the handshakes of one team hold up no other's.
    pub team: String,
    /// Name of the Host object; a Secret's `jumpHosts` may name it.
    pub name: String,
    pub address: String,
    pub port: u16,
    pub user: String,
    pub credentials: Credentials,
    pub host_keys: HostKeys,
    /// Work is done through `sudo -n`, unless the user is root.
    pub sudo: bool,
    pub jump: Option<Box<Target>>,
    /// The node of the cluster that the machine is, if it is one.
    pub node: Option<String>,
}

impl Target {
    /// Address and port, as errors name the machine.
    pub fn endpoint(&self) -> String {
        if self.address.contains(':') {
            format!("[{}]:{}", self.address, self.port)
        } else {
            format!("{}:{}", self.address, self.port)
        }
    }

    /// Whether commands need `sudo -n` in front of them.
    pub fn escalates(&self) -> bool {
        self.sudo && self.user != "root"
    }
}
