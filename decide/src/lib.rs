//! Pure decisions: a world in, a plan out. The same world gives the same answer; time is an argument, and nothing here touches anything.

pub mod action;
pub mod again;
pub mod archive;
pub mod calendar;
pub mod calls;
pub mod condition;
pub mod control;
pub mod file;
pub mod freeze;
pub mod graph;
pub mod host;
pub mod job;
pub mod kept;
pub mod lease;
pub mod ledger;
pub mod limits;
pub mod lock;
pub mod outputs;
pub mod parameter;
pub mod parameters;
pub mod plan;
pub mod receipt;
pub mod refusal;
pub mod run;
pub mod schedule;
pub mod script;
pub mod shares;
pub mod status;
pub mod template;
pub mod trace;
pub mod turns;
pub mod volume;
pub mod zone;

pub use limits::Limits;
pub use refusal::Refusal;
