//! Whether what was printed agrees with what a page shows.

/// Stands for any text.
const ANY: &str = "...";
/// Stands for a number. No letter: `LSN` ends in one.
const NUMBER: char = '#';
/// What may stand behind a number and differ with it.
const UNITS: [&str; 14] =
    ["B", "KiB", "MiB", "GiB", "TiB", "ns", "us", "µs", "ms", "s", "min", "h", "d", "%"];

/// The first line in which the two do not agree; `None` if they agree.
pub fn difference(shown: &str, printed: &str) -> Option<String> {
    let lines = |text: &str| text.trim_end().lines().map(normal).collect::<Vec<_>>();
    let (shown, printed) = (lines(shown), lines(printed));
    if agree(&shown, &printed) {
        return None;
    }
    // Where a prefix of the page agrees with no beginning of what was printed, the page is wrong there.
    let begins =
        |count: &usize| (0..=printed.len()).any(|end| agree(&shown[..*count], &printed[..end]));
    let agreeing = (0..=shown.len()).rev().find(begins).unwrap_or(0);
    Some(match shown.get(agreeing) {
        Some(line) => format!("this line was not printed there: {line}"),
        None => "more was printed".to_owned(),
    })
}

fn agree(shown: &[String], printed: &[String]) -> bool {
    let Some((first, rest)) = shown.split_first() else { return printed.is_empty() };
    if first == ANY {
        return (0..=printed.len()).any(|skipped| agree(rest, &printed[skipped..]));
    }
    let Some((line, others)) = printed.split_first() else { return false };
    line_agrees(first, line) && agree(rest, others)
}

fn line_agrees(shown: &str, printed: &str) -> bool {
    let mut pieces = shown.split(ANY);
    let Some(mut rest) = pieces.next().and_then(|first| printed.strip_prefix(first)) else {
        return false;
    };
    let mut pieces: Vec<_> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        let Some((_, behind)) = rest.split_once(piece) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

/// A line without what may differ.
fn normal(line: &str) -> String {
    if line.starts_with("exit ") {
        return line.to_owned();
    }
    let without = without_numbers(line);
    let mut words: Vec<String> = Vec::new();
    for word in without.split_whitespace() {
        let is_after_number = words.last().is_some_and(|last| last.ends_with(NUMBER));
        let bare = word.trim_end_matches([',', ';', '.', ':', ')']);
        match words.last_mut() {
            Some(last) if is_after_number && UNITS.contains(&bare) => {
                last.push_str(&word[bare.len()..]);
            }
            // A time in two units, or in one.
            Some(last) if is_after_number && bare.chars().eq([NUMBER]) => last.push_str(&word[1..]),
            _ => words.push(word.to_owned()),
        }
    }
    words.join(" ")
}

/// [`NUMBER`] instead of each run of digits, also of one with a point in it.
fn without_numbers(line: &str) -> String {
    let mut normal = String::new();
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        let is_digit = |c: &char| c.is_ascii_digit();
        if !is_digit(&c) {
            let is_inner = matches!(c, '.' | ',')
                && normal.ends_with(NUMBER)
                && characters.peek().is_some_and(is_digit);
            if !is_inner {
                normal.push(c);
            }
        } else if !normal.ends_with(NUMBER) {
            normal.push(NUMBER);
        }
    }
    normal
}
