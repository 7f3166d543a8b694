//! To whom the server is open: what is refused, and what is worth a warning.

use anyhow::bail;

use crate::cli::{Cli, Metrics, Parsed};

/// Refuses what has no meaning for a client that starts the server itself.
pub(super) fn check_stdio(parsed: &Parsed) -> anyhow::Result<()> {
    let Cli { serve, access, .. } = &parsed.cli;
    if !serve.stdio {
        return Ok(());
    }
    if parsed.settings.is_chosen("--listen") {
        bail!(
            "--stdio serves the client that starts the server, and --listen those that connect: \
             set only one of them, and of their variables MCP_SERVE_STDIO and MCP_SERVE_LISTEN"
        );
    }
    let asked = [
        ("--auth", "MCP_SERVE_AUTH", &access.auth),
        ("--token-file", "MCP_SERVE_TOKEN_FILE", &access.token_file),
    ];
    for (option, variable, file) in asked {
        if file.is_some() {
            bail!(
                "{option} cannot be set with --stdio: the client is the user who starts the \
                 server, and has no way to present a token; leave {option} and {variable} out"
            );
        }
    }
    Ok(())
}

/// Refuses to open to the network what should not be, and warns of the rest.
pub(super) fn check_exposure(
    cli: &Cli,
    root: bool,
    warnings: &mut Vec<String>,
) -> anyhow::Result<()> {
    let unauthenticated = cli.access.auth.is_none() && cli.access.token_file.is_none();
    let Some(address) = cli.serve.listen.iter().find(|address| !address.is_local()) else {
        if root {
            warnings
                .push("running as root, and so does every tool; use a user of its own".to_owned());
        }
        return Ok(());
    };
    if unauthenticated && !cli.access.allow_unauthenticated {
        bail!(
            "--listen {address} is reachable from other machines, but nobody needs a token: \
             set --auth or --token-file, or --allow-unauthenticated if everybody may call every tool"
        );
    }
    if root && !cli.access.allow_root {
        bail!(
            "--listen {address} is reachable from other machines, and every tool would run as \
             root: run as a user of its own, or set --allow-root"
        );
    }
    if unauthenticated {
        warnings.push(format!(
            "everybody who can reach {address} may call every tool, without a token"
        ));
    }
    if cli.network.tls_cert.is_none() && cli.network.trusted_proxy.is_empty() {
        warnings.push(format!(
            "{address} is served without TLS: set --tls-cert and --tls-key, or put a proxy that \
             terminates TLS in front of it"
        ));
    }
    Ok(())
}

/// Warns of metrics that everybody may read, or nobody.
pub(super) fn check_metrics(options: &Metrics, warnings: &mut Vec<String>) {
    match &options.metrics_listen {
        Some(address) if !address.is_local() => warnings.push(format!(
            "everybody who can reach {address} may read the metrics, without a token"
        )),
        None if options.debug_sessions => {
            warnings.push("--debug-sessions needs --metrics-listen: nothing is shown".to_owned());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;

    fn exposure(arguments: &[&str], root: bool) -> Result<usize, String> {
        let cli = parsed(arguments).cli;
        let mut warnings = Vec::new();
        check_exposure(&cli, root, &mut warnings)
            .map(|()| warnings.len())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_open_to_the_network_by_accident() {
        let cases: [(&[&str], bool, Result<usize, &str>); 14] = [
            (&[], false, Ok(0)),
            (&[], true, Ok(1)),
            (&["--listen=unix:/run/x"], false, Ok(0)),
            (&["--listen=[::1]:80"], false, Ok(0)),
            (&["--listen=[::ffff:127.0.0.1]:80"], false, Ok(0)),
            (&["--listen=0.0.0.0:80"], false, Err("--token-file")),
            (
                &["--listen=127.0.0.1:80,[::]:80"],
                false,
                Err("--listen [::]:80"),
            ),
            (
                &["--listen=0.0.0.0:80", "--allow-unauthenticated"],
                false,
                Ok(2),
            ),
            (&["--listen=0.0.0.0:80", "--token-file=x"], false, Ok(1)),
            (&["--listen=0.0.0.0:80", "--auth=x"], false, Ok(1)),
            (
                &[
                    "--listen=0.0.0.0:80",
                    "--auth=x",
                    "--tls-cert=x",
                    "--tls-key=x",
                ],
                false,
                Ok(0),
            ),
            (
                &[
                    "--listen=0.0.0.0:80",
                    "--auth=x",
                    "--trusted-proxy=10.0.0.1",
                ],
                false,
                Ok(0),
            ),
            (
                &["--listen=0.0.0.0:80", "--token-file=x"],
                true,
                Err("--allow-root"),
            ),
            (
                &["--listen=0.0.0.0:80", "--token-file=x", "--allow-root"],
                true,
                Ok(1),
            ),
        ];
        for (arguments, root, expected) in cases {
            match (exposure(arguments, root), expected) {
                (Ok(warnings), Ok(expected)) => assert_eq!(warnings, expected, "{arguments:?}"),
                (Err(message), Err(expected)) => {
                    assert!(message.contains(expected), "{arguments:?}: {message}");
                }
                (outcome, _) => panic!("{arguments:?} root {root}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn standard_input_and_output_are_for_one_user_without_a_credential() {
        let cases: [(&[&str], Result<(), &str>); 6] = [
            (&["--stdio"], Ok(())),
            (&["--stdio=false", "--listen=127.0.0.1:0"], Ok(())),
            (&["--stdio", "--state-key-file=x"], Ok(())),
            (&["--stdio", "--listen=127.0.0.1:8080"], Err("--listen")),
            (&["--stdio", "--auth=x"], Err("--auth cannot be set")),
            (&["--stdio", "--token-file=x"], Err("--token-file cannot")),
        ];
        for (arguments, expected) in cases {
            match (check_stdio(&parsed(arguments)), expected) {
                (Ok(()), Ok(())) => {}
                (Err(error), Err(expected)) => {
                    let message = error.to_string();
                    assert!(message.contains(expected), "{arguments:?}: {message}");
                }
                (checked, _) => panic!("{arguments:?}: {checked:?}"),
            }
        }
    }

    #[test]
    fn metrics_for_everybody_or_nobody_are_worth_a_warning() {
        let cases: [(&[&str], Option<&str>); 6] = [
            (&[], None),
            (&["--metrics-listen=127.0.0.1:0"], None),
            (&["--metrics-listen=unix:/run/x", "--debug-sessions"], None),
            (&["--metrics-listen=0.0.0.0:0"], Some("0.0.0.0:0")),
            (&["--metrics-listen=[2001:db8::1]:9"], Some("2001:db8")),
            (&["--debug-sessions"], Some("--metrics-listen")),
        ];
        for (arguments, expected) in cases {
            let mut warnings = Vec::new();
            check_metrics(&parsed(arguments).cli.metrics, &mut warnings);
            assert_eq!(warnings.len(), usize::from(expected.is_some()));
            let warned = warnings.first().map_or("", String::as_str);
            assert!(
                warned.contains(expected.unwrap_or("")),
                "{arguments:?}: {warned}"
            );
        }
    }
}
