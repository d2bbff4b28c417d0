//! ProtectionPolicies: whether one is open or closed at an instant, and why, and what it says to somebody. What the API server refuses by it stands in the chart's policies.

mod stand;
mod status;

pub use stand::{Asked, Stand, passes, stand};
pub use status::{Found, Told, status};

#[cfg(test)]
mod stand_tests;
#[cfg(test)]
mod tests;
