//! Ways to touch a target: SSH sessions to hosts, work on hosts over the toolkit's journal, work in pods, operations on objects, HTTP requests. Knows how to reach and what came back, never why.

mod fence;
pub mod host;
pub mod http;
pub mod object;
pub mod off_limits;
pub mod pod;
mod shell;
pub mod ssh;

pub use fence::{Fence, Warden};
