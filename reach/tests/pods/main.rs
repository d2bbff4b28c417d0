//! Work in pods, against API servers that live in the test.

mod api;
mod exec;
mod step;
