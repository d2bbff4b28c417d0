//! Commands of scripts: found by parsing what runs them, and judged by the rules of CommandPolicies.
//!
//! `analyse` finds every command of a program, however it is reached: behind quotes, variables, substitutions, functions, here-documents,
//! `sudo`, `sh -c`, `xargs`, `find`, `ssh`, Python and SQL. What it cannot know it says, and never passes over in silence. `judge` then asks
//! policies about what was found. Both are total and bounded; they advise, and what really bounds a command are the rights of its account.

mod analysis;
mod bounds;
mod builtin;
mod carrier;
mod delimiters;
mod expansion;
mod filter;
mod interpreter;
mod judgement;
mod names;
mod option;
mod pack;
mod path;
mod pattern;
mod python;
mod remote;
mod rulebook;
mod scan;
mod search;
mod shell;
mod simple;
mod source;
mod sql;
mod stream;
mod subshells;
mod walker;
mod word;
mod wrapper;

#[cfg(test)]
mod tests;

pub use analysis::{Analysis, Assign, At, Command, Unknown, Why};
pub use judgement::{Finding, Judgement, UNKNOWN, judge};
pub use pack::rules;
pub use rulebook::Rulebook;
pub use source::{Source, analyse};
pub use word::{Part, Word};
