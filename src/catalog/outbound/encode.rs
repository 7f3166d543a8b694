//! Percent-encoding (RFC 3986): a value keeps its bytes, and none of them means anything in a URL.

/// Appends a text of which only the unreserved characters stay as they are. So it is one part of a
/// path, a key or value of a query, or of a form.
pub(super) fn push(target: &mut String, text: &str) {
    push_except(target, text, is_unreserved);
}

/// As [`push`], in a string of its own.
pub(super) fn encoded(text: &str) -> String {
    let mut target = String::with_capacity(text.len());
    push(&mut target, text);
    target
}

/// A literal part of a path as its author wrote it: what is encoded already stays so.
pub(super) fn literal_path(text: &str) -> String {
    let mut target = String::with_capacity(text.len());
    // RFC 3986, 3.3: pchar, and what separates segments.
    push_except(&mut target, text, |byte| {
        is_unreserved(byte) || b"!$&'()*+,;=:@/%".contains(&byte)
    });
    target
}

fn push_except(target: &mut String, text: &str, is_kept: impl Fn(u8) -> bool) {
    for byte in text.bytes() {
        if is_kept(byte) {
            target.push(char::from(byte));
        } else {
            target.push('%');
            target.extend([byte >> 4, byte & 15].map(hex));
        }
    }
}

fn hex(half: u8) -> char {
    let digit = char::from_digit(u32::from(half), 16);
    digit.unwrap_or_default().to_ascii_uppercase()
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Whether each `%` starts an encoded byte.
pub(super) fn is_well_formed(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Whether a segment of a path means this folder or the one above, however its dots are written.
pub(super) fn is_dots(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    matches!(plain.as_str(), "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_value_holds_means_nothing_in_a_url() {
        let cases = [
            ("plain-._~09AZ", "plain-._~09AZ"),
            ("a&admin=1", "a%26admin%3D1"),
            ("a b+c#d?e", "a%20b%2Bc%23d%3Fe"),
            ("%2e%2e", "%252e%252e"),
            ("é\n\0", "%C3%A9%0A%00"),
            (";x", "%3Bx"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(encoded(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_literal_path_keeps_what_is_encoded_in_it() {
        let cases = [
            ("/a/b;v=1/@x", "/a/b;v=1/@x"),
            ("/a%20b", "/a%20b"),
            ("/a b/é{}", "/a%20b/%C3%A9%7B%7D"),
        ];
        for (text, expected) in cases {
            assert_eq!(literal_path(text), expected, "{text:?}");
        }
        for (text, expected) in [("a%20", true), ("%", false), ("%2", false), ("%zz", false)] {
            assert_eq!(is_well_formed(text), expected, "{text:?}");
        }
    }

    #[test]
    fn dots_are_known_in_every_spelling() {
        let cases = [
            (".", true),
            ("..", true),
            ("%2e", true),
            (".%2E", true),
            ("%2E%2e", true),
            ("...", false),
            ("a..", false),
            ("", false),
            ("%252e", false),
        ];
        for (segment, expected) in cases {
            assert_eq!(is_dots(segment), expected, "{segment:?}");
        }
    }
}
