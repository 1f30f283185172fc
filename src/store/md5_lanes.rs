//! Eight MD5s at a time: one MD5 is a chain in which every step waits for the last, so a core has room for the steps of
//! others. Four to five times as many bytes a second as one after the other.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::__m256i;
use std::array;

use crate::md5::Md5;

pub const LANES: usize = 8;
const BLOCK_BYTES: usize = 64;

/// Of eight streams of one length.
pub enum Md5Lanes {
    #[cfg(target_arch = "x86_64")]
    Wide(wide::Lanes),
    Serial([Md5; LANES]),
}

impl Md5Lanes {
    pub fn new() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(lanes) = wide::Lanes::new() {
            return Self::Wide(lanes);
        }
        Self::Serial(array::from_fn(|_| Md5::new()))
    }

    /// The next bytes of each: alike in length, whole blocks of 64.
    pub fn update(&mut self, pieces: [&[u8]; LANES]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Wide(lanes) => lanes.update(pieces),
            Self::Serial(all) => all.iter_mut().zip(pieces).for_each(|(one, piece)| one.update(piece)),
        }
    }

    pub fn finish(self) -> [[u8; 16]; LANES] {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Wide(lanes) => lanes.finish(),
            Self::Serial(all) => all.map(Md5::finish),
        }
    }
}

/// With AVX2.
#[cfg(target_arch = "x86_64")]
mod wide {
    use super::{__m256i, BLOCK_BYTES, LANES};
    use std::arch::x86_64::{
        _mm256_add_epi32, _mm256_and_si256, _mm256_andnot_si256, _mm256_loadu_si256, _mm256_or_si256,
        _mm256_permute2x128_si256, _mm256_set1_epi32, _mm256_slli_epi32, _mm256_srli_epi32,
        _mm256_storeu_si256, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32,
        _mm256_unpacklo_epi64, _mm256_xor_si256,
    };
    use std::array;

    /// RFC 1321, 3.4: the integer part of 2^32 times |sin(i + 1)|.
    const SINES: [u32; 64] = [
        0xd76a_a478,
        0xe8c7_b756,
        0x2420_70db,
        0xc1bd_ceee,
        0xf57c_0faf,
        0x4787_c62a,
        0xa830_4613,
        0xfd46_9501,
        0x6980_98d8,
        0x8b44_f7af,
        0xffff_5bb1,
        0x895c_d7be,
        0x6b90_1122,
        0xfd98_7193,
        0xa679_438e,
        0x49b4_0821,
        0xf61e_2562,
        0xc040_b340,
        0x265e_5a51,
        0xe9b6_c7aa,
        0xd62f_105d,
        0x0244_1453,
        0xd8a1_e681,
        0xe7d3_fbc8,
        0x21e1_cde6,
        0xc337_07d6,
        0xf4d5_0d87,
        0x455a_14ed,
        0xa9e3_e905,
        0xfcef_a3f8,
        0x676f_02d9,
        0x8d2a_4c8a,
        0xfffa_3942,
        0x8771_f681,
        0x6d9d_6122,
        0xfde5_380c,
        0xa4be_ea44,
        0x4bde_cfa9,
        0xf6bb_4b60,
        0xbebf_bc70,
        0x289b_7ec6,
        0xeaa1_27fa,
        0xd4ef_3085,
        0x0488_1d05,
        0xd9d4_d039,
        0xe6db_99e5,
        0x1fa2_7cf8,
        0xc4ac_5665,
        0xf429_2244,
        0x432a_ff97,
        0xab94_23a7,
        0xfc93_a039,
        0x655b_59c3,
        0x8f0c_cc92,
        0xffef_f47d,
        0x8584_5dd1,
        0x6fa8_7e4f,
        0xfe2c_e6e0,
        0xa301_4314,
        0x4e08_11a1,
        0xf753_7e82,
        0xbd3a_f235,
        0x2ad7_d2bb,
        0xeb86_d391,
    ];
    const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

    /// Made only where the processor has AVX2.
    pub struct Lanes {
        /// Four words of state, each of all lanes.
        state: [[u32; LANES]; 4],
        bytes: u64,
    }

    impl Lanes {
        pub fn new() -> Option<Self> {
            let state = START.map(|word| [word; LANES]);
            std::is_x86_feature_detected!("avx2").then_some(Self { state, bytes: 0 })
        }

        pub fn update(&mut self, pieces: [&[u8]; LANES]) {
            let len = pieces.map(<[u8]>::len).into_iter().min().unwrap_or_default();
            self.bytes += len as u64;
            // SAFETY: `new` saw that the processor has AVX2.
            unsafe { compress(&mut self.state, pieces, len / BLOCK_BYTES) };
        }

        /// All streams are of one length, and of whole blocks: what is left is one block, the same for all.
        pub fn finish(mut self) -> [[u8; 16]; LANES] {
            let mut last = [0; BLOCK_BYTES];
            last[0] = 0x80;
            last[BLOCK_BYTES - 8..].copy_from_slice(&(self.bytes * 8).to_le_bytes());
            self.update([&last; LANES]);
            array::from_fn(|lane| {
                let mut digest = [0; 16];
                for (bytes, word) in digest.chunks_exact_mut(4).zip(&self.state) {
                    bytes.copy_from_slice(&word[lane].to_le_bytes());
                }
                digest
            })
        }
    }

    macro_rules! step {
        ($mix:ident, $a:ident, $b:ident, $c:ident, $d:ident, $word:expr, $sine:expr, $left:literal, $right:literal) => {
            let sine = _mm256_set1_epi32(SINES[$sine].cast_signed());
            let sum = _mm256_add_epi32(_mm256_add_epi32($a, $mix($b, $c, $d)), _mm256_add_epi32($word, sine));
            let turned = _mm256_or_si256(_mm256_slli_epi32::<$left>(sum), _mm256_srli_epi32::<$right>(sum));
            $a = _mm256_add_epi32($b, turned);
        };
    }

    /// Sixteen steps; word `$first + i * $stride` of the block in step `i`, turned left by the four amounts in turn.
    macro_rules! round {
        ($mix:ident, ($a:ident, $b:ident, $c:ident, $d:ident), $words:ident, $round:literal, $first:literal, $stride:literal,
         [$l0:literal $r0:literal, $l1:literal $r1:literal, $l2:literal $r2:literal, $l3:literal $r3:literal]) => {
            for four in 0..4 {
                let at = 4 * four;
                let sine = 16 * $round + at;
                step!($mix, $a, $b, $c, $d, $words[($first + $stride * at) % 16], sine, $l0, $r0);
                step!($mix, $d, $a, $b, $c, $words[($first + $stride * (at + 1)) % 16], sine + 1, $l1, $r1);
                step!($mix, $c, $d, $a, $b, $words[($first + $stride * (at + 2)) % 16], sine + 2, $l2, $r2);
                step!($mix, $b, $c, $d, $a, $words[($first + $stride * (at + 3)) % 16], sine + 3, $l3, $r3);
            }
        };
    }

    #[target_feature(enable = "avx2")]
    fn compress(state: &mut [[u32; LANES]; 4], pieces: [&[u8]; LANES], blocks: usize) {
        let [mut a, mut b, mut c, mut d] =
            [load(&state[0]), load(&state[1]), load(&state[2]), load(&state[3])];
        for block in 0..blocks {
            let words = words(&pieces, block);
            let before = [a, b, c, d];
            round!(mix_f, (a, b, c, d), words, 0, 0, 1, [7 25, 12 20, 17 15, 22 10]);
            round!(mix_g, (a, b, c, d), words, 1, 1, 5, [5 27, 9 23, 14 18, 20 12]);
            round!(mix_h, (a, b, c, d), words, 2, 5, 3, [4 28, 11 21, 16 16, 23 9]);
            round!(mix_i, (a, b, c, d), words, 3, 0, 7, [6 26, 10 22, 15 17, 21 11]);
            a = _mm256_add_epi32(a, before[0]);
            b = _mm256_add_epi32(b, before[1]);
            c = _mm256_add_epi32(c, before[2]);
            d = _mm256_add_epi32(d, before[3]);
        }
        for (words, lanes) in state.iter_mut().zip([a, b, c, d]) {
            // SAFETY: eight words are 32 bytes; the store needs no alignment.
            unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), lanes) };
        }
    }

    #[target_feature(enable = "avx2")]
    fn mix_f(x: __m256i, y: __m256i, z: __m256i) -> __m256i {
        _mm256_xor_si256(z, _mm256_and_si256(x, _mm256_xor_si256(y, z)))
    }

    #[target_feature(enable = "avx2")]
    fn mix_g(x: __m256i, y: __m256i, z: __m256i) -> __m256i {
        _mm256_or_si256(_mm256_and_si256(z, x), _mm256_andnot_si256(z, y))
    }

    #[target_feature(enable = "avx2")]
    fn mix_h(x: __m256i, y: __m256i, z: __m256i) -> __m256i {
        _mm256_xor_si256(_mm256_xor_si256(x, y), z)
    }

    #[target_feature(enable = "avx2")]
    fn mix_i(x: __m256i, y: __m256i, z: __m256i) -> __m256i {
        let not_z = _mm256_xor_si256(z, _mm256_set1_epi32(-1));
        _mm256_xor_si256(y, _mm256_or_si256(x, not_z))
    }

    #[target_feature(enable = "avx2")]
    fn load(words: &[u32; LANES]) -> __m256i {
        // SAFETY: eight words are 32 bytes; the load needs no alignment.
        unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
    }

    /// The sixteen words of a block of each lane: the word first, then the lane. x86 is little-endian, as MD5 is.
    #[target_feature(enable = "avx2")]
    fn words(pieces: &[&[u8]; LANES], block: usize) -> [__m256i; 16] {
        let mut words = [_mm256_set1_epi32(0); 16];
        for (half, words) in words.chunks_exact_mut(8).enumerate() {
            let offset = block * BLOCK_BYTES + half * BLOCK_BYTES / 2;
            for (row, piece) in words.iter_mut().zip(pieces) {
                let bytes = &piece[offset..offset + BLOCK_BYTES / 2];
                // SAFETY: the slice has 32 bytes; the load needs no alignment.
                *row = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
            }
            transpose(words);
        }
        words
    }

    /// Of eight rows of eight words the columns.
    #[target_feature(enable = "avx2")]
    fn transpose(rows: &mut [__m256i]) {
        let mut pairs = [rows[0]; 8];
        for at in 0..4 {
            pairs[2 * at] = _mm256_unpacklo_epi32(rows[2 * at], rows[2 * at + 1]);
            pairs[2 * at + 1] = _mm256_unpackhi_epi32(rows[2 * at], rows[2 * at + 1]);
        }
        let mut fours = [rows[0]; 8];
        for half in [0, 4] {
            fours[half] = _mm256_unpacklo_epi64(pairs[half], pairs[half + 2]);
            fours[half + 1] = _mm256_unpackhi_epi64(pairs[half], pairs[half + 2]);
            fours[half + 2] = _mm256_unpacklo_epi64(pairs[half + 1], pairs[half + 3]);
            fours[half + 3] = _mm256_unpackhi_epi64(pairs[half + 1], pairs[half + 3]);
        }
        for at in 0..4 {
            rows[at] = _mm256_permute2x128_si256::<0x20>(fours[at], fours[at + 4]);
            rows[at + 4] = _mm256_permute2x128_si256::<0x31>(fours[at], fours[at + 4]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_against_one_at_a_time(mut lanes: Md5Lanes, blocks: usize) {
        let streams: [Vec<u8>; LANES] = array::from_fn(|lane| {
            (0..blocks * BLOCK_BYTES).map(|at| (at * (2 * lane + 7) % 251) as u8).collect()
        });
        // In two pieces of different lengths.
        let (first, all) = (blocks / 3 * BLOCK_BYTES, blocks * BLOCK_BYTES);
        lanes.update(array::from_fn(|lane| &streams[lane][..first]));
        lanes.update(array::from_fn(|lane| &streams[lane][first..all]));
        for (stream, digest) in streams.iter().zip(lanes.finish()) {
            let mut md5 = Md5::new();
            md5.update(stream);
            assert_eq!(digest, md5.finish(), "{blocks} blocks");
        }
    }

    #[test]
    fn each_is_the_md5_of_its_bytes() {
        for blocks in [0, 1, 2, 16, 1000] {
            held_against_one_at_a_time(Md5Lanes::new(), blocks);
            held_against_one_at_a_time(Md5Lanes::Serial(array::from_fn(|_| Md5::new())), blocks);
        }
    }
}
