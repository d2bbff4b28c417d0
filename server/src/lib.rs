//! Serves what is too numerous for etcd: the aggregated API of `records.pilothouse.dev`, the operator's ingest, health and metrics. Runs as
//! the store, which there is one of unless PostgreSQL keeps the records, or as a front before it.

mod accept;
pub mod api;
mod archive;
mod audit;
mod checkpoints;
mod command;
mod decisions;
mod discovery;
mod door;
mod failure;
mod front;
mod ingest;
mod list;
mod log;
mod metrics;
pub mod namespaces;
mod object;
mod openapi;
pub mod options;
mod retention;
pub mod run;
mod selector;
mod served;
pub mod signing;
pub mod slot;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod volume;
mod watch;
