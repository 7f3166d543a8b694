//! The manual page, made from the options and commands.

use std::io::{self, Write as _};

use clap::builder::StyledStr;
use clap::{Arg, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;

/// Sections of the manual that are not options: a heading, and terms with their meaning.
const SECTIONS: [(&str, &[(&str, &str)]); 3] = [
    (
        "SIGNALS",
        &[
            (
                "SIGTERM, SIGINT",
                "Refuse new work with 503, let running calls finish for --drain-timeout, answer the \
                 rest with an error, and end. A second one kills every call and ends at once.",
            ),
            ("SIGUSR1", "Write session statistics to the log."),
            (
                "SIGHUP",
                "Read the definitions, the auth file or token file, and the certificate again, as a \
                 change of these files does. Open the file of the audit log again.",
            ),
        ],
    ),
    (
        "EXIT STATUS",
        &[
            (
                "0",
                "A clean stop: every call that was taken got an answer. With a command: it did what it \
                 was asked, and found nothing wrong.",
            ),
            (
                "1",
                "A failure at run time: an address that is taken, a call that was cut without an \
                 answer. With call: the tool failed, or said so. With test: a test failed.",
            ),
            (
                "2",
                "A mistake in the options, the token file, the auth file or the definitions, or in \
                 the arguments of call. With check --strict also a warning. Starting again does not \
                 help.",
            ),
            (
                "128 + n",
                "A second signal of number n. With call and test: the first one, which ends what \
                 they run.",
            ),
        ],
    ),
    (
        "FILES",
        &[(
            "tools.yaml",
            "The definitions that are served when --tools names no others.",
        )],
    ),
];

/// The manual page mcp-serve(1), in roff.
///
/// # Errors
///
/// None in practice: writing to memory does not fail.
pub fn manual() -> io::Result<Vec<u8>> {
    let man = clap_mangen::Man::new(Cli::command());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    page.extend(commands().into_bytes());
    for (heading, terms) in SECTIONS {
        writeln!(page, ".SH \"{heading}\"")?;
        for (term, meaning) in terms {
            let meaning = meaning.replace('-', "\\-");
            writeln!(page, ".TP\n\\fB{term}\\fR\n{meaning}")?;
        }
    }
    Ok(page)
}

/// The section of the commands, each with the options that it has alone.
fn commands() -> String {
    let mut section = String::from(".SH COMMANDS\n");
    let command = Cli::command();
    for command in command.get_subcommands() {
        describe(command, command.get_name(), &mut section);
    }
    section
}

fn describe(command: &clap::Command, name: &str, section: &mut String) {
    let inner: Vec<_> = command.get_subcommands().collect();
    for command in &inner {
        describe(command, &format!("{name} {}", command.get_name()), section);
    }
    if !inner.is_empty() {
        return;
    }
    let arguments: Vec<_> = command.get_arguments().collect();
    let mut synopsis = name.to_owned();
    for argument in &arguments {
        synopsis.push(' ');
        synopsis.push_str(&usage(argument));
    }
    term(&synopsis, command.get_about(), section);
    section.push_str(".RS\n");
    for argument in arguments {
        term(&written(argument), argument.get_help(), section);
    }
    section.push_str(".RE\n");
}

fn term(name: &str, meaning: Option<&StyledStr>, section: &mut String) {
    let escaped = |text: &str| text.replace('-', "\\-");
    let meaning = meaning.map(ToString::to_string).unwrap_or_default();
    let (name, meaning) = (escaped(name), escaped(&meaning));
    section.extend([".TP\n\\fB", &name, "\\fR\n", &meaning, "\n"]);
}

/// An argument as a synopsis shows it.
fn usage(argument: &Arg) -> String {
    let written = written(argument);
    let dots = if argument
        .get_num_args()
        .is_some_and(|count| count.max_values() > 1)
    {
        "..."
    } else {
        ""
    };
    if argument.is_required_set() {
        format!("{written}{dots}")
    } else {
        format!("[{written}{dots}]")
    }
}

/// An argument as it is written: `--format FORMAT` or `TOOL`.
fn written(argument: &Arg) -> String {
    let value = match argument.get_value_names() {
        Some([value, ..]) if argument.get_action().takes_values() => value.to_uppercase(),
        _ => String::new(),
    };
    match argument.get_long() {
        None => value,
        Some(long) if value.is_empty() => format!("--{long}"),
        Some(long) => format!("--{long} {value}"),
    }
}

/// What completes options and commands in a shell.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "mcp-serve", &mut script);
    script
}
