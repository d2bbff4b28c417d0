//! The API of Pilothouse: kinds, the rules their schemas carry, and the plain types that rooms hand to each other. No client, no runtime.

pub mod archive;
pub mod audit;
pub mod bytes;
pub mod execution;
pub mod journal;
pub mod key;
pub mod mask;
pub mod names;
pub mod receipt;
pub mod reference;
pub mod v1alpha1;
