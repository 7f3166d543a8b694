//! The last bytes of an output.

use crate::redact::Redactor;

/// Takes output in parts, and holds at most twice what it keeps.
#[derive(Debug)]
pub(super) struct Tail {
    limit: usize,
    bytes: Vec<u8>,
    /// There was more before it.
    is_cut: bool,
}

impl Tail {
    /// Keeps so many bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            bytes: Vec::new(),
            is_cut: false,
        }
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.is_cut |= self.bytes.len() > self.limit;
        if self.bytes.len() > self.limit.saturating_mul(2) {
            let surplus = self.surplus();
            self.bytes.drain(..surplus);
        }
    }

    /// What is kept.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.surplus()..).unwrap_or_default()
    }

    /// What is kept, without what may be a part of a secret.
    pub(super) fn without_parts<'a>(&'a self, secrets: &Redactor) -> &'a [u8] {
        if self.is_cut {
            secrets.cut_start(self.as_bytes())
        } else {
            self.as_bytes()
        }
    }

    fn surplus(&self) -> usize {
        self.bytes.len().saturating_sub(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_begins_with_no_part_of_a_secret() {
        let secrets = Redactor::new(["hunter2"]).unwrap();
        for limit in 1..=20 {
            let mut tail = Tail::new(limit);
            for byte in b"say hunter2, no more" {
                tail.push(&[*byte]);
            }
            let kept = String::from_utf8(tail.without_parts(&secrets).to_vec()).unwrap();
            let told = secrets.redact(&kept);
            assert!("say ***, no more".ends_with(&*told), "{limit}: {told}");
        }
        let mut whole = Tail::new(10);
        whole.push(b"er2");
        assert_eq!(whole.without_parts(&secrets), b"er2");
    }

    #[test]
    fn a_tail_is_the_end() {
        const LIMIT: usize = 64 * 1024;
        let mut tail = Tail::new(LIMIT);
        tail.push(b"start");
        assert_eq!(tail.as_bytes(), b"start");
        for _ in 0..100 {
            tail.push(&[b'x'; 4096]);
            assert!(tail.bytes.len() <= 2 * LIMIT + 4096);
        }
        tail.push(b"end");
        assert_eq!(tail.as_bytes().len(), LIMIT);
        assert!(tail.as_bytes().ends_with(b"xend"));
    }
}
