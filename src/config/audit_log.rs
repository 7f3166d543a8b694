//! The settings of the audit log.

use anyhow::Context as _;

use super::permissions;
use crate::audit;
use crate::cli::Parsed;

/// What the audit log is to be. Warns of settings for one that is not there.
///
/// # Errors
///
/// What is wrong with its place.
pub(super) fn settings(
    parsed: &Parsed,
    warnings: &mut Vec<String>,
) -> anyhow::Result<Option<audit::Settings>> {
    let options = &parsed.cli.audit;
    let Some(target) = &options.audit else {
        for option in ["--audit-mode", "--audit-arguments"] {
            if parsed.settings.is_chosen(option) {
                warnings.push(format!("{option} needs --audit: there is no audit log"));
            }
        }
        return Ok(None);
    };
    let settings = audit::Settings {
        target: target.clone(),
        mode: options.audit_mode,
        arguments: options.audit_arguments,
        permissions: permissions(&parsed.cli.access),
    };
    settings.check().with_context(|| settings.label())?;
    Ok(Some(settings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    #[test]
    fn settings_of_an_audit_log_that_is_not_there_are_worth_a_warning() {
        let cases: [(&[&str], usize, bool); 4] = [
            (&[], 0, false),
            (&["--audit=stderr", "--audit-mode=required"], 0, true),
            (&["--audit-mode=best_effort"], 1, false),
            (
                &["--audit-mode=required", "--audit-arguments=none"],
                2,
                false,
            ),
        ];
        for (arguments, expected, is_there) in cases {
            let mut warnings = Vec::new();
            let parsed = ["mcp-serve"].iter().chain(arguments).map(Into::into);
            let audit = settings(&cli::parse(parsed).unwrap(), &mut warnings).unwrap();
            assert_eq!(
                (warnings.len(), audit.is_some()),
                (expected, is_there),
                "{arguments:?}"
            );
        }
    }
}
