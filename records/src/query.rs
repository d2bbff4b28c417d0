//! What can be asked of a store: which namespaces, which rows, from where. The same terms choose rows in SQL and in memory, so that a list
//! and the watch that follows it agree.

#[cfg(any(feature = "sqlite", feature = "postgres"))]
use crds::audit::Link;
use crds::execution::{Execution, State};
use jiff::Timestamp;

#[cfg(any(feature = "sqlite", feature = "postgres"))]
use crate::{ArchivePage, ArchiveRow, AuditPage};

/// A stored execution with what the store knows about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Unique within the namespace's UID and stable for the life of the row.
    pub name: String,
    /// Position of the change that created the row.
    pub created: i64,
    /// Position of the last change of the row: its resourceVersion.
    pub seq: i64,
    pub created_at: Timestamp,
    /// True in [`crate::Changes`] when retention took the row away.
    pub removed: bool,
    pub execution: Execution,
}

/// Properties by which rows are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Name,
    Namespace,
    Run,
    RunUid,
    Job,
    Step,
    Target,
    State,
}

impl Column {
    /// The name that every store gives it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Namespace => "namespace",
            Self::Run => "run",
            Self::RunUid => "run_uid",
            Self::Job => "job",
            Self::Step => "step",
            Self::Target => "target",
            Self::State => "state",
        }
    }

    /// The value that a row has here; empty when it has none.
    pub fn of<'a>(self, name: &'a str, execution: &'a Execution, state: State) -> &'a str {
        match self {
            Self::Name => name,
            Self::Namespace => &execution.namespace,
            Self::Run => &execution.run,
            Self::RunUid => &execution.key.run,
            Self::Job => execution.job.as_deref().unwrap_or_default(),
            Self::Step => &execution.step,
            Self::Target => &execution.target,
            Self::State => state.as_str(),
        }
    }
}

/// One requirement: the column's value is, or is not, among `values`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    pub column: Column,
    pub among: bool,
    pub values: Vec<String>,
}

/// Requirements that must all hold; empty chooses everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(pub Vec<Term>);

impl Selector {
    /// Whether the row is chosen as it stands.
    pub fn matches(&self, row: &Row) -> bool {
        self.matches_in(row, row.execution.state)
    }

    /// Whether the row was chosen before its last change: a row changes only by leaving Started, everything else in it is identity.
    pub fn matched_before(&self, row: &Row) -> bool {
        self.matches_in(row, State::Started)
    }

    fn matches_in(&self, row: &Row, state: State) -> bool {
        self.0.iter().all(|term| {
            let value = term.column.of(&row.name, &row.execution, state);
            term.values.iter().any(|v| v == value) == term.among
        })
    }

    /// The only value that the column may have, when one term pins it.
    pub fn pinned(&self, column: Column) -> Option<&str> {
        let mut pins = self.0.iter().filter(|t| t.column == column && t.among);
        pins.find_map(|t| match t.values.as_slice() {
            [only] => Some(only.as_str()),
            _ => None,
        })
    }
}

/// Where a page ended: the next one starts after this name in this namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub namespace_uid: String,
    pub name: String,
}

/// A list of finished objects in the order of `namespaces`, then of names.
#[derive(Clone, Debug, Default)]
pub struct ArchiveQuery {
    /// As in [`Query`].
    pub namespaces: Vec<String>,
    /// The name under which one is kept.
    pub name: Option<String>,
    pub kind: Option<String>,
    /// Name of the object.
    pub object: Option<String>,
    /// As in [`Query`].
    pub after: Option<Cursor>,
    pub limit: usize,
}

impl ArchiveQuery {
    /// What was found, which is one more than asked where there is a next page.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn page(&self, mut rows: Vec<ArchiveRow>) -> ArchivePage {
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let next = rows.last().filter(|_| more).map(|last| Cursor {
            namespace_uid: last.archived.namespace_uid.clone(),
            name: last.archived.row_name(),
        });
        ArchivePage { rows, next }
    }

    /// Between which names all that is asked for stands: from the first on, and before the second.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn range(&self) -> (String, String) {
        let (from, to) = match (&self.kind, &self.object) {
            (Some(kind), Some(object)) => {
                let prefix = crds::archive::Archived::row_prefix(kind, object);
                (prefix.clone(), prefix)
            }
            _ => (String::new(), String::new()),
        };
        // Nothing of a name comes after this character.
        (from, format!("{to}\u{7f}"))
    }

    /// After which name a page of a namespace begins, which is one of `namespaces` by its place.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn after(&self, place: usize) -> &str {
        let namespace = self.namespaces.get(place);
        let cursor = self
            .after
            .as_ref()
            .filter(|cursor| place == 0 && Some(&cursor.namespace_uid) == namespace);
        cursor.map_or("", |cursor| &cursor.name)
    }
}

/// Stretches of the audit that one sweep takes at most; each is about what a store takes in between two checkpoints.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) const STRETCHES: i64 = 4;
/// A day in milliseconds.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) const DAY: i64 = 24 * 60 * 60 * 1000;
/// A source of the audit that was silent for so long is over, and its number is forgotten.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) const SOURCES: std::time::Duration = std::time::Duration::from_hours(366 * 24);

/// Properties by which entries of the audit are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditColumn {
    Id,
    Decision,
    User,
    Kind,
    Subject,
    Policy,
    Rule,
}

impl AuditColumn {
    /// The name that every store gives it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Decision => "decision",
            Self::User => "actor",
            Self::Kind => "kind",
            Self::Subject => "subject",
            Self::Policy => "policy",
            Self::Rule => "rule",
        }
    }
}

/// Entries of the audit in their order.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Only those about something in this namespace; otherwise all, whether or not their namespace is there any more.
    pub namespace_uid: Option<String>,
    /// Only the one in this place.
    pub sequence: Option<i64>,
    /// Properties with the value that each must have.
    pub terms: Vec<(AuditColumn, String)>,
    /// Only those behind this place.
    pub after: i64,
    pub limit: usize,
}

impl AuditQuery {
    /// What was found, which is one more than asked where there is a next page.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn page(&self, mut links: Vec<Link>) -> AuditPage {
        let more = links.len() > self.limit;
        links.truncate(self.limit);
        let last = links.last().filter(|_| more);
        AuditPage {
            next: last.map(|last| last.sequence),
            links,
        }
    }
}

/// A list in the order of `namespaces`, then of names.
#[derive(Clone, Debug)]
pub struct Query {
    /// UIDs in the order wanted; rows of other namespaces do not exist for this query.
    pub namespaces: Vec<String>,
    pub selector: Selector,
    /// Its namespace must be the first of `namespaces`, or the cursor is ignored.
    pub after: Option<Cursor>,
    pub limit: usize,
}
