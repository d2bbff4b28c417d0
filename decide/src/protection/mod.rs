//! ProtectionPolicies: whether one is open or closed at an instant, and why. What the API server refuses by it stands in the chart's policies.

mod status;

pub use status::{Found, Told, status};

#[cfg(test)]
mod tests;
