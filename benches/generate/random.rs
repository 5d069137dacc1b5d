//! Random numbers that are the same from a seed on every machine: no floating point in them.

/// splitmix64.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    #[inline]
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 when there is none.
    #[inline]
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(limit)) >> 64) as u64
    }

    /// True with this share.
    #[inline]
    pub fn is(&mut self, share: Share) -> bool {
        (self.draw() as u32) < share.0 || share.0 == u32::MAX
    }
}

/// A part of a whole, as parts of 2^32; all of them is the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u32);

impl Share {
    /// The share that so many percent are.
    #[must_use]
    pub fn of_percent(percent: f64) -> Self {
        Self((percent.clamp(0.0, 100.0) / 100.0 * f64::from(u32::MAX)) as u32)
    }

    /// One in so many.
    #[must_use]
    pub const fn one_in(many: u32) -> Self {
        Self(u32::MAX / many)
    }
}

/// Ranks of which the first are drawn most often: the one at place `i` with a weight of
/// 1 / (i + 8). One draw takes one look (Vose's alias method).
#[derive(Debug)]
pub struct Popularity {
    /// By rank: below which 32-bit number it stands for itself, and for which other rank else.
    places: Vec<(u32, u32)>,
}

/// The first ranks are about equally popular.
const PLATEAU: u64 = 8;

impl Popularity {
    /// Of `ranks` ranks.
    #[must_use]
    pub fn new(ranks: u32) -> Self {
        let weight = |rank: u32| (1u64 << 40) / (u64::from(rank) + PLATEAU);
        let total: u64 = (0..ranks).map(weight).sum();
        // In units of which the mean rank has 2^32.
        let scaled = |rank| (u128::from(weight(rank)) * u128::from(ranks)) << 32;
        let mut left: Vec<u64> = (0..ranks)
            .map(|rank| (scaled(rank) / u128::from(total.max(1))) as u64)
            .collect();
        let one = 1u64 << 32;
        let (mut small, mut large): (Vec<u32>, Vec<u32>) =
            (0..ranks).partition(|&rank| left[rank as usize] < one);
        let mut places: Vec<(u32, u32)> = (0..ranks).map(|rank| (u32::MAX, rank)).collect();
        while let (Some(&giver), Some(taker)) = (large.last(), small.pop()) {
            let missing = one - left[taker as usize];
            places[taker as usize] = (left[taker as usize] as u32, giver);
            left[giver as usize] -= missing;
            if left[giver as usize] < one {
                large.pop();
                small.push(giver);
            }
        }
        Self { places }
    }

    /// A rank.
    #[inline]
    pub fn draw(&self, random: &mut Random) -> u32 {
        let number = random.draw();
        let rank = ((number >> 32) * self.places.len() as u64) >> 32;
        let (limit, other) = self.places[rank as usize];
        if (number as u32) <= limit {
            rank as u32
        } else {
            other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_drawn_by_their_weight() {
        let popularity = Popularity::new(1000);
        let (mut random, mut drawn) = (Random(1), vec![0u32; 1000]);
        for _ in 0..1_000_000 {
            drawn[popularity.draw(&mut random) as usize] += 1;
        }
        let total: f64 = (0..1000).map(|rank| 1.0 / f64::from(rank + 8)).sum();
        for rank in [0, 1, 10, 100, 999] {
            let expected = 1e6 / f64::from(rank as u32 + 8) / total;
            let found = f64::from(drawn[rank]);
            let allowed = expected.sqrt() * 6.0;
            assert!(
                (found - expected).abs() < allowed,
                "{rank}: {found} {expected}"
            );
        }
    }

    #[test]
    fn shares_reach_from_never_to_always() {
        let mut random = Random(2);
        let mut count = |percent| {
            let share = Share::of_percent(percent);
            (0..10_000).filter(|_| random.is(share)).count()
        };
        assert_eq!((count(0.0), count(100.0)), (0, 10_000));
        assert!((2300..2700).contains(&count(25.0)));
    }
}
