//! What programs make of their words, as far as some of these are run.

mod table;

pub(super) use table::{is_shell, runs_a_shell};

/// What a program makes of its words.
#[derive(Clone, Copy)]
pub(super) struct Program {
    options: &'static [(Means, &'static [&'static str])],
    /// What the other options mean: [`Means::Flag`] or [`Means::Value`].
    others: Means,
    pub(super) operands: Operands,
}

/// What an option means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// It has no value.
    Flag,
    /// Its value is data.
    Value,
    /// Its value is data, and stands in the same word if there is one.
    Attached,
    /// Its value is code, and no operand is.
    Code,
    /// Its value is code that runs besides the script.
    Prelude,
    /// The first operand is code, and what follows is the code's own.
    Command,
    /// No operand is code; the program reads it from its standard input.
    Stdin,
    /// Its value names a file of code, and no operand does.
    File,
    /// Its value is the script, and what follows is the script's own.
    Script,
    /// All words after it are code.
    Rest,
    /// Its value is `name=value`, and some names decide what is run.
    Setting,
    /// A program follows, up to `;` or `+`.
    Program,
}

/// What the words mean that are no options.
#[derive(Clone, Copy)]
pub(super) enum Operands {
    /// They are data.
    Data,
    /// The first one is a subcommand, with options of its own.
    Other,
    /// The first one is a script, and what follows is the script's own.
    Script,
    /// The first one is code.
    Code,
    /// The first one is code, and what follows is the code's own.
    Command,
    /// Those after so many are statements of a language.
    Statements(usize),
    /// Those after so many are words that a shell reads once more.
    ShellWords(usize),
    /// Every word, options too, is expanded once more.
    Expanded,
    /// A program stands after so many.
    Program(usize),
    /// After so many stands a program, or what an image with a program of its own gets as its words.
    OfImage(usize),
    /// A program stands somewhere.
    Somewhere,
    /// A program stands behind some subcommands.
    Subcommand(Subcommands),
}

/// The subcommands that run programs.
#[derive(Clone, Copy)]
pub(super) struct Subcommands {
    /// Those that have subcommands themselves.
    pub(super) groups: &'static [&'static str],
    /// Those that run the program named after them.
    pub(super) runs: &'static [&'static str],
    /// Those that run an image, with a program of it or its own.
    pub(super) images: &'static [&'static str],
    /// Those that run a program which the project names.
    own: &'static [&'static str],
    /// How many operands stand before the program.
    pub(super) before: usize,
}

/// An option as it stands in a word.
pub(super) struct Found<'a> {
    /// As its program documents it: `-c` for `-lc`; empty if it is not in the table.
    pub(super) name: &'static str,
    pub(super) means: Means,
    /// How its value begins, if that is in the same word.
    pub(super) attached: Option<&'a str>,
}

impl Program {
    /// Whether it runs another program named in its words, which are these.
    pub(super) fn wraps<'a>(&self, mut words: impl Iterator<Item = &'a str>) -> bool {
        match self.operands {
            Operands::Program(_) | Operands::Somewhere => true,
            Operands::Subcommand(Subcommands {
                runs, images, own, ..
            }) => words.any(|word| {
                [runs, images, own]
                    .iter()
                    .any(|names| names.contains(&word))
            }),
            _ => words.any(|word| {
                self.listed(word)
                    .is_some_and(|(_, means)| means == Means::Program)
            }),
        }
    }

    /// Reads an option in how a word begins; `is_whole` when nothing comes after that. `None` for an
    /// operand.
    pub(super) fn option<'a>(&self, text: &'a str, is_whole: bool) -> Option<Found<'a>> {
        let value = (!is_whole).then_some("");
        let found = |(name, means), attached| Found {
            name,
            means,
            attached,
        };
        if let Some(listed) = self.listed(text) {
            return Some(found(listed, value));
        }
        if !text.starts_with('-') || (text == "-" && is_whole) {
            return None;
        }
        if text.starts_with("--") || !self.has_clusters() {
            let (name, attached) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (text, value),
            };
            return Some(found(self.meaning(name), attached));
        }
        // The first one in a cluster of letters that is no flag, as in `-lc` and `-uroot`.
        let letters = text.char_indices().skip(1);
        for (at, letter) in letters.take_while(|(_, c)| c.is_ascii_alphanumeric()) {
            let listed = self.meaning(&format!("-{letter}"));
            let rest = text
                .get(at + 1..)
                .filter(|rest| !is_whole || !rest.is_empty());
            if listed.1 != Means::Flag {
                return Some(found(listed, rest));
            }
        }
        Some(found(("", Means::Flag), None))
    }

    fn meaning(&self, name: &str) -> (&'static str, Means) {
        self.listed(name).unwrap_or(("", self.others))
    }

    fn listed(&self, name: &str) -> Option<(&'static str, Means)> {
        let mut options = self
            .options
            .iter()
            .flat_map(|(means, names)| names.iter().map(|name| (*name, *means)));
        options.find(|(known, _)| *known == name)
    }

    /// Whether one dash begins several options of a letter each, and not a longer name.
    fn has_clusters(&self) -> bool {
        let mut names = self.options.iter().flat_map(|(_, names)| names.iter());
        names.all(|name| name.len() == 2 || name.starts_with("--"))
    }
}
