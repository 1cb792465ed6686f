//! Makes a script that fails smaller, as long as it fails.

use std::time::{Duration, Instant};

use crate::script::Step;

/// The time after which the script is small enough.
const TIME: Duration = Duration::from_secs(40);

/// A script of which not much can be left out. `fails` says whether a script fails still.
pub(crate) fn shrink(script: &[Step], mut fails: impl FnMut(&[Step]) -> bool) -> Vec<Step> {
    let began = Instant::now();
    let mut script = script.to_vec();
    let mut piece = script.len().div_ceil(2);
    while piece > 0 {
        let (mut at, before) = (0, script.len());
        while at < script.len() && began.elapsed() < TIME {
            let end = (at + piece).min(script.len());
            let shorter = [&script[..at], &script[end..]].concat();
            if fails(&shorter) {
                script = shorter;
            } else {
                at = end;
            }
        }
        if began.elapsed() >= TIME {
            break;
        }
        // What is left may be superfluous now without what was left out.
        piece = if piece == 1 && script.len() < before { 1 } else { piece / 2 };
    }
    let singles: Vec<_> = script.iter().flat_map(single).collect();
    if singles.len() > script.len() && began.elapsed() < TIME && fails(&singles) {
        return shrink(&singles, &mut fails as &mut dyn FnMut(&[Step]) -> bool);
    }
    script
}

/// The requests of a pipeline, one at a time.
fn single(step: &Step) -> Vec<Step> {
    match step {
        Step::Send(connection, sent) => {
            sent.iter().map(|sent| Step::Send(*connection, vec![sent.clone()])).collect()
        }
        other => vec![other.clone()],
    }
}

#[test]
fn what_is_left_of_a_script_is_what_it_needs_to_fail() {
    let script: Vec<_> = (0..100).map(Step::RandomKey).collect();
    let fails =
        |script: &[Step]| [7, 60].iter().all(|needed| script.contains(&Step::RandomKey(*needed)));
    assert_eq!(shrink(&script, fails), [Step::RandomKey(7), Step::RandomKey(60)]);
}
