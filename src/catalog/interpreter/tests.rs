//! What is refused of command lines, and what is not.

use std::path::Path;

use crate::catalog::{Catalog, Environment};

/// Whether a command line is refused as code, a script or a program of the caller's.
fn is_refused(line: &str) -> bool {
    let names = ["x", "y"].map(|name| (name, "string"));
    let parameters = [
        ("plain", "{type: string, pattern: '^[a-z-]+$'}"),
        ("listed", "{enum: [a, b]}"),
        ("number", "integer"),
    ];
    let params: Vec<_> = (names.into_iter().chain(parameters))
        .filter(|(name, _)| line.contains(&format!("{{{name}}}")))
        .map(|(name, schema)| format!("{name}: {schema}"))
        .collect();
    let (line, params) = (serde_json::to_string(line).unwrap(), params.join(", "));
    let text = format!(
        "tools:\n  t: {{description: d, if_missing: hide, exec: {line}, params: {{{params}}}}}\n"
    );
    let environment: Environment = [("PATH", "/nowhere")].into_iter().collect();
    match Catalog::parse(&text, Path::new("tools.yaml"), &environment) {
        Ok(_) => false,
        Err(error) => {
            let error = error.to_string();
            let is_code = error.contains("error[E019]") || error.contains("error[E016]");
            assert!(is_code, "{line}: {error}");
            true
        }
    }
}

#[test]
fn values_that_are_data_are_accepted() {
    let lines = [
        "sh -c 'ls \"$1\"' sh {x}",
        "bash -lc 'ls \"$1\"' bash -c {x}",
        "docker exec web bash -c 'ls \"$1\"' bash {x}",
        "docker compose -f a.yaml exec -T web sh -c 'ls \"$1\"' sh {x}",
        "kubectl exec deploy/web -- sh -c 'cat \"$1\"' sh {x}",
        "kubectl exec deploy/web -c app -it -- sh -c 'cat \"$1\"' sh {x}",
        "xargs -I % sh -c 'ls \"$1\"' sh {x}",
        "env FOO=x sh -c 'ls \"$1\"' sh {x}",
        "timeout 5 python3 /opt/x.py python {x}",
        "npm run watch -- {x}",
        "npm run make -- {x}",
        "docker compose restart node {x}",
        "kubectl -n make get pods {x}",
        "kubectl get pods -n psql -c {x}",
        "docker logs mysql -e {x}",
        "docker run --name flock --rm -it alpine tar -c {x}",
        "docker run --rm -v /srv:/data report {x}",
        "kubectl run once --image=report -- {x}",
        "python3 /opt/report.py -c {x}",
        "node /srv/cli.js -e {x}",
        "bash /opt/deploy.sh -c {x}",
        "perl x.pl -e {x}",
        "php artisan migrate -r {x}",
        "Rscript r.R -e {x}",
        "python3 -m pip download -c {x} y",
        "python3 -c 'import sys' -c {x}",
        "flock L tar -c {x}",
        "env LC_ALL=C sort -S {x}",
        "mysql -uuser {x}",
        "mysql -psecret {x}",
        "psql -Uacme -d {x} -f q.sql",
        "node --eval=1 {x}",
        "python3 - {x}",
        "bash -s -- {x}",
        "perl -i.bak -pe 's/a/b/' {x}",
        "sed -ne p {x}",
        "awk -F: -f a.awk {x}",
        "make {plain}",
        "make deploy VERSION={plain}",
        "ssh {x} systemctl status {plain}",
        "ssh host \"systemctl status {listed}\"",
        "ssh -o ConnectTimeout={x} host uptime",
        "git -c color.ui={x} log",
        "find /srv -name {x} -exec cat {y} ';'",
        "sh -c {listed}",
        "awk 'NR == 1' {x}",
        "git log -c {x}",
        "ssh -o ConnectTimeout={number} host uptime",
    ];
    for line in lines {
        assert!(!is_refused(line), "{line}");
    }
}

#[test]
fn values_that_would_run_are_refused() {
    let lines = [
        "sh -c {x}",
        "sh -c {plain}",
        "bash -c -l {x}",
        "bash -lc 'ls {y}'\"{x}\"",
        "docker exec web bash -c {x}",
        "docker run --name web -v /a:/b alpine sh -c {x}",
        "docker compose exec web sh -c {x}",
        "docker exec web {x}",
        "kubectl exec deploy/web -n prod -- sh -c {x}",
        "xargs -I % sh -c {x}",
        "sudo -u app env A=b timeout 5 sh -c {x}",
        "systemd-run --wait sh -c {x}",
        "sed -e s/a/b/ -e {x}",
        "sed -ne {x} f",
        "gdb -batch -ex bt -ex {x}",
        "psql -c 'select 1' -c {x}",
        "psql -h db -tAc {x}",
        "psql -c{x}",
        "psql --command={x}",
        "mysql -uuser -e 'select 1' -e {x}",
        "mysql -e{x}",
        "vim -c q -c {x}",
        "sqlite3 -cmd .tables -cmd {x} db",
        "sqlite3 db {plain}",
        "bash -o pipefail {x}",
        "python3 -W ignore {x}",
        "node -r dotenv/config {x}",
        "perl -lane {x}",
        "perl -e{x}",
        "lua -e 'a = 1' {x}",
        "flock L -c {x}",
        "env -S {x}",
        "git -c {x} log",
        "git -c core.sshCommand={x} fetch",
        "git -c alias.x=!{x} x",
        "ssh -o {x} host",
        "ssh -o ProxyCommand={x} host",
        "ssh -oProxyCommand={x} host",
        "ssh -o \"ProxyCommand {x}\" host",
        "ssh host systemctl status {x}",
        "ssh host {plain}",
        "make {x}",
        "watch -n 5 {x}",
        "pwsh -Command Get-Item {x}",
        "find . -exec cat a ';' -exec {x} ';'",
        "find . -exec sh -c {x} ';'",
        "awk -v n=1 {x} /etc/passwd",
        "npx --yes {x}",
        "npx -c {x}",
        "uv run python -c {x}",
    ];
    for line in lines {
        assert!(is_refused(line), "{line}");
    }
}
