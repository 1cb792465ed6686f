//! Pages whose commands are run: the command blocks of a page in Markdown, and whether a shell that runs them in order prints
//! what the page shows.
//!
//! A block of commands is fenced with `sh`. A block fenced with `text` right below it is what the commands print, on both
//! outputs; without one they print nothing. The last command of a block ends with status 0.
//!
//! What a page shows agrees with what was printed if they are the same, except for this:
//!
//! * any number, with its unit, stands for any other; so does an amount of blanks.
//! * `...` stands for any text in a line, and alone in a line for any lines.
//! * `exit N` is compared as it stands.

mod agree;
mod shell;

pub use agree::difference;
pub use shell::Shell;

/// Commands of a page, and what they print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where the block begins on the page, counted from one.
    pub line: usize,
    /// The heading that it stands below, without its `#`.
    pub heading: String,
    pub commands: String,
    pub output: String,
}

/// All command blocks of a page, in order.
pub fn blocks(page: &str) -> Vec<Block> {
    let (mut found, mut heading) = (Vec::<Block>::new(), "");
    // Whether nothing but blank lines stands between here and the last command block.
    let mut is_below = false;
    let mut lines = page.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            if let Some(text) = line.strip_prefix('#') {
                heading = text.trim_start_matches('#').trim();
            }
            is_below &= line.trim().is_empty();
            continue;
        };
        let inner =
            lines.by_ref().map(|(_, line)| line).take_while(|line| !line.starts_with("```"));
        let text = inner.map(|line| format!("{line}\n")).collect::<String>();
        match (language, found.last_mut()) {
            ("sh", _) => {
                let (line, heading) = (at + 1, heading.to_owned());
                found.push(Block { line, heading, commands: text, output: String::new() });
            }
            ("text", Some(block)) if is_below => block.output = text,
            _ => {}
        }
        is_below = language == "sh";
    }
    found
}

/// Puts values instead of names, such as `DIR`, where these stand as words.
pub fn filled(text: &str, values: &[(&str, &str)]) -> String {
    let is_inner = |c: char| c.is_alphanumeric() || c == '_';
    let mut filled = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_inner(c)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        let value = values.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
        filled.push_str(value.unwrap_or(word));
        let next = behind.find(is_inner).unwrap_or(behind.len());
        filled.push_str(&behind[..next]);
        rest = &behind[next..];
    }
    filled
}

/// Runs a block, with these values instead of names; an error says where the page is wrong.
pub fn check(shell: &mut Shell, block: &Block, values: &[(&str, &str)]) -> Result<(), String> {
    let (said, status) = shell.run(&filled(&block.commands, values))?;
    let expected = filled(&block.output, values);
    let difference = difference(&expected, &said);
    if status == 0 && difference.is_none() {
        return Ok(());
    }
    let Block { line, heading, commands, .. } = block;
    let why = difference.unwrap_or_else(|| "the output agrees".to_owned());
    Err(format!(
        "line {line}, {heading}: status {status}; {why}\n--- commands\n{commands}--- the page shows\n{expected}--- printed\n{said}"
    ))
}
