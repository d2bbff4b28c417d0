//! Limits that configuration may raise, in one table. The schema holds hard ceilings of ten times these.

/// Bounds on a single run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Targets of one run, all steps together.
    pub targets: usize,
    /// Parameters of one Job.
    pub parameters: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            targets: 200,
            parameters: 30,
        }
    }
}
