//! Inputs that are nearly right.

/// Pieces that mean something to a reader of JSON or of MCP.
const PIECES: [&[u8]; 40] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\\u0069d",
    b"null",
    b"true",
    b"-0",
    b"1e999",
    b"1.0",
    b"9223372036854775808",
    b"-9223372036854775809",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\n",
    b"\r\n",
    b"\0",
    b"\xe2\x80\xa8",
    b"\"id\":2,",
    b"\"ID\":2,",
    b"\"jsonrpc\":\"2.0\",",
    b"\"method\":\"ping\",",
    b"\"Method\":\"ping\",",
    b"\"params\":[],",
    b"\"result\":{},",
    b"\"error\":{\"code\":1,\"message\":\"\"},",
    b"\"name\":\"plain\",",
    b"\"arguments\":null,",
    b"\"_meta\":{},",
    b"\"cursor\":\"\",",
    b"\"requestState\":\"AA\",",
    b"\"inputResponses\":null,",
    b"tools/call",
    b"io.modelcontextprotocol/protocolVersion",
];

/// The longest input, in bytes.
const MAX_INPUT: usize = 64 * 1024;

/// Makes inputs of seeds; the same seeds and the same start make the same inputs.
#[derive(Debug)]
pub(crate) struct Mutator {
    seeds: Vec<Vec<u8>>,
    state: u64,
}

impl Mutator {
    pub(crate) fn new(seeds: Vec<Vec<u8>>, state: u64) -> Self {
        Self { seeds, state }
    }

    /// A number below `end` (xorshift64*, Vigna 2016).
    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let number = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        usize::try_from(number).unwrap() % end.max(1)
    }

    /// The next input.
    pub(crate) fn input(&mut self) -> Vec<u8> {
        let seed = self.below(self.seeds.len());
        let mut input = self.seeds[seed].clone();
        for _ in 0..=self.below(4) * self.below(2) {
            self.mutate(&mut input);
        }
        input.truncate(MAX_INPUT);
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let end = (at + self.below(24)).min(input.len());
        match self.below(8) {
            0 => {
                input.drain(at..end);
            }
            1 => {
                let piece = PIECES[self.below(PIECES.len())];
                input.splice(at..at, piece.iter().copied());
            }
            2 => {
                let piece = PIECES[self.below(PIECES.len())];
                input.splice(at..end, piece.iter().copied());
            }
            3 => {
                let part = input[at..end].to_vec();
                input.splice(at..at, part);
            }
            4 => {
                let other = self.below(self.seeds.len());
                let other = self.seeds[other].clone();
                let from = self.below(other.len() + 1);
                let to = (from + self.below(64)).min(other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
            5 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            6 => {
                if let Some(byte) = input.get_mut(at) {
                    // Another case of a letter.
                    *byte ^= 0x20;
                }
            }
            _ => {
                let levels = self.below(80);
                let (open, close) = [(b'[', b']'), (b' ', b' ')][self.below(2)];
                input.splice(end..end, vec![close; levels]);
                input.splice(at..at, vec![open; levels]);
            }
        }
    }
}
