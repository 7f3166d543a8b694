//! Servers that differ in one thing, whose calls of a tool with a fixed text are compared.

use tempfile::TempDir;

use crate::calls::{
    CALL, Contestant, MODERN_CALL, MODERN_FIELDS, RUN, RUNS, TOOLS, request, session_fields,
};
use crate::client::{Client, INITIALIZE, Id};
use crate::server::Server;
use crate::table::{above, median, number, row, spread};

/// A server with what tells it from the others.
pub(crate) struct Variant {
    name: &'static str,
    /// Of the rate of the first; `None` if it is only told.
    goal: Option<f64>,
    /// The value of the header `Authorization`.
    credential: Option<String>,
    server: Server,
    _folder: Option<TempDir>,
}

impl Variant {
    pub(crate) fn start(
        name: &'static str,
        goal: Option<f64>,
        options: &[&str],
        credential: Option<String>,
    ) -> Self {
        Self {
            name,
            goal,
            credential,
            server: Server::serve(TOOLS, &[&["--json-response"][..], options].concat()),
            _folder: None,
        }
    }

    /// Removes a folder when it is over.
    pub(crate) fn keeping(self, folder: TempDir) -> Self {
        Self {
            _folder: Some(folder),
            ..self
        }
    }

    fn fields<'a>(&'a self, fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let credential = self
            .credential
            .iter()
            .map(|value| ("Authorization", value.as_str()));
        credential.chain(fields.iter().copied()).collect()
    }

    fn session(&self) -> Id {
        let address = &self.server.address;
        let mut client = Client::connect(address);
        client.send(&request(address, &self.fields(&[]), INITIALIZE));
        client.receive().session.unwrap()
    }

    /// Those who call here, up to 2025-11-25 and in 2026-07-28.
    fn contestants(&self) -> [Contestant; 2] {
        let session = self.session();
        let address = &self.server.address;
        let legacy = self.fields(&session_fields(&session));
        let modern = self.fields(&MODERN_FIELDS);
        [
            Contestant::new(self.name, address, &legacy, CALL),
            Contestant::new(self.name, address, &modern, MODERN_CALL),
        ]
    }
}

/// Measures calls per second in turn, and holds them against those of the first.
pub(crate) fn compare(variants: &[Variant], scale: f64) {
    for connections in [1, 32] {
        let mut contestants: Vec<_> = variants.iter().map(Variant::contestants).collect();
        for _ in 0..RUNS {
            for contestant in contestants.iter_mut().flatten() {
                contestant.run(connections, RUN.mul_f64(scale));
            }
        }
        for (at, era) in ["2025-11-25", "2026-07-28"].into_iter().enumerate() {
            let mut rates: Vec<_> = (contestants.iter_mut())
                .map(|eras| &mut eras.get_mut(at).unwrap().rates)
                .collect();
            report(
                &format!("{era}, {connections} connections"),
                variants,
                &mut rates,
            );
        }
    }
}

fn report(what: &str, variants: &[Variant], rates: &mut [&mut Vec<f64>]) {
    for (variant, rates) in variants.iter().zip(rates.iter_mut()) {
        let measured = format!("{} calls/s", spread(rates));
        row(&format!("{}, {what}", variant.name), &measured);
    }
    let first = variants.first().unwrap().name;
    let mut medians = rates.iter_mut().map(|rates| median(rates));
    let base = medians.next().unwrap();
    for (variant, rate) in variants.iter().skip(1).zip(medians) {
        let name = format!("{} / {first}, {what}", variant.name);
        match variant.goal {
            Some(goal) => above(&name, rate / base, "", goal),
            None => row(&name, &number(rate / base)),
        }
    }
}
