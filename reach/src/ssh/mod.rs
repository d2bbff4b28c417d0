//! SSH: one pooled, bounded way to a machine. A [`Fleet`] hands out [`Session`]s, each of which has proven the host key and been logged in.

mod algorithms;
mod connect;
mod credentials;
mod error;
mod exchange;
mod fleet;
mod guard;
mod host_key;
mod limiter;
mod login;
mod pool;
mod scope;
mod target;
mod upload;

pub use credentials::Credentials;
pub use error::Error;
pub use exchange::{Chunk, Exchange, Exit, Finished};
pub use fleet::{Fleet, Limits, Session};
pub use host_key::{HostKeys, SeenKey};
pub use scope::Scope;
pub use target::Target;
