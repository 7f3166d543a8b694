//! What each option is set to, and by what.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};

/// Where the value of an option came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Nobody chose it.
    Default,
    /// Its environment variable.
    Environment,
    /// The command line.
    CommandLine,
}

/// An option with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The option, such as `--listen`.
    pub option: String,
    /// Its variable, such as `MCP_SERVE_LISTEN`.
    pub variable: String,
    /// The values as they were written; none for an option that is not set.
    pub values: Vec<String>,
    /// Where they came from.
    pub source: Source,
}

/// Every option, in the order of the help.
#[derive(Debug, Clone)]
pub struct Settings(Vec<Setting>);

impl Settings {
    pub(super) fn read<'a>(options: impl Iterator<Item = &'a Arg>, matches: &ArgMatches) -> Self {
        let settings = options.filter_map(|option| setting(option, matches));
        Self(settings.collect())
    }

    /// All of them.
    pub fn all(&self) -> &[Setting] {
        &self.0
    }

    /// Whether somebody chose the value of an option.
    pub fn is_chosen(&self, option: &str) -> bool {
        let setting = self.0.iter().find(|setting| setting.option == option);
        setting.is_some_and(|setting| setting.source != Source::Default)
    }
}

fn setting(option: &Arg, matches: &ArgMatches) -> Option<Setting> {
    let id = option.get_id().as_str();
    let values = matches.get_raw(id).into_iter().flatten();
    Some(Setting {
        option: format!("--{}", option.get_long()?),
        variable: option.get_env()?.to_string_lossy().into_owned(),
        values: values
            .map(|value| value.to_string_lossy().into_owned())
            .collect(),
        source: match matches.value_source(id) {
            Some(ValueSource::CommandLine) => Source::CommandLine,
            Some(ValueSource::EnvVariable) => Source::Environment,
            _ => Source::Default,
        },
    })
}
