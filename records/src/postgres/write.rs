//! How batches become rows: a key is inserted once, then moves from Started to one terminal state and never again; every visible change takes the next position. What is
//! there is read first, in the turn, so that what comes of a whole group is decided here, in its order, and written at once.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    pin::pin,
};

use crds::execution::Execution;
use jiff::Timestamp;
use tokio_postgres::{
    binary_copy::BinaryCopyInWriter,
    types::{ToSql, Type},
};

use super::{cost, failed::Failed, turn::Turn};
use crate::ready::ReadyRow;

/// A key: its run and digest.
type Key<'a> = (&'a str, [u8; 32]);

/// A row as it stands in the turn.
struct Entry<'a> {
    digest: [u8; 32],
    execution: Cow<'a, Execution>,
    body: Cow<'a, str>,
    seq: i64,
    /// Name and position of a row that is new; nothing where the database has it.
    new: Option<(String, i64)>,
    changed: bool,
}

/// Tells the store of rows, in order.
pub async fn rows(turn: &mut Turn<'_>, told: &[&ReadyRow], now: Timestamp) -> Result<(), Failed> {
    if told.is_empty() {
        return Ok(());
    }
    let (known, mut taken) = asked(turn, told).await?;
    let seconds = second_names(told, &taken);
    taken.extend(self::taken(turn, seconds).await?);
    let mut group = Group::new(known, taken);
    for ready in told {
        group.tell(turn, ready);
    }
    group.write(turn, now).await
}

/// Names by which a row is found: of its namespace, and its own.
type Name = (String, String);

/// A run as rows name it: its UID, its namespace's, and its name.
type Run<'a> = (&'a str, &'a str, &'a str);

fn run(ready: &ReadyRow) -> Run<'_> {
    let row = &ready.row;
    (&row.key.run, &row.namespace_uid, &row.run)
}

/// What the database has of a run, which most often is nothing: then none of its rows has to be asked for.
#[derive(Clone, Copy, Default)]
struct Begun {
    /// A row of this UID.
    rows: bool,
    /// A name that begins with the run's.
    names: bool,
}

async fn begun<'a>(
    turn: &mut Turn<'_>,
    told: &[&'a ReadyRow],
) -> Result<HashMap<Run<'a>, Begun>, Failed> {
    let mut begun: HashMap<Run<'_>, Begun> = HashMap::new();
    for ready in told {
        begun.entry(run(ready)).or_default();
    }
    let asked: Vec<Run<'_>> = begun.keys().copied().collect();
    let uids: Vec<&str> = asked.iter().map(|(uid, _, _)| *uid).collect();
    let namespaces: Vec<&str> = asked.iter().map(|(_, namespace, _)| *namespace).collect();
    let names: Vec<&str> = asked.iter().map(|(_, _, name)| *name).collect();
    for found in turn.query(BEGUN, &[&uids, &namespaces, &names]).await? {
        let of_run = Begun {
            rows: found.try_get(1)?,
            names: found.try_get(2)?,
        };
        begun.insert(asked[place(found.try_get(0)?)], of_run);
    }
    Ok(begun)
}

const BEGUN: &str = "
    SELECT asked.n,
        EXISTS (SELECT FROM executions e WHERE e.run_uid = asked.run_uid),
        EXISTS (SELECT FROM executions e WHERE e.namespace_uid = asked.namespace_uid AND e.name >= asked.prefix || '.' AND e.name < asked.prefix || '/')
    FROM (SELECT n, run_uid, namespace_uid, replace(run, '/', '.') AS prefix
        FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS runs (run_uid, namespace_uid, run, n)) AS asked";

/// Rows that the database has of these keys, and which of their names are taken.
async fn asked<'a>(
    turn: &mut Turn<'_>,
    told: &[&'a ReadyRow],
) -> Result<(HashMap<Key<'a>, Entry<'a>>, HashSet<Name>), Failed> {
    let begun = begun(turn, told).await?;
    let of_begun = |wanted: fn(&Begun) -> bool| -> Vec<&'a ReadyRow> {
        let rows = told.iter().filter(|ready| wanted(&begun[&run(ready)]));
        rows.copied().collect()
    };
    let by_name = of_begun(|run| run.names).into_iter().map(first_name);
    let taken = taken(turn, by_name.collect()).await?;
    let by_key = of_begun(|run| run.rows);
    Ok((known(turn, &by_key).await?, taken.into_iter().collect()))
}

/// Rows that the database has of these keys.
async fn known<'a>(
    turn: &mut Turn<'_>,
    told: &[&'a ReadyRow],
) -> Result<HashMap<Key<'a>, Entry<'a>>, Failed> {
    let mut known = HashMap::new();
    if told.is_empty() {
        return Ok(known);
    }
    let runs: Vec<&str> = told.iter().map(|r| r.row.key.run.as_str()).collect();
    let digests: Vec<&[u8]> = told.iter().map(|r| r.digest.as_slice()).collect();
    let stored = turn.query(BY_KEY, &[&runs, &digests]).await?;
    for found in stored {
        let (n, body): (i64, String) = (found.try_get(0)?, found.try_get(1)?);
        let ready = told[place(n)];
        let entry = Entry {
            digest: ready.digest,
            execution: Cow::Owned(serde_json::from_str(&body)?),
            body: Cow::Owned(body),
            seq: 0,
            new: None,
            changed: false,
        };
        known.insert(key(ready), entry);
    }
    Ok(known)
}

const BY_KEY: &str = "
    SELECT asked.n, e.body FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS asked (run_uid, digest, n)
    JOIN executions e ON e.run_uid = asked.run_uid AND e.digest = asked.digest";

const BY_NAME: &str = "
    SELECT e.namespace_uid, e.name FROM unnest($1::text[], $2::text[]) AS asked (namespace_uid, name)
    JOIN executions e ON e.namespace_uid = asked.namespace_uid AND e.name = asked.name";

/// Ordinality counts from one.
fn place(n: i64) -> usize {
    usize::try_from(n - 1).expect("the database counts what it was asked")
}

fn key(ready: &ReadyRow) -> Key<'_> {
    (&ready.row.key.run, ready.digest)
}

fn first_name(ready: &ReadyRow) -> Name {
    (ready.row.namespace_uid.clone(), ready.name.clone())
}

fn second_name(ready: &ReadyRow) -> Name {
    (ready.row.namespace_uid.clone(), ready.second_name())
}

/// Second names of those whose first is taken, or is another's as well.
fn second_names(told: &[&ReadyRow], taken: &HashSet<Name>) -> Vec<Name> {
    let mut owners: HashMap<(&str, &str), [u8; 32]> = HashMap::new();
    let mut seconds = Vec::new();
    for ready in told {
        let name = (ready.row.namespace_uid.as_str(), ready.name.as_str());
        let owner = *owners.entry(name).or_insert(ready.digest);
        if owner != ready.digest || taken.contains(&first_name(ready)) {
            seconds.push(second_name(ready));
        }
    }
    seconds
}

/// Those of the names that have a row.
async fn taken(turn: &mut Turn<'_>, names: Vec<Name>) -> Result<Vec<Name>, Failed> {
    if names.is_empty() {
        return Ok(names);
    }
    let (uids, names): (Vec<String>, Vec<String>) = names.into_iter().unzip();
    let found = turn.query(BY_NAME, &[&uids, &names]).await?;
    let name = |row: tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
    found.into_iter().map(name).collect()
}

/// What comes of the rows of a group.
struct Group<'a> {
    entries: Vec<Entry<'a>>,
    by_key: HashMap<Key<'a>, usize>,
    taken: HashSet<Name>,
}

impl<'a> Group<'a> {
    fn new(known: HashMap<Key<'a>, Entry<'a>>, taken: HashSet<Name>) -> Self {
        let (keys, entries): (Vec<_>, Vec<_>) = known.into_iter().unzip();
        Self {
            entries,
            by_key: keys.into_iter().zip(0..).collect(),
            taken,
        }
    }

    fn tell(&mut self, turn: &mut Turn<'_>, ready: &'a ReadyRow) {
        let Some(&index) = self.by_key.get(&key(ready)) else {
            return self.add(turn, ready);
        };
        let entry = &mut self.entries[index];
        if entry.execution.state.is_terminal() {
            return;
        }
        let told = ready.told_of(entry.execution.clone().into_owned());
        if told != *entry.execution {
            let body = serde_json::to_string(&told).expect("a row is strings and numbers");
            turn.bytes += cost::of(0, body.len()) - cost::of(0, entry.body.len());
            entry.execution = Cow::Owned(told);
            entry.body = Cow::Owned(body);
            entry.seq = turn.next();
            entry.changed = true;
        }
    }

    fn add(&mut self, turn: &mut Turn<'_>, ready: &'a ReadyRow) {
        let seq = turn.next();
        // The name may belong to another key: an earlier run of the same name. The digest tells them apart.
        let Some(name) = [first_name(ready), second_name(ready)]
            .into_iter()
            .find(|name| !self.taken.contains(name))
        else {
            return;
        };
        turn.bytes += cost::of(cost::ROW, ready.body.len());
        self.by_key.insert(key(ready), self.entries.len());
        self.entries.push(Entry {
            digest: ready.digest,
            execution: Cow::Borrowed(&ready.row),
            body: Cow::Borrowed(&ready.body),
            seq,
            new: Some((name.1.clone(), seq)),
            changed: false,
        });
        self.taken.insert(name);
    }

    async fn write(&self, turn: &mut Turn<'_>, now: Timestamp) -> Result<(), Failed> {
        let new = || self.entries.iter().filter(|e| e.new.is_some());
        let changed = || self.entries.iter().filter(|e| e.new.is_none() && e.changed);
        if new().next().is_some() {
            insert(turn, new(), now).await?;
        }
        if changed().next().is_some() {
            update(turn, changed(), now).await?;
        }
        Ok(())
    }
}

const INSERT: &str = "COPY executions
    (run_uid, digest, namespace_uid, name, namespace, run, job, step, target, state, created_seq, seq, created_at, changed_at, body)
    FROM STDIN BINARY";

async fn insert<'a>(
    turn: &mut Turn<'_>,
    new: impl Iterator<Item = &'a Entry<'a>>,
    now: Timestamp,
) -> Result<(), Failed> {
    let statement = turn.prepared(INSERT).await?;
    let sink = turn.transaction().copy_in(&statement).await?;
    let mut types = vec![Type::TEXT; 15];
    types[1] = Type::BYTEA;
    types[10..14].fill(Type::INT8);
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
    let now = now.as_millisecond();
    for entry in new {
        let (name, created) = entry.new.as_ref().expect("only new ones are inserted");
        let row = &*entry.execution;
        let values: [&(dyn ToSql + Sync); 15] = [
            &row.key.run,
            &entry.digest.as_slice(),
            &row.namespace_uid,
            name,
            &row.namespace,
            &row.run,
            &row.job.as_deref().unwrap_or_default(),
            &row.step,
            &row.target,
            &row.state.as_str(),
            created,
            &entry.seq,
            &now,
            &now,
            &entry.body,
        ];
        writer.as_mut().write(&values).await?;
    }
    writer.finish().await?;
    Ok(())
}

const UPDATE: &str =
    "UPDATE executions e SET state = told.state, seq = told.seq, changed_at = $6, body = told.body
    FROM unnest($1::text[], $2::bytea[], $3::text[], $4::bigint[], $5::text[]) AS told (run_uid, digest, state, seq, body)
    WHERE e.run_uid = told.run_uid AND e.digest = told.digest";

async fn update<'a>(
    turn: &mut Turn<'_>,
    changed: impl Iterator<Item = &'a Entry<'a>>,
    now: Timestamp,
) -> Result<(), Failed> {
    let (mut runs, mut digests, mut states, mut seqs, mut bodies) =
        (vec![], vec![], vec![], vec![], vec![]);
    for entry in changed {
        runs.push(entry.execution.key.run.as_str());
        digests.push(entry.digest.as_slice());
        states.push(entry.execution.state.as_str());
        seqs.push(entry.seq);
        bodies.push(&*entry.body);
    }
    let now = now.as_millisecond();
    turn.execute(UPDATE, &[&runs, &digests, &states, &seqs, &bodies, &now])
        .await?;
    Ok(())
}
