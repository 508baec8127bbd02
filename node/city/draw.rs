//! Seeded randomness: independent streams per agency and elder, whole numbers only, the same on every machine.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// Ends every stream's key; a change of the generator that changes its bytes changes this too.
const VERSION: &[u8; 15] = b"songhe-city-v1\0";

/// What a stream of random numbers is for; streams of different use never share numbers.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    Elder = 1,
    PatientId = 2,
    Records = 3,
    Facility = 4,
}

/// One stream of random numbers.
pub(crate) struct Draw(ChaCha8Rng);

impl Draw {
    /// The stream of one use, for one agency (`a`) and one elder (`b`); unused coordinates are 0.
    pub(crate) fn new(seed: u64, stream: Stream, a: u32, b: u32) -> Self {
        let mut key = [0_u8; 32];
        let bytes = seed
            .to_le_bytes()
            .into_iter()
            .chain([stream as u8])
            .chain(a.to_le_bytes())
            .chain(b.to_le_bytes())
            .chain(VERSION.iter().copied());
        for (slot, byte) in key.iter_mut().zip(bytes) {
            *slot = byte;
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// A number in `0..n`; 0 for `n` = 0. The bias of at most n/2^32 does not matter here.
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        let wide = u64::from(self.0.next_u32()) * u64::from(n);
        (wide >> 32) as u32
    }

    /// A number in `low..=high`.
    pub(crate) fn range(&mut self, low: i32, high: i32) -> i32 {
        let width = high.saturating_sub(low).max(0).unsigned_abs();
        low + self.below(width + 1).cast_signed()
    }

    /// About normal with this standard deviation, never beyond three of them: the sum of three uniform draws.
    pub(crate) fn bell(&mut self, mean: i32, deviation: i32) -> i32 {
        let d = deviation;
        mean + self.range(-d, d) + self.range(-d, d) + self.range(-d, d)
    }

    /// True `per_mille` times of a thousand.
    pub(crate) fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1000) < per_mille
    }

    /// One of the items, copied; the list must not be empty.
    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        *self.one_of(items)
    }

    /// One of the items; the list must not be empty.
    #[expect(clippy::indexing_slicing, reason = "below(len) is less than len")]
    pub(crate) fn one_of<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        let n = u32::try_from(items.len()).unwrap_or(u32::MAX);
        &items[self.below(n) as usize]
    }

    /// One of the items, each as often as its weight says; the list must not be empty.
    pub(crate) fn pick_weighted<T: Copy>(&mut self, items: &[(T, u32)]) -> T {
        let total = items.iter().map(|(_, w)| w).sum();
        let mut left = self.below(total);
        for (item, weight) in items {
            if left < *weight {
                return *item;
            }
            left -= weight;
        }
        self.pick(items).0
    }

    /// Sixteen lower-case hexadecimal digits.
    pub(crate) fn hex16(&mut self) -> String {
        format!("{:016x}", self.0.next_u64())
    }
}

/// The number of bits of the domain of [`shuffle`].
pub(crate) const SHUFFLE_BITS: u32 = 22;

/// A permutation of `0..2^22` for each seed: a balanced Feistel network of six rounds.
///
/// Lets every elder have a place of their own in the population register without knowing the others.
pub(crate) fn shuffle(seed: u64, index: u32) -> u32 {
    const HALF: u32 = SHUFFLE_BITS / 2;
    const MASK: u32 = (1 << HALF) - 1;
    let (mut left, mut right) = ((index >> HALF) & MASK, index & MASK);
    for round in 0..6_u64 {
        let mixed = splitmix64(seed ^ (round << 56) ^ (u64::from(right) << 16));
        let noise = (mixed >> 40) as u32 & MASK;
        (left, right) = (right, left ^ noise);
    }
    (left << HALF) | right
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
const fn splitmix64(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffle_is_a_permutation() {
        let mut seen = vec![false; 1 << SHUFFLE_BITS];
        for i in 0..1 << SHUFFLE_BITS {
            let j = shuffle(42, i) as usize;
            assert!(!seen[j], "{j} twice");
            seen[j] = true;
        }
    }

    #[test]
    fn draws_stay_in_range_and_streams_differ() {
        let mut d = Draw::new(1, Stream::Elder, 0, 7);
        for _ in 0..10_000 {
            assert!((-3..=4).contains(&d.range(-3, 4)));
            assert!((70..=130).contains(&d.bell(100, 10)));
            assert!(d.below(5) < 5);
        }
        assert_eq!(d.below(0), 0);
        let mut others: Vec<String> = [
            (1, Stream::Elder, 0, 7),
            (2, Stream::Elder, 0, 7),
            (1, Stream::Records, 0, 7),
            (1, Stream::Elder, 1, 7),
            (1, Stream::Elder, 0, 8),
        ]
        .into_iter()
        .map(|(s, st, a, b)| Draw::new(s, st, a, b).hex16())
        .collect();
        others.sort();
        others.dedup();
        assert_eq!(others.len(), 5);
    }

    #[test]
    fn weights_are_kept() {
        let mut d = Draw::new(1, Stream::Elder, 0, 0);
        let items = [("often", 90), ("never", 0), ("rarely", 10)];
        let often = (0..10_000)
            .filter(|_| d.pick_weighted(&items) == "often")
            .count();
        assert!((8_700..9_300).contains(&often), "{often}");
        assert!((0..1000).all(|_| d.pick_weighted(&items) != "never"));
    }
}
