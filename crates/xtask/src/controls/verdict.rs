//! What a run of tests says of a control.

/// What the tests found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Survived,
    /// They failed. The simulation says with which seed.
    Caught { seed: Option<String>, message: String },
    /// A run of the simulation did not end, and it said with which seed.
    Hung { seed: String },
}

impl Verdict {
    /// The verdict of tests that failed. `None` if they ended otherwise, which is no catch: a program that is killed, or
    /// does not start, has tested nothing.
    pub(super) fn of_failed(output: &str) -> Option<Self> {
        if let Some(verdict) = output.lines().find_map(of_seed) {
            return Some(verdict);
        }
        let failed = output.lines().find(|line| line.starts_with("test result: FAILED"))?;
        let is_failed = |line: &&str| line.starts_with("test ") && line.ends_with("... FAILED");
        let message = output.lines().find(is_failed).unwrap_or(failed);
        Some(Verdict::Caught { seed: None, message: message.to_owned() })
    }

    /// For a cell of the table.
    pub(super) fn text(&self) -> String {
        match self {
            Verdict::Survived => "SURVIVED".to_owned(),
            Verdict::Hung { .. } => "it hangs".to_owned(),
            Verdict::Caught { message, .. } => {
                message.replace('|', "/").chars().take(100).collect()
            }
        }
    }

    /// The seed, or nothing.
    pub(super) fn seed(&self) -> &str {
        match self {
            Verdict::Hung { seed } | Verdict::Caught { seed: Some(seed), .. } => seed,
            _ => "",
        }
    }
}

/// What a line of the simulation says of the seed that it begins with.
fn of_seed(line: &str) -> Option<Verdict> {
    let line = line.strip_prefix("seed ")?;
    let seed: String = line.chars().take_while(char::is_ascii_digit).collect();
    match line.strip_prefix(&seed)? {
        said if said.starts_with(" has run for ") => Some(Verdict::Hung { seed }),
        said => {
            let message = said.strip_prefix(": ")?.to_owned();
            Some(Verdict::Caught { seed: Some(seed), message })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simulation_says_its_seed_and_what_failed() {
        let caught =
            Verdict::of_failed("running 1 test\nseed 7: P1: a record | is lost\n").unwrap();
        assert_eq!((caught.seed(), caught.text().as_str()), ("7", "P1: a record / is lost"));
        let hung = Verdict::of_failed("seed 12 has run for 60s\nreplay it: ...").unwrap();
        assert_eq!(hung, Verdict::Hung { seed: "12".to_owned() });
    }

    #[test]
    fn another_test_is_named() {
        let output = "test a ... ok\ntest b ... FAILED\n\ntest result: FAILED. 1 passed; 1 failed";
        let caught = Verdict::of_failed(output).unwrap();
        assert_eq!((caught.seed(), caught.text().as_str()), ("", "test b ... FAILED"));
    }

    #[test]
    fn an_end_without_a_failed_test_is_no_verdict() {
        assert_eq!(Verdict::of_failed("killed"), None);
        assert_eq!(Verdict::of_failed("seed 7 is next"), None);
        assert_eq!(Verdict::of_failed("test result: ok. 1 passed"), None);
    }
}
