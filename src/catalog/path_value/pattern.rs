//! Whether the texts that a pattern accepts stay in the folder where they stand.
//!
//! A text is read as a path by a small machine, and each part of a pattern is what it does to the
//! places where that machine may be. What is not known of a part, such as whether a word ends here, counts
//! as possible: a pattern may be called unsafe that is safe, and never the other way.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// How many states there are.
const STATES: usize = 12;
/// How many times a part has to be tried: whatever it leads to, fewer steps than states lead there.
const MAX_STEPS: u32 = 12;
/// The first of the states after which the pattern allows nothing more. They are in the order of the others.
const ENDED: usize = 6;

/// Nothing was read.
const START: usize = 0;
/// In a folder, after its `/`.
const FOLDER: usize = 1;
/// After `.` in the place of a name.
const DOT: usize = 2;
/// After `..` in the place of a name.
const DOTS: usize = 3;
/// Within a name.
const NAME: usize = 4;
/// Outside: a name was empty, `.` or `..`.
const OUT: usize = 5;

/// States, a bit for each.
type States = u16;

/// What a part of a pattern does: the states to which it may lead from each.
type Steps = [States; STATES];

/// Whether a text that a pattern accepts may lead out of a folder, or be the folder itself or the one above.
pub(super) fn may_leave(pattern: &str) -> bool {
    let Ok(pattern) = regex_syntax::parse(pattern) else {
        return true;
    };
    // A pattern that is not anchored accepts what holds a match.
    let anything = repeated(&any(true, true, true), 0, None);
    let steps = then(&then(&anything, &steps(&pattern)), &anything);
    let unsafe_ends = states([DOT, DOTS, OUT]);
    let [from_start, ..] = steps;
    from_start & (unsafe_ends | unsafe_ends << ENDED) != 0
}

fn steps(pattern: &Hir) -> Steps {
    match pattern.kind() {
        HirKind::Literal(literal) => (literal.0.iter()).fold(stay(), |steps, byte| {
            then(
                &steps,
                &any(*byte == b'/', *byte == b'.', !b"/.".contains(byte)),
            )
        }),
        HirKind::Class(class) => of_class(class),
        HirKind::Look(Look::Start) => each(|state| match state {
            START => states([START]),
            _ => 0,
        }),
        HirKind::Look(Look::End) => each(|state| states([state % ENDED]) << ENDED),
        HirKind::Empty | HirKind::Look(_) => stay(),
        HirKind::Repetition(repetition) => {
            repeated(&steps(&repetition.sub), repetition.min, repetition.max)
        }
        HirKind::Capture(capture) => steps(&capture.sub),
        HirKind::Concat(parts) => (parts.iter()).fold(stay(), |all, part| then(&all, &steps(part))),
        HirKind::Alternation(parts) => {
            (parts.iter()).fold([0; STATES], |all, part| or(&all, &steps(part)))
        }
    }
}

fn of_class(class: &Class) -> Steps {
    let ranges: Vec<(u32, u32)> = match class {
        Class::Unicode(class) => (class.iter())
            .map(|range| (range.start().into(), range.end().into()))
            .collect(),
        Class::Bytes(class) => (class.iter())
            .map(|range| (range.start().into(), range.end().into()))
            .collect(),
    };
    let (slash, dot) = (u32::from('/'), u32::from('.'));
    let holds = |wanted| (ranges.iter()).any(|(first, last)| (*first..=*last).contains(&wanted));
    // `.` and `/` are neighbours.
    let holds_others = (ranges.iter()).any(|(first, last)| *first < dot || *last > slash);
    any(holds(slash), holds(dot), holds_others)
}

/// One character, of those that are allowed.
fn any(slash: bool, dot: bool, other: bool) -> Steps {
    each(|state| {
        if state >= ENDED {
            return 0;
        }
        let after_slash = if state == NAME { FOLDER } else { OUT };
        let after_dot = match state {
            START | FOLDER => DOT,
            DOT => DOTS,
            OUT => OUT,
            _ => NAME,
        };
        let after_other = if state == OUT { OUT } else { NAME };
        let led = [(slash, after_slash), (dot, after_dot), (other, after_other)];
        let led = led.into_iter().filter(|(is_allowed, _)| *is_allowed);
        led.fold(0, |all, (_, state)| all | states([state]))
    })
}

/// A part that stands several times.
fn repeated(part: &Steps, least: u32, most: Option<u32>) -> Steps {
    let required = (0..least.min(MAX_STEPS)).fold(stay(), |all, _| then(&all, part));
    let optional = match most {
        Some(most) if least <= MAX_STEPS => most.saturating_sub(least).min(MAX_STEPS),
        _ => MAX_STEPS,
    };
    (0..optional).fold(required, |all, _| or(&all, &then(&all, part)))
}

/// What does nothing.
fn stay() -> Steps {
    each(|state| states([state]))
}

/// One part after another.
fn then(first: &Steps, second: &Steps) -> Steps {
    first.map(|reached| {
        let led = (0..STATES)
            .zip(second)
            .filter(|(state, _)| reached & states([*state]) != 0);
        led.fold(0, |all, (_, next)| all | next)
    })
}

/// One part or another.
fn or(one: &Steps, other: &Steps) -> Steps {
    let mut both = *one;
    both.iter_mut()
        .zip(other)
        .for_each(|(states, more)| *states |= more);
    both
}

fn each(lead: impl Fn(usize) -> States) -> Steps {
    std::array::from_fn(lead)
}

fn states<const N: usize>(states: [usize; N]) -> States {
    states.iter().fold(0, |all, state| all | 1 << state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_keep_a_value_in_its_folder() {
        let safe = [
            "^[a-z0-9-]{1,63}$",
            "^[a-z0-9][a-z0-9.-]{0,252}$",
            "^(web|worker)-[0-9]+$",
            r"^\w+\.txt$",
            "^[^/.][^/]*$",
            "^v[0-9.]+$",
            "^[A-Za-z0-9_][A-Za-z0-9_. -]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$",
            "^(?:a/)?b[.]txt$",
            r"^\d{4}/\d{2}$",
            "^(a|b)/c$",
            r"^a\/b$",
            r"^a\x2fb$",
            "^(?:a|b)$",
            "^(a$|b$)",
            "^(?i:reports)/[a-z]+$",
            "^(?P<name>[a-z]+)$",
            "^(?<year>[0-9]{4})/x$",
            "(?i)^[a-z]+$",
            r"\A[a-z]+\z",
            "^[a-z]+$|^[0-9]+$",
            "^[.]{3}[a-z]$",
            "^(a/){2}b$",
        ];
        let unsafe_ones = [
            "^[a-z.]+(/[a-z]+)*$",
            "^[a-z]+(/[a-z.]+)*$",
            "^[a-z]+/[a-z]*[.]*$",
            "^[a-z]*/a$",
            r"^a/\.\./b$",
            "^a/(b|[.][.])$",
            "^/etc$",
            "^a//b$",
            "^(a/|b)[.][.]$",
            "^(a|[.][.])/b$",
            "^(ab)?[.][.]/b$",
            "[a-z]+",
            "^[a-z]+",
            "[a-z]+$",
            "^a|b$",
            "^.+$",
            "^[a-z/]+$",
            "^[^.]+$",
            "^[^/]+$",
            "^[0-9.]+$",
            "^[!-~]+$",
            r"^[\S]+$",
            r"^\S+$",
            r"^\.\.$",
            "^[[:graph:]]+$",
            "^[+-9]+$",
            r"^a\$",
            "^a/(?i:[.][.])/b$",
            "^(?P<up>[.][.])/b$",
            "^(?<up>[.]){2}/b$",
            "^(?m)a$",
            "(?m)^[a-z]+$",
            "(?x)^[a-z]+ #$",
            "^^[.][.]/etc$",
            "^(a/){0,1}[.]{2}$",
            "^(a/){100}[.]{2}$",
            r"^a/\b?[.][.]$",
            r"^(?=a)[^/]+$",
            "^[a-z]+(",
        ];
        for (patterns, expected) in [(&safe[..], false), (&unsafe_ones[..], true)] {
            for pattern in patterns {
                assert_eq!(may_leave(pattern), expected, "{pattern}");
            }
        }
    }

    #[test]
    fn a_pattern_within_patterns_is_judged_at_once() {
        let nested = format!("^{}a{}$", "(".repeat(60), "*)+".repeat(60));
        assert!(!may_leave(&nested));
    }
}
