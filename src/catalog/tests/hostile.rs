//! Values that mean something somewhere.

/// How many templates a test makes.
pub(in crate::catalog) const TEMPLATES: usize = 50;
/// How many values it puts into them.
pub(in crate::catalog) const VALUES: usize = 200_000;

/// What values are made of: whatever means something to a shell, to this language, to a terminal, to
/// a parser of options, in a URL or in a header.
const PIECES: &[&str] = &[
    "-",
    "--",
    "--output=/etc/passwd",
    "-rf",
    "$(id)",
    "`id`",
    ";",
    "|",
    "&&",
    ">",
    "\n",
    "\r\n",
    "\t",
    " ",
    "'",
    "\"",
    "\\",
    "\\\"",
    "{s0}",
    "{s1...}",
    "{{",
    "}}",
    "{",
    "}",
    "[",
    "]",
    "[-x]",
    "?",
    "*",
    "~",
    "..",
    "/",
    "#",
    "=",
    "%s",
    "%00",
    "%2e%2e",
    "%2F",
    "&",
    "+",
    ":",
    "@",
    "<",
    "http://evil",
    "\r\nX-Evil: 1",
    "\u{7f}",
    "${IFS}",
    "$HOME",
    "\u{0}",
    "\u{1b}[31m",
    "\u{202e}",
    "\u{feff}",
    "é",
    "日本",
    "😀",
    "\u{fffd}",
    "null",
    "true",
    "0",
    "a",
    "word",
];

/// `SplitMix64`, so that a seed is all that it takes to see a failure again.
pub(in crate::catalog) struct Random {
    pub(in crate::catalog) seed: u64,
    state: u64,
}

impl Random {
    /// Begins anew, and prints with what.
    pub(in crate::catalog) fn seeded() -> Self {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).unwrap();
        let seed = u64::from_ne_bytes(seed);
        println!("seed {seed}");
        Self { seed, state: seed }
    }

    pub(in crate::catalog) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(in crate::catalog) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    pub(in crate::catalog) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub(in crate::catalog) fn text(&mut self) -> String {
        let pieces = (0..self.below(5)).map(|_| PIECES[self.below(PIECES.len())]);
        pieces.collect()
    }
}
