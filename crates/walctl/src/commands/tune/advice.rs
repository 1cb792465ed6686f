//! Which settings to take: the default, unless others beat it clearly in the same run.
//!
//! A disk is never as fast twice, and neither is a machine that others use. So each round measures the default twice, and
//! another setting has to beat the better of the two, in every round; and clearly in the median round: by a tenth, and by
//! more than the two are apart.
//!
//! Among many settings one is the best by chance. So the one that wins is measured again, alone against the default, and
//! has to win again.

use crate::measure::log::Settings;
use crate::measure::median;

/// Better by this part is clearly better.
const CLEARLY: f64 = 0.10;

/// Worse by this part than the worse of the two defaults is not worse.
const TOLERATED: f64 = 0.03;

/// Fewer commits than this in a round tell nothing.
const LEAST_COMMITS: u64 = 5;

/// What one measurement says about a setting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) commits: u64,
    pub(super) commits_per_second: f64,
    pub(super) p99_us: f64,
}

/// A setting other than the default, with a point for each round.
#[derive(Clone, Debug)]
pub(super) struct Rival {
    pub(super) settings: Settings,
    pub(super) rounds: Vec<Point>,
}

/// Which setting to take for one device and number of clients.
#[derive(Clone, Debug)]
pub(super) struct Advice {
    pub(super) settings: Settings,
    pub(super) is_default: bool,
    /// Of the setting and the better of the two defaults, in the median round. 1 for the default.
    pub(super) throughput_ratio: f64,
    pub(super) p99_ratio: f64,
    /// How far the two defaults of a round are apart, in the median round.
    pub(super) throughput_noise: f64,
    pub(super) p99_noise: f64,
    pub(super) reason: String,
}

/// How far the two defaults of a round are apart, in the median round, as parts of the lower value.
#[derive(Clone, Copy, Debug)]
struct Noise {
    throughput: f64,
    p99: f64,
}

impl Noise {
    fn of(defaults: &[[Point; 2]]) -> Self {
        let apart = |of: fn(&Point) -> f64| {
            median(defaults.iter().map(|[a, b]| {
                let (low, high) = (f64::min(of(a), of(b)), f64::max(of(a), of(b)));
                if low > 0.0 { high / low - 1.0 } else { 0.0 }
            }))
        };
        Noise { throughput: apart(|it| it.commits_per_second), p99: apart(|it| it.p99_us) }
    }
}

/// How a rival compares with the default.
#[derive(Clone, Copy, Debug)]
struct Comparison {
    throughput: f64,
    p99: f64,
    wins: bool,
}

impl Comparison {
    /// How much better it is, in all.
    fn score(self) -> f64 {
        self.throughput / self.p99
    }

    fn words(self) -> String {
        let percent = |ratio: f64| format!("{:+.0} %", (ratio - 1.0) * 100.0);
        format!("throughput {}, p99 {}", percent(self.throughput), percent(self.p99))
    }
}

/// The advice. `defaults` has both points of each round.
pub(super) fn advise(defaults: &[[Point; 2]], rivals: &[Rival]) -> Advice {
    let noise = Noise::of(defaults);
    let advice = |settings, compared: Option<Comparison>, reason| Advice {
        settings,
        is_default: compared.is_none(),
        throughput_ratio: compared.map_or(1.0, |it| it.throughput),
        p99_ratio: compared.map_or(1.0, |it| it.p99),
        throughput_noise: noise.throughput,
        p99_noise: noise.p99,
        reason,
    };
    let default = Settings::default();
    if defaults.iter().flatten().any(|point| point.commits < LEAST_COMMITS) {
        let reason = "the default had too few commits to compare with; measure for longer";
        return advice(default, None, reason.to_owned());
    }
    let compared = rivals.iter().filter_map(|it| Some((it, compare(defaults, &it.rounds, noise)?)));
    let mut compared: Vec<_> = compared.collect();
    compared.sort_by(|(_, a), (_, b)| b.score().total_cmp(&a.score()));
    let rounds = defaults.len();
    if let Some((rival, comparison)) = compared.iter().find(|(_, it)| it.wins) {
        let reason = format!(
            "better than both measurements of the default in each of {rounds} rounds: {}",
            comparison.words()
        );
        return advice(rival.settings, Some(*comparison), reason);
    }
    let mut reason = format!(
        "in {rounds} rounds no other setting was better by {:.0} %, and by more than the two defaults of a round differ \
         ({:.0} % in throughput, {:.0} % in p99), without being worse in the other figure",
        CLEARLY * 100.0,
        noise.throughput * 100.0,
        noise.p99 * 100.0,
    );
    if let Some((rival, comparison)) = compared.first() {
        reason += &format!("; the closest is {}: {}", rival.settings.words(), comparison.words());
    }
    advice(default, None, reason)
}

/// The advice after the setting that won has been measured `again`.
pub(super) fn confirm(first: &Advice, again: Advice) -> Advice {
    if !again.is_default {
        return Advice { reason: format!("measured twice, and {}", again.reason), ..again };
    }
    let setting = first.settings.words();
    let reason =
        format!("{setting} won at first, and not when it was measured again: {}", again.reason);
    Advice { reason, ..again }
}

/// Compares round by round. Nothing where a round has too few commits.
fn compare(defaults: &[[Point; 2]], rival: &[Point], noise: Noise) -> Option<Comparison> {
    if rival.len() != defaults.len() || rival.iter().any(|it| it.commits < LEAST_COMMITS) {
        return None;
    }
    let rounds = || rival.iter().zip(defaults);
    // Throughput by the best and the worst default, then p99 by the best and the worst.
    let ratios = |of: fn(&Point) -> f64, to: fn(f64, f64) -> f64| -> Vec<f64> {
        rounds().map(|(rival, [a, b])| of(rival) / to(of(a), of(b))).collect()
    };
    let (throughput_of, p99_of) = (|it: &Point| it.commits_per_second, |it: &Point| it.p99_us);
    let throughput = ratios(throughput_of, f64::max);
    let p99 = ratios(p99_of, f64::min);
    let is_as_fast = median(ratios(throughput_of, f64::min)) >= 1.0 - TOLERATED;
    let is_as_prompt = median(ratios(p99_of, f64::max)) <= 1.0 + TOLERATED;
    let is_faster = throughput.iter().all(|ratio| *ratio > 1.0);
    let is_prompter = p99.iter().all(|ratio| *ratio < 1.0);
    let (throughput, p99) = (median(throughput), median(p99));
    let wins_throughput =
        is_faster && throughput >= 1.0 + CLEARLY.max(noise.throughput) && is_as_prompt;
    let wins_p99 =
        is_prompter && p99 <= f64::min(1.0 - CLEARLY, 1.0 / (1.0 + noise.p99)) && is_as_fast;
    Some(Comparison { throughput, p99, wins: wins_throughput || wins_p99 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::log::Policy;

    fn point(commits_per_second: f64, p99_us: f64) -> Point {
        Point { commits: 1000, commits_per_second, p99_us }
    }

    const EAGER: fn() -> Settings = || Settings::new(Policy::Eager, 10, 100);

    fn rival(rounds: &[(f64, f64)]) -> Rival {
        let rounds = rounds.iter().map(|(throughput, p99)| point(*throughput, *p99)).collect();
        Rival { settings: EAGER(), rounds }
    }

    /// Three rounds of a default that is as fast each time.
    fn steady() -> Vec<[Point; 2]> {
        vec![[point(1000.0, 500.0); 2]; 3]
    }

    fn takes_default(defaults: &[[Point; 2]], rounds: &[(f64, f64)]) -> bool {
        let advice = advise(defaults, &[rival(rounds)]);
        assert_eq!(advice.is_default, advice.settings == Settings::default());
        assert!(!advice.reason.is_empty());
        advice.is_default
    }

    #[test]
    fn the_default_stays_where_others_are_within_the_noise() {
        assert!(takes_default(&steady(), &[(1050.0, 480.0); 3]));
        assert!(takes_default(&steady(), &[(1000.0, 500.0); 3]));
        assert!(takes_default(&steady(), &[(700.0, 900.0); 3]), "worse");
        let reason = advise(&steady(), &[rival(&[(1050.0, 480.0); 3])]).reason;
        assert!(reason.contains("the closest is eager: throughput +5 %, p99 -4 %"), "{reason}");
    }

    #[test]
    fn another_setting_is_taken_if_it_is_clearly_better() {
        assert!(!takes_default(&steady(), &[(1200.0, 500.0); 3]), "throughput");
        assert!(!takes_default(&steady(), &[(1000.0, 400.0); 3]), "p99");
        let advice = advise(&steady(), &[rival(&[(1200.0, 400.0); 3])]);
        assert!(
            (advice.throughput_ratio - 1.2).abs() < 1e-9 && (advice.p99_ratio - 0.8).abs() < 1e-9
        );
        assert!(advice.reason.contains("each of 3 rounds: throughput +20 %, p99 -20 %"));
    }

    #[test]
    fn throughput_is_not_bought_with_latency_nor_latency_with_throughput() {
        assert!(takes_default(&steady(), &[(2000.0, 600.0); 3]));
        assert!(takes_default(&steady(), &[(900.0, 100.0); 3]));
    }

    #[test]
    fn one_round_in_which_it_is_not_better_is_enough() {
        assert!(takes_default(&steady(), &[(1200.0, 500.0), (1300.0, 500.0), (990.0, 500.0)]));
        assert!(takes_default(&steady(), &[(1000.0, 300.0), (1000.0, 300.0), (1000.0, 510.0)]));
    }

    #[test]
    fn it_has_to_beat_the_better_of_the_two_defaults() {
        let noisy = vec![[point(1000.0, 500.0), point(1250.0, 300.0)]; 3];
        assert!(takes_default(&noisy, &[(1200.0, 400.0); 3]));
        assert!(!takes_default(&noisy, &[(1600.0, 400.0); 3]));
        let advice = advise(&noisy, &[]);
        assert!((advice.throughput_noise - 0.25).abs() < 1e-9, "{advice:?}");
    }

    #[test]
    fn what_is_better_by_less_than_the_two_defaults_differ_is_noise() {
        let noisy = vec![[point(1000.0, 500.0), point(1250.0, 300.0)]; 3];
        assert!(takes_default(&noisy, &[(1500.0, 400.0); 3]), "20 % of 25 %");
        assert!(
            takes_default(&noisy, &[(1250.0, 200.0); 3]),
            "two thirds of 300 are not 3/5 of it"
        );
        assert!(!takes_default(&noisy, &[(1250.0, 170.0); 3]));
    }

    #[test]
    fn a_setting_that_does_not_win_again_is_not_recommended() {
        let first = advise(&steady(), &[rival(&[(1200.0, 400.0); 3])]);
        let lost = confirm(&first, advise(&steady(), &[rival(&[(1010.0, 490.0); 3])]));
        assert!(lost.is_default && lost.settings == Settings::default());
        assert!(lost.reason.starts_with("eager won at first, and not"), "{lost:?}");
        let won = confirm(&first, advise(&steady(), &[rival(&[(1150.0, 400.0); 3])]));
        assert!(!won.is_default && won.settings == EAGER());
        assert!(won.reason.contains("throughput +15 %"), "the figures of the second time: {won:?}");
    }

    #[test]
    fn of_several_the_best_is_taken() {
        let slower = Rival {
            settings: Settings::new(Policy::Window, 2, 100),
            ..rival(&[(1150.0, 490.0); 3])
        };
        for rivals in
            [[slower.clone(), rival(&[(1300.0, 400.0); 3])], [rival(&[(1300.0, 400.0); 3]), slower]]
        {
            assert_eq!(advise(&steady(), &rivals).settings, EAGER());
        }
    }

    #[test]
    fn a_few_commits_tell_nothing() {
        let few = Point { commits: 2, ..point(5000.0, 1.0) };
        let few_rounds = Rival { settings: EAGER(), rounds: vec![few; 3] };
        assert!(advise(&steady(), std::slice::from_ref(&few_rounds)).is_default);
        let advice = advise(&[[few; 2]; 3], &[few_rounds]);
        assert!(advice.is_default && advice.reason.contains("too few commits"), "{advice:?}");
    }
}
