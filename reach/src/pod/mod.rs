//! Work in pods, as the account of the client that is given: a command in a running container ([`exec`]), and a step as a pod of its own ([`start`], [`follow`], [`release`]).
//!
//! The account needs on pods get, list, watch, create and delete, patch (to let go of a step pod), where it can be had deletecollection, get on pods/log, and get and create on pods/exec, as far as it uses them.

mod container;
mod error;
mod exec;
mod follow;
mod log;
mod manifest;
mod outcome;
mod output;
mod progress;
mod runtime;
mod step;
mod upgrade;
mod watch;

pub use error::{Error, Refusal};
pub use exec::{Command, exec};
pub use follow::follow;
pub use manifest::{EnvValue, StepPod};
pub use outcome::{Outcome, reason};
pub use output::{Piece, Recorder, Sink, Volume};
pub use step::{Placed, attach, cancel, release, release_all, start, sweep};
