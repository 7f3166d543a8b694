//! Text without the sequences that steer a terminal.
//!
//! They are nothing to a model, and can show a person who reads along something else than what the
//! model gets: hidden or overwritten text, a link that leads elsewhere, another title. All other
//! characters are data, which JSON carries safely.

use std::borrow::Cow;

const ESCAPE: char = '\u{1b}';
/// CSI as one character: `ESC [`.
const CSI: char = '\u{9b}';
/// ST as one character: `ESC \`.
const TERMINATOR: char = '\u{9c}';

/// The text without escape sequences (ECMA-48) and without a byte order mark at its start.
pub fn plain(text: &str) -> Cow<'_, str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !text.contains(begins) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(begins) {
        let (before, sequence) = rest.split_at(at);
        plain.push_str(before);
        rest = behind(sequence);
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// True for a character that begins a sequence.
fn begins(character: char) -> bool {
    character == ESCAPE || character == CSI || begins_string(character)
}

/// True for DCS, SOS, OSC, PM and APC as one character.
fn begins_string(character: char) -> bool {
    matches!(character, '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}')
}

/// What follows the sequence at the start of a text. Of one that is broken only the beginning goes,
/// so that nobody can hide the text behind it.
fn behind(text: &str) -> &str {
    let mut characters = text.chars();
    let first = characters.next();
    let after = characters.as_str();
    match first {
        Some(CSI) => behind_control(after),
        Some(ESCAPE) => {
            let second = characters.next();
            match second {
                Some('[') => behind_control(characters.as_str()),
                Some('P' | 'X' | ']' | '^' | '_') => behind_string(characters.as_str()),
                _ => behind_final(after, '0'),
            }
        }
        _ => behind_string(after),
    }
}

/// What follows the parameters and the final character of a control sequence.
fn behind_control(text: &str) -> &str {
    let is_parameter = |character: char| ('0'..='?').contains(&character);
    behind_final(text.trim_start_matches(is_parameter), '@')
}

/// What follows intermediate characters and a final one, if there is one from `lowest` on.
fn behind_final(text: &str, lowest: char) -> &str {
    let is_intermediate = |character: char| (' '..='/').contains(&character);
    let text = text.trim_start_matches(is_intermediate);
    let is_final = |character: char| (lowest..='~').contains(&character);
    text.strip_prefix(is_final).unwrap_or(text)
}

/// What follows the end of a control string, which is on the same line.
fn behind_string(text: &str) -> &str {
    let end = text.find(['\u{7}', ESCAPE, TERMINATOR, '\n']);
    let Some((_, end)) = end.map(|end| text.split_at(end)) else {
        return text;
    };
    let ends = ["\u{7}", "\u{1b}\\", "\u{9c}"];
    let after = ends
        .iter()
        .find_map(|terminator| end.strip_prefix(terminator));
    after.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_for_terminals_are_left_out_and_nothing_else() {
        let cases = [
            (
                "nothing",
                "a\tb\r\nc\rd\0\u{8}\u{7f}\u{85}\u{2028}",
                "a\tb\r\nc\rd\0\u{8}\u{7f}\u{85}\u{2028}",
            ),
            (
                "colours",
                "\u{1b}[1;31mred\u{1b}[0m \u{1b}[38:5:9mred\u{1b}[m",
                "red red",
            ),
            ("one character", "\u{9b}31mred\u{9b}0m", "red"),
            (
                "cursor and modes",
                "\u{1b}[2J\u{1b}[?25l\u{1b}[!p\u{1b}[2 qx",
                "x",
            ),
            (
                "a title",
                "\u{1b}]0;title\u{7}x\u{1b}]0;title\u{1b}\\y\u{9d}0;t\u{9c}z",
                "xyz",
            ),
            (
                "a link",
                "\u{1b}]8;;https://a.example\u{1b}\\text\u{1b}]8;;\u{1b}\\",
                "text",
            ),
            ("the clipboard", "\u{1b}]52;c;cm0gLXJmIC8=\u{7}x", "x"),
            (
                "a device string",
                "\u{1b}Pq#0;2\u{1b}\\x\u{90}q\u{9c}y",
                "xy",
            ),
            ("character sets", "\u{1b}(Bx\u{1b}#8y\u{1b}cz\u{1b}7", "xyz"),
            (
                "concealed text stays",
                "\u{1b}[8mhidden\u{1b}[28m",
                "hidden",
            ),
            ("alone", "\u{1b}", ""),
            ("cut", "x\u{1b}[3", "x"),
            ("broken", "\u{1b}[3é\u{1b}é\u{1b}\nx", "éé\nx"),
            (
                "a title without an end",
                "\u{1b}]0;all of this\nand this",
                "0;all of this\nand this",
            ),
            (
                "one inside another",
                "\u{1b}]0;a\u{1b}[31mb\u{7}",
                "0;ab\u{7}",
            ),
            ("nothing new arises", "\u{1b}\u{1b}[31m[31mx", "[31mx"),
            ("byte order mark", "\u{feff}x\u{feff}", "x\u{feff}"),
        ];
        for (name, text, expected) in cases {
            assert_eq!(plain(text), expected, "{name}");
            assert_eq!(plain(&plain(text)), expected, "{name}, twice");
        }
    }
}
