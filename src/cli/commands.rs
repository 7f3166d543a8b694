//! The commands beside serving.
//!
//! Every option counts with every command and stands before or after it; the help of a command shows
//! those that matter to it.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::values::{Expiry, path};

/// What to do instead of serving.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Check the definitions, the auth file and the options, as serving would, and show what counts.
    ///
    /// Everything that is wrong is said at once. What would keep the server from starting is an
    /// error here, and what it would warn of is a warning.
    Check(Check),
    /// List what is served.
    List(List),
    /// Call a tool once, as the server would, and print what it says.
    ///
    /// Progress, the log of the tool and its questions go to standard error, and its result to
    /// standard output.
    Call(Call),
    /// Run the tests of the definitions.
    Test(Test),
    /// Print the JSON Schema of the definitions, for editors.
    Schema(Schema),
    /// Write a first file of definitions, to be changed.
    Init(Init),
    /// Make a token, or the line of the auth file for one.
    #[command(subcommand)]
    Token(Token),
    /// Print what a shell needs to complete options and commands.
    Completions(Completions),
    /// Print a page of the manual, for `man -l -`.
    Man(Man),
}

impl Command {
    /// The options that matter to a command, by their ids. Those of the others are hidden from its help.
    pub(super) fn options(name: &str) -> &'static [&'static str] {
        match name {
            "check" => &["tools", "auth", "token_file", "insecure_permissions"],
            "list" => &["tools", "auth", "insecure_permissions"],
            "call" => &[
                "tools",
                "auth",
                "insecure_permissions",
                "call_timeout",
                "ask_timeout",
                "log_level",
            ],
            "test" => &["tools", "call_timeout", "log_level"],
            _ => &[],
        }
    }
}

/// `check`
#[derive(Debug, Clone, Args)]
pub struct Check {
    /// Take warnings for errors.
    #[arg(long)]
    pub strict: bool,

    /// Show every option, also those that nobody has set.
    #[arg(long, short)]
    pub verbose: bool,

    /// Form of what is printed: text for people, json for editors and CI.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: CheckFormat,
}

/// Form of what `check` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// Lines for people.
    Text,
    /// One JSON object.
    Json,
}

/// `list`
#[derive(Debug, Clone, Args)]
pub struct List {
    /// List what this subject of the auth file may use.
    #[arg(long = "as", value_name = "SUBJECT")]
    pub subject: Option<String>,

    /// Print a JSON array.
    #[arg(long)]
    pub json: bool,
}

/// `call`
#[derive(Debug, Clone, Args)]
pub struct Call {
    /// The tool to call.
    pub tool: String,

    /// An argument: NAME=VALUE is read as the schema of the parameter asks for, once for each item of
    /// an array, and NAME:=JSON is any JSON.
    #[arg(value_name = "NAME=VALUE")]
    pub values: Vec<String>,

    /// The arguments as a JSON object, to which those beside it are added; - reads standard input.
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    pub arguments: Option<String>,

    /// Call as this subject of the auth file. Otherwise nobody is said to call, and everything may be
    /// called.
    #[arg(long = "as", value_name = "SUBJECT")]
    pub subject: Option<String>,

    /// Print the whole result as JSON, as a client gets it.
    #[arg(long)]
    pub json: bool,

    /// Print what would be run or sent, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `test`
#[derive(Debug, Clone, Args)]
pub struct Test {
    /// Run only tests whose name, or the name of whose tool, holds this text.
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
}

/// `schema`
#[derive(Debug, Clone, Args)]
pub struct Schema {
    /// The kind of file.
    #[arg(value_name = "FILE", default_value = "tools")]
    pub of: SchemaOf,
}

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// The definitions: tools.yaml.
    Tools,
    /// The auth file: auth.yaml.
    Auth,
}

/// `init`
#[derive(Debug, Clone, Args)]
pub struct Init {
    /// The file to write. One that is there is left alone.
    #[arg(value_name = "FILE", default_value = "tools.yaml", value_parser = path())]
    pub file: PathBuf,
}

/// `token`
#[derive(Debug, Clone, Subcommand)]
pub enum Token {
    /// Print a new token on standard error, and its entry of the auth file on standard output.
    New(TokenOwner),
    /// Read a token from standard input, and print its entry of the auth file.
    Hash(TokenOwner),
}

/// Whom a token stands for.
#[derive(Debug, Clone, Args)]
pub struct TokenOwner {
    /// Whom it stands for.
    #[arg(long, value_name = "NAME", default_value = "somebody")]
    pub subject: String,

    /// The tenant of the subject.
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,

    /// A scope. May be given several times.
    #[arg(long, value_name = "SCOPE", value_delimiter = ',')]
    pub scope: Vec<String>,

    /// A role. May be given several times.
    #[arg(long, value_name = "ROLE", value_delimiter = ',')]
    pub role: Vec<String>,

    /// When it ends: a date in UTC, such as 2027-01-01 or 2027-01-01T12:00:00Z, or how long it lasts,
    /// such as 90d, which is at most 366 days.
    #[arg(long, value_name = "DATE|DURATION")]
    pub expires: Option<Expiry>,
}

/// `man`
#[derive(Debug, Clone, Args)]
pub struct Man {
    /// The section of the manual: 1 is about the program, 5 about the language of tools.yaml.
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = ["1", "5"])]
    pub section: String,
}

/// `completions`
#[derive(Debug, Clone, Args)]
pub struct Completions {
    /// The shell.
    pub shell: Shell,
}
