//! The door of the API server: answers whether a request passes, by the same decisions that are asked when a run begins. Stateless; every replica answers alike, from what it
//! hears of policies and tickets, and one that knows nothing yet is not ready.

mod answer;
mod audit;
mod book;
mod diary;
mod glass;
mod heard;
mod metrics;
pub mod options;
mod permits;
mod review;
mod risks;
pub mod run;
mod tickets;
mod work;

#[cfg(test)]
mod tests;
