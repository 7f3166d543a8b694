//! The last bytes of an output.

/// Takes output in parts, and holds at most twice what it keeps.
#[derive(Debug)]
pub(super) struct Tail {
    limit: usize,
    bytes: Vec<u8>,
}

impl Tail {
    /// Keeps so many bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            bytes: Vec::new(),
        }
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > self.limit.saturating_mul(2) {
            let surplus = self.surplus();
            self.bytes.drain(..surplus);
        }
    }

    /// What is kept.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.surplus()..).unwrap_or_default()
    }

    fn surplus(&self) -> usize {
        self.bytes.len().saturating_sub(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
