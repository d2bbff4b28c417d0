//! Sessions and work over a real connection, to a server that lives inside the test.
#![allow(clippy::unwrap_used)]

mod fleet;
mod host;
mod login;
mod sshd;
mod stage;
