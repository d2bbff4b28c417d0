//! Sessions and work over a real connection, to a server that lives inside the test.
#![allow(clippy::unwrap_used)]

mod fake;
mod fleet;
mod journal;
mod login;
mod plain;
mod sshd;
mod stage;
