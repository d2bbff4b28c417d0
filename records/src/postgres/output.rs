//! How chunks of output are kept: one that comes again is the same chunk, and only one that reaches further replaces what is there.

use std::{collections::HashMap, pin::pin};

use crds::execution::LogChunk;
use jiff::Timestamp;
use tokio_postgres::{
    binary_copy::BinaryCopyInWriter,
    types::{ToSql, Type},
};

use super::{cost, failed::Failed, turn::Turn};

/// A chunk by the digest of its key and where it starts.
type Place = (Vec<u8>, i64);

/// Keeps chunks, in order.
pub async fn chunks(turn: &mut Turn<'_>, told: &[&LogChunk], now: Timestamp) -> Result<(), Failed> {
    if told.is_empty() {
        return Ok(());
    }
    let wanted = longest(told);
    let known = lengths(turn, wanted.keys()).await?;
    let (mut new, mut longer) = (Vec::new(), Vec::new());
    for (place, chunk) in wanted {
        let length = cost::of(0, chunk.data.len());
        match known.get(&place) {
            None => {
                turn.bytes += cost::of(cost::CHUNK, chunk.data.len());
                new.push((place, chunk));
            }
            Some(known) if length > *known => {
                turn.bytes += length - known;
                longer.push((place, chunk));
            }
            Some(_) => {}
        }
    }
    if !new.is_empty() {
        insert(turn, &new, now).await?;
    }
    if !longer.is_empty() {
        replace(turn, &longer).await?;
    }
    Ok(())
}

/// The chunk of each place that reaches furthest; the first of those that are as long.
fn longest<'a>(told: &[&'a LogChunk]) -> HashMap<Place, &'a LogChunk> {
    let mut wanted: HashMap<Place, &LogChunk> = HashMap::new();
    for chunk in told {
        let start = i64::try_from(chunk.offset).expect("the bounds of a batch were checked");
        let place = (chunk.key.digest_bytes().to_vec(), start);
        let kept = wanted.entry(place).or_insert(chunk);
        if chunk.data.len() > kept.data.len() {
            *kept = chunk;
        }
    }
    wanted
}

/// How long the chunks are that the database has.
async fn lengths(
    turn: &mut Turn<'_>,
    places: impl Iterator<Item = &Place>,
) -> Result<HashMap<Place, i64>, Failed> {
    let (digests, starts): (Vec<&[u8]>, Vec<i64>) = places
        .map(|(digest, start)| (digest.as_slice(), *start))
        .unzip();
    let found = turn
        .query(
            "SELECT l.digest, l.start, octet_length(l.data)::bigint
             FROM unnest($1::bytea[], $2::bigint[]) AS asked (digest, start)
             JOIN logs l ON l.digest = asked.digest AND l.start = asked.start",
            &[&digests, &starts],
        )
        .await?;
    let mut known = HashMap::new();
    for row in found {
        known.insert((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?);
    }
    Ok(known)
}

async fn insert(
    turn: &mut Turn<'_>,
    new: &[(Place, &LogChunk)],
    now: Timestamp,
) -> Result<(), Failed> {
    let copy = "COPY logs (digest, start, added_at, run_uid, data) FROM STDIN BINARY";
    let statement = turn.prepared(copy).await?;
    let sink = turn.transaction().copy_in(&statement).await?;
    let types = [Type::BYTEA, Type::INT8, Type::INT8, Type::TEXT, Type::BYTEA];
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
    let now = now.as_millisecond();
    for ((digest, start), chunk) in new {
        let values: [&(dyn ToSql + Sync); 5] = [digest, start, &now, &chunk.key.run, &chunk.data];
        writer.as_mut().write(&values).await?;
    }
    writer.finish().await?;
    Ok(())
}

async fn replace(turn: &mut Turn<'_>, longer: &[(Place, &LogChunk)]) -> Result<(), Failed> {
    let digests: Vec<&[u8]> = longer.iter().map(|((digest, _), _)| &**digest).collect();
    let starts: Vec<i64> = longer.iter().map(|((_, start), _)| *start).collect();
    let data: Vec<&[u8]> = longer.iter().map(|(_, chunk)| &*chunk.data).collect();
    turn.execute(
        "UPDATE logs l SET data = told.data
         FROM unnest($1::bytea[], $2::bigint[], $3::bytea[]) AS told (digest, start, data)
         WHERE l.digest = told.digest AND l.start = told.start",
        &[&digests, &starts, &data],
    )
    .await?;
    Ok(())
}
