//! Clients that guess tokens (T12).

use crate::metrics::{MONITOR, monitor_of, scrape, value};
use crate::support::{Http, Response, TOKEN, TestServer};

const TOOLS: &str = "tools: {echo: {description: Says hello., exec: /bin/echo hello}}";

const GUESS: &str = "Bearer guessed-token-Qy7h2VmfZ3b1mXk0Wq";

fn ask(http: &mut Http, credential: &str, client: &str) -> Response {
    let headers = [("Authorization", credential), ("X-Forwarded-For", client)];
    http.request("GET", "/other", &headers, "")
}

#[test]
fn whoever_guesses_waits_and_nobody_else() {
    let options = [&MONITOR[..], &["--trusted-proxy=127.0.0.1"]].concat();
    let server = TestServer::with_token(TOOLS, &options);
    let mut http = Http::connect(server.address());
    let answers: Vec<_> = (0..400)
        .map(|_| ask(&mut http, GUESS, "203.0.113.1"))
        .collect();
    let refused = answers.iter().filter(|answer| answer.status == 401).count();
    assert!((50..400).contains(&refused), "{refused}");
    let throttled: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 429)
        .collect();
    assert_eq!(throttled.len() + refused, 400);
    for answer in &throttled {
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("www-authenticate"), None);
        assert_eq!(answer.error_code(), Some(-32603));
    }
    // Everybody behind the same address who has a token goes on, and so do strangers elsewhere.
    let good = format!("Bearer {TOKEN}");
    let mut seen = 0;
    while seen == 0 {
        seen = u32::from(ask(&mut http, GUESS, "203.0.113.1").status == 429);
        assert_eq!(ask(&mut http, &good, "203.0.113.1").status, 404);
    }
    assert_eq!(ask(&mut http, GUESS, "203.0.113.2").status, 401);
    let nothing = http.request("GET", "/other", &[("X-Forwarded-For", "203.0.113.1")], "");
    assert_eq!(nothing.status, 401, "who presents nothing guesses nothing");

    let samples = scrape(&monitor_of(&server));
    let counted = value(&samples, "auth_failures_total{reason=\"throttled\"}");
    assert!(counted >= 1.0, "{samples:#?}");
    let lines = server.log();
    let lines = lines
        .iter()
        .filter(|line| line.contains("credential refused"));
    assert!(lines.count() <= 30, "one a second");
    assert!(!server.log().join("\n").contains("guessed-token"));
}
