//! Why a statement, or what was read by one, came to nothing.

/// Anything between a query and what it means.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error("PostgreSQL did not do it")]
    Postgres(#[from] tokio_postgres::Error),
    #[error("what is stored cannot be read")]
    Stored(#[from] serde_json::Error),
    #[error("a stored time is none")]
    Time(#[from] jiff::Error),
}

impl Failed {
    /// True when the database answered, so that the connection is as good as before.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Postgres(error) => error.as_db_error().is_some(),
            Self::Stored(_) | Self::Time(_) => true,
        }
    }
}
