//! What is given up when the volume of the records fills: output first, so that what is left is for rows, the ledger and the audit of what was done.

/// Percent of the volume in use from which it is told of, and from which output is no longer kept.
const FILLING: u64 = 80;
const SCARCE: u64 = 90;

/// How full a volume is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fullness {
    Ample,
    Filling,
    Scarce,
}

/// What cannot be measured is taken for ample: the store says by itself when it can write no more.
pub fn fullness(percent: Option<u64>) -> Fullness {
    match percent {
        Some(SCARCE..) => Fullness::Scarce,
        Some(FILLING..) => Fullness::Filling,
        _ => Fullness::Ample,
    }
}

/// What people are told when it gets fuller.
pub fn note(now: Fullness, percent: u64) -> String {
    let what = if now == Fullness::Scarce {
        "output of executions is no longer kept, only their rows".to_owned()
    } else {
        format!("from {SCARCE} % on output is no longer kept")
    };
    format!(
        "the volume of the records is {percent} % full; {what}. Enlarge its claim, or lower server.retention.size to four fifths of it"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_told_of_before_output_is_given_up() {
        let cases = [
            (Some(79), Fullness::Ample),
            (Some(80), Fullness::Filling),
            (Some(90), Fullness::Scarce),
            (None, Fullness::Ample),
        ];
        for (percent, expected) in cases {
            assert_eq!(fullness(percent), expected, "{percent:?}");
        }
        assert!(Fullness::Ample < Fullness::Filling && Fullness::Filling < Fullness::Scarce);
    }
}
