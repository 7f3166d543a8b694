//! Names of environment variables, and those that no caller may set.

use super::template::{Declared, Slot, Word};
use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::document::yaml::Key;

/// Variables that make programs load, run or look up something else.
const DANGEROUS: &[&str] = &[
    "ALL_PROXY",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "BASH_ENV",
    "BASHOPTS",
    "CDPATH",
    "CLASSPATH",
    "DOCKER_CONFIG",
    "DOCKER_HOST",
    "EDITOR",
    "ENV",
    "FPATH",
    "GCONV_PATH",
    "GOFLAGS",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "IFS",
    "JAVA_OPTS",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "KUBECONFIG",
    "LESSOPEN",
    "LESSCLOSE",
    "LOCPATH",
    "LUA_INIT",
    "MAKEFLAGS",
    "MANPAGER",
    "NODE_OPTIONS",
    "NODE_PATH",
    "OPENSSL_CONF",
    "PAGER",
    "PATH",
    "PERL5DB",
    "PERL5LIB",
    "PERL5OPT",
    "PROMPT_COMMAND",
    "PS4",
    "RUBYLIB",
    "RUBYOPT",
    "RUSTC_WRAPPER",
    "SHELL",
    "SHELLOPTS",
    "SSH_ASKPASS",
    "SUDO_ASKPASS",
    "TERMINFO",
    "VISUAL",
    "XDG_CONFIG_HOME",
    "ZDOTDIR",
    "_JAVA_OPTIONS",
    "all_proxy",
    "http_proxy",
    "https_proxy",
];
/// Families of such variables.
const DANGEROUS_PREFIXES: &[&str] = &[
    "BASH_FUNC_",
    "DYLD_",
    "GIT_",
    "LD_",
    "NPM_CONFIG_",
    "PYTHON",
    "npm_config_",
];

/// The family of variables that tell a program of the call it runs for; only the server sets them.
const RESERVED_PREFIX: &str = "MCP_";
/// The trace of a call, which must not be taken from the server's own environment.
const RESERVED: &[&str] = &["TRACEPARENT", "TRACESTATE"];

/// Checks that a name is `[A-Za-z_][A-Za-z0-9_]*`, as anything else means another variable, or
/// none, and that the name is not the server's own.
pub(crate) fn check_name(name: &str, span: Span, report: &mut Report) -> bool {
    let first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let valid = name.bytes().next().is_some_and(first) && name.bytes().all(rest);
    if !valid {
        let message = format!("`{name}` cannot be the name of a variable");
        let help = "use letters, digits and `_`, and start with a letter or `_`";
        report.add(Problem::error(Code::Name, span, message).help(help));
    }
    // A program that trusts the name would take the definition's word for the caller.
    let reserved = name.starts_with(RESERVED_PREFIX) || RESERVED.contains(&name);
    if reserved {
        let message = format!(
            "`{name}` is for the server to set, as are all names that start with `{RESERVED_PREFIX}`"
        );
        let help = "use a variable of your own";
        report.add(Problem::error(Code::DangerousEnvironment, span, message).help(help));
    }
    valid && !reserved
}

/// Whether the author has not listed what fills a place, which is no number either.
fn is_free(slot: &Slot, declared: Declared<'_>) -> bool {
    declared.parameters.get(&slot.name).is_none() || declared.may_be_code(slot)
}

/// Refuses a caller's value in a variable that changes what a program does.
pub(crate) fn check_value(name: &Key, value: &Word, declared: Declared<'_>, report: &mut Report) {
    let dangerous = DANGEROUS.contains(&name.text.as_str())
        || (DANGEROUS_PREFIXES.iter()).any(|prefix| name.text.starts_with(prefix));
    let Some(slot) = value
        .slots()
        .find(|slot| dangerous && is_free(slot, declared))
    else {
        return;
    };
    let message = format!(
        "`{}` decides what programs run, and `{{{}}}` would let the caller set it",
        name.text, slot.name
    );
    let help = "write a fixed value, list the values in an `enum`, or use a variable of your own";
    report.add(Problem::error(Code::DangerousEnvironment, name.span, message).help(help));
}
