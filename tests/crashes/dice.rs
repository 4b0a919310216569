//! Chance that can be repeated.

use std::ops::Range;
use std::time::Duration;

/// SplitMix64.
pub struct Dice(u64);

/// A seed that nobody has chosen.
pub fn any_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("after 1970").as_nanos() as u64 % 1_000_000
}

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `limit`, which is not among them.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }

    pub fn one_of<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.below(these.len() as u64) as usize]
    }

    /// Dice of somebody's own.
    pub fn another(&mut self) -> Dice {
        Dice(self.roll())
    }

    /// Waits for a number of milliseconds in this range.
    pub async fn sleep(&mut self, range: Range<u64>) {
        let time = range.start + self.below(range.end - range.start);
        tokio::time::sleep(Duration::from_millis(time)).await;
    }
}
