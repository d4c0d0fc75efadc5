//! What no program that needs the data can beat: a plain read of them.

/// A sum in enough independent lanes that the memory sets the pace.
pub fn read(values: &[f32]) -> f32 {
    let mut lanes = [0.0; 32];
    add(&mut lanes, values);
    lanes.iter().sum()
}

/// The same of rows of a matrix, one after another, each asked for while others are read.
#[allow(dead_code, reason = "not every benchmark reads rows")]
pub fn read_rows(matrix: &[f32], width: usize, rows: &[u32]) -> f32 {
    // Of so many bytes, which the nearest cache has room for.
    let ahead = (8192 / size_of_val(&matrix[..width])).max(1);
    let row = |row: u32| &matrix[row as usize * width..][..width];
    let mut lanes = [0.0; 32];
    for (place, &number) in rows.iter().enumerate() {
        if let Some(&next) = rows.get(place + ahead) {
            ask_for(row(next));
        }
        add(&mut lanes, row(number));
    }
    lanes.iter().sum()
}

/// Asks for the cache lines of a row.
fn ask_for(row: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in row.chunks(16) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = row;
}

#[inline]
fn add(lanes: &mut [f32; 32], values: &[f32]) {
    let chunks = values.chunks_exact(32);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += value;
    }
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
