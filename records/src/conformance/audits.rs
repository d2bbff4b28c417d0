//! What every store must do with the audit.

use std::time::Duration;

use crds::{
    audit::{
        AuditDecision, AuditEntry, AuditSubject, Checkpoint, Head, Link, Source, Statement, VERSION,
    },
    execution::Batch,
    v1alpha1::Requester,
};
use jiff::Timestamp;

use super::{DAY, append, retention};
use crate::{AuditColumn, AuditQuery, Store};

/// What a source of this name tells as this of its numbers, about a run of the namespace `shop`.
pub fn decided(source: &str, number: i64) -> AuditEntry {
    AuditEntry {
        version: VERSION,
        source: Source {
            replica: source.into(),
            start: "start".into(),
        },
        number,
        statement: Statement {
            at: Timestamp::UNIX_EPOCH,
            decision: AuditDecision::Held,
            actor: Requester {
                user: "ann".into(),
                groups: vec!["devs".into()],
            },
            verb: "run".into(),
            subject: AuditSubject {
                group: "pilothouse.dev".into(),
                kind: "JobRun".into(),
                namespace: "shop".into(),
                namespace_uid: "shop-uid".into(),
                name: "nightly".into(),
                uid: "nightly-uid".into(),
            },
            policy: "house".into(),
            rule: "no-beep".into(),
            reason: "it wakes \"everybody\"".into(),
            digest: "sha256:0f".into(),
        },
    }
}

/// A batch of entries.
pub fn told(entries: impl Into<Vec<AuditEntry>>) -> Batch {
    Batch {
        id: "audit".into(),
        audit: entries.into(),
        ..Batch::default()
    }
}

async fn head(store: &dyn Store) -> Head {
    store.audit_head().await.expect("a head is answered")
}

async fn found(store: &dyn Store, query: AuditQuery) -> Vec<Link> {
    let page = store.audit(query).await.expect("a page is answered");
    page.links
}

fn behind(place: i64) -> AuditQuery {
    AuditQuery {
        after: place,
        limit: 1_000,
        ..AuditQuery::default()
    }
}

/// Each hangs on the one before it, beginning with this.
fn hang_together(before: &Head, links: &[Link]) {
    let mut last = before.clone();
    for link in links {
        assert_eq!(
            (link.sequence, &link.previous),
            (last.sequence + 1, &last.hash),
            "an entry hangs on the one before it"
        );
        assert_eq!(
            link.computed().as_ref(),
            Some(&link.hash),
            "a hash is of what the entry says"
        );
        last = link.head();
    }
}

/// Every entry there is, of a store from which retention took none: they hang together from the beginning, and no number of a source is missing or there twice.
pub async fn whole(store: &dyn Store) -> Vec<Link> {
    let (mut links, mut query) = (Vec::new(), behind(0));
    loop {
        let page = store.audit(query.clone()).await.expect("a page");
        links.extend(page.links);
        let Some(next) = page.next else { break };
        query.after = next;
    }
    hang_together(&Head::default(), &links);
    assert_eq!(
        links.last().map(Link::head).unwrap_or_default(),
        head(store).await
    );
    for (replica, follows, number) in numbers(&links) {
        assert_eq!(number, follows + 1, "{replica} has told everything before");
    }
    links
}

/// Replica, the number that it had come to, and its number.
fn numbers(links: &[Link]) -> Vec<(&str, i64, i64)> {
    let of = |link: &Link, name: &str| link.entry[name].as_i64().unwrap_or_default();
    links
        .iter()
        .map(|link| {
            let replica = link.entry["source"]["replica"].as_str();
            (
                replica.unwrap_or_default(),
                of(link, "follows"),
                of(link, "number"),
            )
        })
        .collect()
}

pub(super) async fn decisions_are_chained_in_order(store: &dyn Store) {
    let begin = head(store).await;
    append(store, told([decided("chain-a", 1), decided("chain-b", 1)])).await;
    append(store, told([decided("chain-a", 2), decided("chain-a", 5)])).await;
    let links = found(store, behind(begin.sequence)).await;
    hang_together(&begin, &links);
    let wanted = [
        ("chain-a", 0, 1),
        ("chain-b", 0, 1),
        ("chain-a", 1, 2),
        ("chain-a", 2, 5),
    ];
    assert_eq!(numbers(&links), wanted, "a number that is missing shows");
    let last = links.last().map(Link::head);
    assert_eq!(Some(head(store).await), last, "the head is the last entry");
    let mut paged = Vec::new();
    let mut query = AuditQuery {
        limit: 3,
        ..behind(begin.sequence)
    };
    loop {
        let page = store.audit(query.clone()).await.expect("a page");
        paged.extend(page.links);
        let Some(next) = page.next else { break };
        query.after = next;
    }
    assert_eq!(paged, links, "page after page");
}

pub(super) async fn a_number_that_was_passed_is_not_kept_twice(store: &dyn Store) {
    let batch = told([decided("twice", 1), decided("twice", 2)]);
    append(store, batch.clone()).await;
    let end = head(store).await;
    append(store, batch).await;
    append(store, told([decided("twice", 2), decided("twice", 2)])).await;
    assert_eq!(
        head(store).await,
        end,
        "what comes again is acknowledged and not chained again"
    );
    append(store, told([decided("twice", 2), decided("twice", 3)])).await;
    let links = found(store, behind(end.sequence)).await;
    assert_eq!(numbers(&links), [("twice", 2, 3)]);
    let mut another = decided("twice", 1);
    another.source.start = "again".into();
    append(store, told([another])).await;
    let links = found(store, behind(end.sequence + 1)).await;
    assert_eq!(
        numbers(&links),
        [("twice", 0, 1)],
        "another start counts anew"
    );
}

pub(super) async fn entries_are_chosen_by_what_they_say(store: &dyn Store) {
    let begin = head(store).await.sequence;
    let mut bank = decided("choose", 2);
    bank.statement.subject = AuditSubject {
        namespace: "bank".into(),
        namespace_uid: "bank-uid".into(),
        name: "weekly".into(),
        kind: "Script".into(),
        ..bank.statement.subject
    };
    bank.statement.decision = AuditDecision::Approved;
    bank.statement.actor.user = "bob".into();
    bank.statement.policy = String::new();
    bank.statement.rule = String::new();
    append(store, told([decided("choose", 1), bank])).await;
    let chosen = async |query: AuditQuery| {
        let links = found(store, query).await;
        let places = links.iter().map(|link| link.sequence - begin);
        places.collect::<Vec<_>>()
    };
    for (column, value, wanted) in [
        (AuditColumn::Id, "start-1", vec![1]),
        (AuditColumn::Decision, "Held", vec![1]),
        (AuditColumn::User, "bob", vec![2]),
        (AuditColumn::Kind, "Script", vec![2]),
        (AuditColumn::Subject, "nightly", vec![1]),
        (AuditColumn::Policy, "house", vec![1]),
        (AuditColumn::Rule, "no-beep", vec![1]),
        (AuditColumn::Rule, "a\0b", vec![]),
    ] {
        let query = AuditQuery {
            terms: vec![(column, value.into())],
            ..behind(begin)
        };
        assert_eq!(chosen(query).await, wanted, "{column:?}");
    }
    let of_namespace = AuditQuery {
        namespace_uid: Some("bank-uid".into()),
        ..behind(0)
    };
    assert_eq!(chosen(of_namespace).await, [2]);
    let one = AuditQuery {
        sequence: Some(begin + 1),
        ..behind(0)
    };
    assert_eq!(chosen(one).await, [1]);
}

/// A checkpoint of an entry, from so long ago.
fn signed(link: &Link, ago: Duration) -> Checkpoint {
    let at = Timestamp::now() - ago;
    Checkpoint {
        sequence: link.sequence,
        hash: link.hash.clone(),
        at: Timestamp::from_millisecond(at.as_millisecond()).expect("a time"),
        signature: "5167".into(),
    }
}

pub(super) async fn retention_takes_whole_stretches_and_leaves_their_checkpoint(store: &dyn Store) {
    let begin = head(store).await.sequence;
    for number in 1..=6 {
        append(store, told([decided("old", number)])).await;
    }
    let links = found(store, behind(begin)).await;
    let signatures = [
        signed(&links[0], DAY * 400),
        signed(&links[1], DAY * 400),
        signed(&links[3], DAY * 399),
        signed(&links[4], DAY),
    ];
    for signature in &signatures {
        store.sign(signature.clone()).await.expect("it is kept");
        let mut other = signature.clone();
        other.signature = "00".into();
        store.sign(other).await.expect("it is answered");
    }
    let kept = async || {
        let kept = store.checkpoints(begin, 100).await;
        kept.expect("checkpoints are answered")
    };
    assert_eq!(kept().await, signatures, "the first of a place stands");
    let sweep = async || {
        let swept = store
            .sweep(retention(DAY, DAY, &[]), Timestamp::now())
            .await;
        swept.expect("a sweep is answered")
    };
    while sweep().await.more {}
    let left = found(store, behind(0)).await;
    assert_eq!(left, links[4..], "whole stretches go, and the rest stays");
    hang_together(&signatures[2].head(), &left);
    assert_eq!(
        kept().await,
        signatures[1..],
        "of those that nothing is left of, the last of a day stays"
    );
    let portion = store.checkpoints(signatures[1].sequence, 1).await;
    assert_eq!(portion.expect("a portion"), signatures[2..3]);
    append(store, told([decided("old", 6), decided("old", 7)])).await;
    let last = found(store, behind(links[5].sequence)).await;
    assert_eq!(
        numbers(&last),
        [("old", 6, 7)],
        "what is gone by retention is still known to have been told"
    );
    store
        .sign(signed(&last[0], DAY * 390))
        .await
        .expect("it is kept");
    while sweep().await.more {}
    let left = found(store, behind(0)).await;
    assert_eq!(left.len(), 3, "what is young stays, and the newest anyhow");
}
