//! What the journal promises, tried on the real binary.

mod death;
mod disk;
mod ending;
mod host;
mod output;
mod secret;
mod start;
mod sweep;
mod user;
