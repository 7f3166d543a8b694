//! Servers that differ in one thing, whose calls of a tool with a fixed text are compared.

use tempfile::TempDir;

use crate::calls::{
    CALL, Contestant, MODERN_CALL, MODERN_FIELDS, RUN, RUNS, TOOLS, request, session_fields,
};
use crate::client::{Client, INITIALIZE, Id};
use crate::server::Server;
use crate::table::{above, number, ratio, row, spread};

/// What tells a server from the others.
pub(crate) struct Setup {
    pub(crate) name: &'static str,
    pub(crate) options: Vec<String>,
    /// The value of the header `Authorization`.
    credential: Option<String>,
    _folder: Option<TempDir>,
}

impl Setup {
    /// A server without further options.
    pub(crate) fn plain(name: &'static str) -> Self {
        Self {
            name,
            options: Vec::new(),
            credential: None,
            _folder: None,
        }
    }

    /// With these options, about what is in a folder that is removed when it is over.
    pub(crate) fn with(self, options: &[&str], folder: TempDir) -> Self {
        Self {
            options: options.iter().map(|&option| option.to_owned()).collect(),
            _folder: Some(folder),
            ..self
        }
    }

    /// Presents this token.
    pub(crate) fn presenting(self, token: &str) -> Self {
        Self {
            credential: Some(format!("Bearer {token}")),
            ..self
        }
    }

    /// The header fields of its requests.
    pub(crate) fn fields<'a>(&'a self, fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let credential = self
            .credential
            .iter()
            .map(|value| ("Authorization", value.as_str()));
        credential.chain(fields.iter().copied()).collect()
    }
}

/// A server that is compared.
pub(crate) struct Variant {
    setup: Setup,
    /// Of the rate of the first; `None` if it is only told.
    goal: Option<f64>,
    server: Server,
}

impl Variant {
    pub(crate) fn start(setup: Setup, goal: Option<f64>) -> Self {
        let options = setup.options.iter().map(String::as_str);
        let options: Vec<_> = ["--json-response"].into_iter().chain(options).collect();
        Self {
            server: Server::serve(TOOLS, &options),
            setup,
            goal,
        }
    }

    fn session(&self) -> Id {
        let address = &self.server.address;
        let mut client = Client::connect(address);
        client.send(&request(address, &self.setup.fields(&[]), INITIALIZE));
        client.receive().session.unwrap()
    }

    /// Those who call here, up to 2025-11-25 and in 2026-07-28.
    fn contestants(&self) -> [Contestant; 2] {
        let session = self.session();
        let address = &self.server.address;
        let legacy = self.setup.fields(&session_fields(&session));
        let modern = self.setup.fields(&MODERN_FIELDS);
        [
            Contestant::new(self.setup.name, address, &legacy, CALL),
            Contestant::new(self.setup.name, address, &modern, MODERN_CALL),
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
    let first = variants.first().unwrap().setup.name;
    let (base, others) = rates.split_first().unwrap();
    for (variant, rates) in variants.iter().skip(1).zip(others) {
        let name = format!("{} / {first}, {what}", variant.setup.name);
        let share = ratio(rates, base);
        match variant.goal {
            Some(goal) => above(&name, share, "", goal),
            None => row(&name, &number(share)),
        }
    }
    for (variant, rates) in variants.iter().zip(rates) {
        let measured = format!("{} calls/s", spread(rates));
        row(&format!("{}, {what}", variant.setup.name), &measured);
    }
}
