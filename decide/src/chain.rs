//! Whether an audit is what was committed: its entries hang together from a beginning that is known, they are those that checkpoints vouch for, and no number of a source is missing.

use std::collections::BTreeMap;

use crds::audit::{Checkpoint, Head, Link, Source};
use serde_json::Value;

/// Flaws that are told one by one; of more, only how many there are.
const TOLD: usize = 100;

/// Something that is not as it was committed, or never came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("entry {0} was altered: its hash is not that of what it says")]
    Altered(i64),
    #[error("entry {0} does not hang on the entry before it: one of the two was exchanged")]
    Torn(i64),
    #[error("entries {from} to {to} are missing")]
    Missing { from: i64, to: i64 },
    #[error("entries before {0} are gone, and no checkpoint vouches for where this one hangs")]
    NoBeginning(i64),
    #[error(
        "entry {sequence} is not the one that was signed: {of} has another hash for that place"
    )]
    Forked { sequence: i64, of: Origin },
    #[error("entries up to {0} were signed, and the last ones of them are missing")]
    Cut(i64),
    #[error("checkpoint {sequence} of {of} is not signed by a key that is trusted")]
    Unsigned { sequence: i64, of: Origin },
    #[error("numbers {from} to {to} of {} (start {}) are missing", of.replica, of.start)]
    Lost { of: Source, from: i64, to: i64 },
}

/// Where a checkpoint comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The store serves it.
    Store,
    /// Somebody has kept it elsewhere.
    Kept,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Store => "the store",
            Self::Kept => "the file",
        })
    }
}

/// Takes an audit in, entry by entry in its order.
#[derive(Debug, Default)]
pub struct Verifier {
    /// What is vouched for, by place.
    marks: BTreeMap<i64, Vec<(String, Origin)>>,
    first: Option<Head>,
    last: Option<Head>,
    /// The number that each source has come to.
    sources: BTreeMap<Source, i64>,
    verdict: Verdict,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Entries that were looked at, and the places of the first and the last.
    pub entries: u64,
    pub first: i64,
    pub last: i64,
    /// Checkpoints with a good signature.
    pub checkpoints: u64,
    /// Entries behind the last checkpoint: they hang together, and nothing is signed of them yet.
    pub unsigned: i64,
    pub flaws: Vec<Flaw>,
    /// Flaws beside those.
    pub more: u64,
}

impl Verdict {
    pub const fn is_sound(&self) -> bool {
        self.flaws.is_empty()
    }

    fn flaw(&mut self, flaw: Flaw) {
        if self.flaws.len() < TOLD {
            self.flaws.push(flaw);
        } else {
            self.more += 1;
        }
    }
}

impl Verifier {
    /// Begins with what is vouched for by a signature that is trusted.
    pub fn new(
        checkpoints: &[(Checkpoint, Origin)],
        is_trusted: impl Fn(&Checkpoint) -> bool,
    ) -> Self {
        let mut verifier = Self::default();
        for (checkpoint, of) in checkpoints {
            let (sequence, of) = (checkpoint.sequence, *of);
            if !is_trusted(checkpoint) {
                verifier.verdict.flaw(Flaw::Unsigned { sequence, of });
                continue;
            }
            verifier.verdict.checkpoints += 1;
            let marks = verifier.marks.entry(sequence).or_default();
            if marks.iter().any(|(hash, _)| *hash != checkpoint.hash) {
                verifier.verdict.flaw(Flaw::Forked { sequence, of });
            }
            marks.push((checkpoint.hash.clone(), of));
        }
        verifier
    }

    /// The next entry.
    pub fn take(&mut self, link: &Link) {
        let sequence = link.sequence;
        self.hangs(link);
        let says = link.entry.get("sequence").and_then(Value::as_i64);
        if link.computed().as_ref() != Some(&link.hash) || says != Some(sequence) {
            self.verdict.flaw(Flaw::Altered(sequence));
        }
        let marks = self.marks.get(&sequence).into_iter().flatten();
        let other = marks.filter(|(hash, _)| *hash != link.hash);
        for of in other.map(|(_, of)| *of).collect::<Vec<_>>() {
            self.verdict.flaw(Flaw::Forked { sequence, of });
        }
        self.numbers(link);
        self.verdict.entries += 1;
        self.first.get_or_insert_with(|| link.head());
        self.last = Some(link.head());
    }

    /// Whether it follows what was before it.
    fn hangs(&mut self, link: &Link) {
        let sequence = link.sequence;
        match &self.last {
            Some(last) if sequence != last.sequence + 1 => {
                let (from, to) = (last.sequence + 1, sequence - 1);
                self.verdict.flaw(Flaw::Missing { from, to });
            }
            Some(last) if link.previous != last.hash => self.verdict.flaw(Flaw::Torn(sequence)),
            Some(_) => {}
            None => {
                let begins = sequence == 1 && link.previous == Head::default().hash;
                let marks = self.marks.get(&(sequence - 1)).into_iter().flatten();
                let vouched = marks.into_iter().any(|(hash, _)| *hash == link.previous);
                if !begins && !vouched {
                    self.verdict.flaw(Flaw::NoBeginning(sequence));
                }
            }
        }
    }

    /// Whether its source has told everything before it. What an entry says that its source had come to holds although older entries are gone by retention.
    fn numbers(&mut self, link: &Link) {
        let number = |name: &str| link.entry.get(name).and_then(Value::as_i64);
        let source = link.entry.get("source").cloned().unwrap_or_default();
        let source = serde_json::from_value::<Source>(source).ok();
        let (Some(source), Some(number), Some(follows)) =
            (source, number("number"), number("follows"))
        else {
            self.verdict.flaw(Flaw::Altered(link.sequence));
            return;
        };
        let known = self.sources.insert(source.clone(), number);
        let first = self.first.as_ref();
        let is_whole = first.map_or(link.sequence, |first| first.sequence) == 1;
        // Where nothing was taken by retention, whoever is not known yet has told nothing before.
        let from = known.unwrap_or(if is_whole { 0 } else { follows });
        if number > from + 1 {
            let (from, to) = (from + 1, number - 1);
            self.verdict.flaw(Flaw::Lost {
                of: source,
                from,
                to,
            });
        }
    }

    /// What there is to say once all entries were taken.
    pub fn finish(mut self) -> Verdict {
        let end = self.last.as_ref().map_or(0, |last| last.sequence);
        let marked = self.marks.keys().next_back().copied().unwrap_or(0);
        if marked > end {
            self.verdict.flaw(Flaw::Cut(marked));
        }
        let before = self.first.as_ref().map_or(1, |first| first.sequence) - 1;
        self.verdict.first = self.first.map_or(0, |first| first.sequence);
        self.verdict.last = end;
        self.verdict.unsigned = (end - marked.max(before).min(end)).max(0);
        self.verdict
    }
}

#[cfg(test)]
mod tests {
    use crds::{
        audit::{AuditDecision, AuditEntry, AuditSubject, Statement, VERSION},
        v1alpha1::Requester,
    };
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn entry(start: &str, number: i64) -> AuditEntry {
        AuditEntry {
            version: VERSION,
            source: source(start),
            number,
            statement: Statement {
                at: Timestamp::UNIX_EPOCH,
                decision: AuditDecision::Held,
                actor: Requester::default(),
                verb: "run".into(),
                subject: AuditSubject::default(),
                policy: String::new(),
                rule: String::new(),
                reason: String::new(),
                digest: String::new(),
            },
        }
    }

    fn source(start: &str) -> Source {
        Source {
            replica: "operator".into(),
            start: start.into(),
        }
    }

    /// A chain of what sources told, each by its start and number.
    fn chain(told: &[(&str, i64)]) -> Vec<Link> {
        let (mut head, mut sources) = (Head::default(), BTreeMap::new());
        let mut links = Vec::new();
        for (start, number) in told {
            let follows = sources.insert(*start, *number).unwrap_or(0);
            let link = Link::after(&head, follows, &entry(start, *number));
            head = link.head();
            links.push(link);
        }
        links
    }

    fn five() -> Vec<Link> {
        chain(&[("a", 1), ("b", 1), ("a", 2), ("a", 3), ("b", 2)])
    }

    fn checkpoint(link: &Link, signature: &str) -> (Checkpoint, Origin) {
        let checkpoint = Checkpoint {
            sequence: link.sequence,
            hash: link.hash.clone(),
            at: Timestamp::UNIX_EPOCH,
            signature: signature.into(),
        };
        (checkpoint, Origin::Store)
    }

    fn verified(links: &[Link], checkpoints: &[(Checkpoint, Origin)]) -> Verdict {
        let mut verifier = Verifier::new(checkpoints, |c| c.signature == "good");
        for link in links {
            verifier.take(link);
        }
        verifier.finish()
    }

    fn flaws(links: &[Link], checkpoints: &[(Checkpoint, Origin)]) -> Vec<Flaw> {
        verified(links, checkpoints).flaws
    }

    #[test]
    fn a_whole_audit_is_sound_and_what_is_not_signed_yet_is_counted() {
        let links = five();
        let verdict = verified(&links, &[checkpoint(&links[2], "good")]);
        assert_eq!(verdict.flaws, []);
        let Verdict {
            entries,
            first,
            last,
            unsigned,
            ..
        } = verdict;
        assert_eq!((entries, first, last, unsigned), (5, 1, 5, 2));
        assert_eq!(verified(&[], &[]), Verdict::default());
        assert_eq!(verified(&links, &[]).unsigned, 5);
    }

    #[test]
    fn what_retention_has_left_hangs_on_a_checkpoint() {
        let links = five();
        let at = [checkpoint(&links[1], "good"), checkpoint(&links[4], "good")];
        let verdict = verified(&links[2..], &at);
        assert_eq!((verdict.flaws, verdict.unsigned), (vec![], 0));
        assert_eq!(
            flaws(&links[3..], &at),
            [Flaw::NoBeginning(4)],
            "nothing was signed there"
        );
        assert_eq!(flaws(&links[2..], &[]), [Flaw::NoBeginning(3)]);
    }

    #[test]
    fn an_altered_entry_is_named_whatever_else_was_made_to_fit() {
        let mut links = five();
        links[1].entry["actor"]["user"] = json!("somebody else");
        assert_eq!(flaws(&links, &[]), [Flaw::Altered(2)]);
        links[1].hash = links[1].computed().expect("a hash");
        assert_eq!(flaws(&links, &[]), [Flaw::Torn(3)]);
        let forged = {
            let mut forged = links.clone();
            for n in 2..5 {
                forged[n].previous = forged[n - 1].hash.clone();
                forged[n].hash = forged[n].computed().expect("a hash");
            }
            forged
        };
        assert_eq!(flaws(&forged, &[]), [], "the whole chain was made anew");
        let signed = [checkpoint(&five()[3], "good")];
        let of = Origin::Store;
        assert_eq!(flaws(&forged, &signed), [Flaw::Forked { sequence: 4, of }]);
        let mut torn = five();
        torn[2].entry = json!("no object");
        assert!(flaws(&torn, &[]).contains(&Flaw::Altered(3)));
    }

    #[test]
    fn a_removed_entry_is_missing_by_its_place_and_by_its_number() {
        let links = five();
        let mut left = links.clone();
        left.remove(2);
        let lost = Flaw::Lost {
            of: source("a"),
            from: 2,
            to: 2,
        };
        assert_eq!(flaws(&left, &[]), [Flaw::Missing { from: 3, to: 3 }, lost]);
        let signed = [checkpoint(&links[4], "good")];
        assert_eq!(flaws(&links[..3], &signed), [Flaw::Cut(5)]);
        assert_eq!(flaws(&[], &signed), [Flaw::Cut(5)]);
    }

    #[test]
    fn what_never_came_is_missing_by_its_number_also_when_what_was_before_is_gone() {
        let links = chain(&[("a", 1), ("a", 4), ("b", 3)]);
        let lost = |start, from, to| Flaw::Lost {
            of: source(start),
            from,
            to,
        };
        let wanted = [lost("a", 2, 3), lost("b", 1, 2)];
        assert_eq!(flaws(&links, &[]), wanted);
        let rest = flaws(&links[1..], &[checkpoint(&links[0], "good")]);
        assert_eq!(rest, wanted);
    }

    #[test]
    fn checkpoints_count_only_by_their_signature_and_those_kept_elsewhere_too() {
        let links = five();
        let of = Origin::Store;
        let forged = [checkpoint(&links[4], "bad")];
        let unsigned = Flaw::Unsigned { sequence: 5, of };
        assert_eq!(flaws(&links, &forged), [unsigned]);
        let other = chain(&[("c", 1), ("c", 2), ("c", 3)]);
        let kept = [(checkpoint(&other[2], "good").0, Origin::Kept)];
        let of = Origin::Kept;
        assert_eq!(flaws(&links, &kept), [Flaw::Forked { sequence: 3, of }]);
    }

    #[test]
    fn however_much_is_wrong_what_is_told_is_bounded() {
        let told: Vec<_> = (1..=300).map(|n| ("a", n)).collect();
        let mut links = chain(&told);
        for link in &mut links {
            link.entry["verb"] = json!("x");
        }
        let verdict = verified(&links, &[]);
        assert_eq!((verdict.flaws.len(), verdict.more), (TOLD, 200));
    }
}
