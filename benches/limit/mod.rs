//! What no program that needs the data can beat: a plain read of them.

/// A sum in enough independent lanes that the memory sets the pace.
pub fn read(values: &[f32]) -> f32 {
    let mut lanes = [0.0; 32];
    let chunks = values.chunks_exact(32);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    lanes.iter().chain(rest).sum()
}

/// Numbers between -1 and 1, by xorshift.
pub struct Noise(pub u64);

impl Noise {
    /// The next one.
    pub fn number(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}
