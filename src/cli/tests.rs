//! What the options are, and what they refuse.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::*;

fn parse(arguments: &[&str]) -> Result<Parsed, String> {
    let arguments = ["mcp-serve"].iter().chain(arguments).map(OsString::from);
    super::parse(arguments).map_err(|error| error.to_string())
}

#[test]
fn the_command_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_option_has_help_and_its_variable() {
    let command = Cli::command();
    let mut seen = 0;
    for argument in command.get_arguments() {
        let Some(long) = argument
            .get_long()
            .filter(|long| !["help", "version"].contains(long))
        else {
            continue;
        };
        let variable = format!("MCP_SERVE_{}", long.to_uppercase().replace('-', "_"));
        let env = argument
            .get_env()
            .map(|env| env.to_string_lossy().into_owned());
        assert_eq!(env, Some(variable), "--{long}");
        assert!(argument.get_help().is_some(), "--{long} has no help");
        assert!(
            argument.get_help_heading().is_some(),
            "--{long} has no heading"
        );
        seen += 1;
    }
    assert!(seen >= 20, "{seen} options");
}

#[test]
fn defaults_are_as_documented() {
    let Parsed { cli, settings } = parse(&[]).unwrap();
    assert_eq!(cli.serve.tools, PathBuf::from("tools.yaml"));
    assert_eq!(cli.serve.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(cli.serve.path.as_str(), "/mcp");
    assert_eq!(cli.sessions.session_idle_timeout, "30m".parse().unwrap());
    assert!(!settings.is_chosen("--session-idle-timeout"));
    assert!(!settings.is_chosen("--listen"));
    assert!(!cli.serve.stdio);
    assert!(!cli.sessions.stateless && !cli.streams.json_response);
}

#[test]
fn values_are_read() {
    let parsed = parse(&[
        "--listen=[::1]:0,unix:/run/x.sock",
        "--listen=0.0.0.0:80",
        "--session-idle-timeout=90",
        "--stateless",
        "--json-response=false",
        "--allowed-host=MCP.example.com,[::1]",
        "--allowed-origin=https://App.example.com:443",
        "--credential-header=X-Api-Key,api-token",
    ])
    .unwrap();
    let listen: Vec<String> = parsed
        .cli
        .serve
        .listen
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(listen, ["[::1]:0", "unix:/run/x.sock", "0.0.0.0:80"]);
    let local: Vec<bool> = parsed
        .cli
        .serve
        .listen
        .iter()
        .map(ListenAddress::is_local)
        .collect();
    assert_eq!(local, [true, true, false]);
    let sessions = parsed.cli.sessions;
    assert_eq!(
        sessions.session_idle_timeout.duration(),
        Some(Duration::from_secs(90))
    );
    assert!(parsed.settings.is_chosen("--session-idle-timeout"));
    assert!(sessions.stateless && !parsed.cli.streams.json_response);
    let hosts = ["mcp.example.com", "[::1]"].map(|host| host.parse().unwrap());
    assert_eq!(parsed.cli.access.allowed_host, hosts);
    let origin = parsed.cli.access.allowed_origin[0].to_string();
    assert_eq!(origin, "https://app.example.com");
    let headers = parsed.cli.access.credential_header;
    assert_eq!(headers, ["x-api-key", "api-token"]);
}

#[test]
fn wrong_values_say_what_is_right() {
    let cases = [
        ("--session-idle-timeout=0", "try 30s, 5m or 1h, or none"),
        ("--session-idle-timeout=-5m", "try 30s, 5m or 1h, or none"),
        (
            "--session-idle-timeout=5 parsecs",
            "try 30s, 5m or 1h, or none",
        ),
        ("--session-idle-timeout=NaN", "try 30s, 5m or 1h, or none"),
        ("--call-timeout=none", "try 30s, 5m or 1h"),
        ("--drain-timeout=0", "try 30s, 5m or 1h"),
        ("--heartbeat=0s", "try 30s, 5m or 1h"),
        ("--heartbeat=99ms", "try 15s"),
        ("--max-body=0", "try 64KiB or 4MiB"),
        ("--max-body=4MB", "try 65536, 64KiB or 4MiB"),
        ("--max-sessions=0", "number would be zero"),
        ("--max-sessions=-1", "invalid digit"),
        ("--session-unused-timeout=0", "or none"),
        ("--max-sessions-per-principal=-1", "invalid digit"),
        ("--on-session-limit=wait", "possible values: evict, reject"),
        ("--session-evict-min-idle=none", "try 30s, 5m or 1h"),
        ("--stream-max-age=none", "try 30s, 5m or 1h"),
        ("--stream-buffer=0", "try 64KiB or 4MiB"),
        ("--resume-buffer=none", "try 65536, 64KiB or 4MiB"),
        ("--eras=old", "possible values: both, legacy, modern"),
        ("--metrics-listen=9090", "try 127.0.0.1:8080"),
        ("--stats-interval=0", "or none"),
        ("--listen=8080", "try 127.0.0.1:8080"),
        ("--listen=localhost:8080", "try 127.0.0.1:8080"),
        ("--listen=unix:", "try 127.0.0.1:8080"),
        ("--path=mcp", "try /mcp"),
        ("--path=/mcp/", "try /mcp"),
        ("--path=/a/../b", "try /mcp"),
        ("--path=/a b", "try /mcp"),
        ("--path=/healthz", "is taken by the server itself"),
        ("--path=/.well-known/x", "is taken by the server itself"),
        ("--allowed-host=example.com:80", "try mcp.example.com"),
        ("--allowed-host=*", "try mcp.example.com"),
        (
            "--credential-header=X-Api-Key:",
            "is not the name of a header",
        ),
        ("--credential-header=", "is not the name of a header"),
        ("--credential-header=Cookie", "a meaning of its own"),
        ("--credential-header=Mcp-Session-Id", "a meaning of its own"),
        (
            "--allowed-origin=example.com",
            "try https://app.example.com",
        ),
        (
            "--allowed-origin=https://example.com/x",
            "try https://app.example.com",
        ),
        ("--allowed-origin=null", "try https://app.example.com"),
        ("--trusted-proxy=10.0.0.1/8", "try 10.0.0.0/8"),
        (
            "--public-url=http://mcp.example.com/mcp",
            "must begin with https://",
        ),
        ("--log-format=xml", "possible values: text, json"),
        ("--audit=", "try /var/log/mcp-serve/audit.log"),
        (
            "--audit-mode=best-effort",
            "possible values: best_effort, required",
        ),
        (
            "--audit-arguments=all",
            "possible values: digest, redacted, none",
        ),
        (
            "--log-level=loud",
            "possible values: error, warn, info, debug, trace",
        ),
        ("--tools=", "a value is required"),
        ("--stateless=maybe", "invalid value"),
        ("--tool=x", "--tools"),
    ];
    for (argument, expected) in cases {
        let message = parse(&[argument]).unwrap_err();
        assert!(message.contains(expected), "{argument}: {message}");
    }
}
