//! Distributions in fixed arrays of atomics.

use std::sync::atomic::{AtomicU64, Ordering};

/// How the buckets of a [`Distribution`] are laid out. A bucket holds the values above the bound of the one before, up
/// to its own bound. The bounds double, or have steps of a quarter of each power of two between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// The bound of the first bucket.
    first: u64,
    /// Each doubling has two to the power of this many buckets.
    bits: u32,
    /// The bound of the last bucket but one. The last one holds all values above it.
    last: u64,
}

impl Scale {
    /// Nanoseconds: from 16 µs to 30 s, four buckets for each doubling. A bucket is at most a quarter wider than its
    /// lower bound.
    pub const TIMES: Scale = Scale { first: 16_000, bits: 2, last: 30_000_000_000 };
    /// Records: 1, 2, 4 and so on to 2^24, which is the most that may be in flight.
    pub const RECORDS: Scale = Scale { first: 1, bits: 0, last: 1 << 24 };
    /// Bytes: 64, 128 and so on to 4 GiB, which is more than a segment may have.
    pub const BYTES: Scale = Scale { first: 64, bits: 0, last: 1 << 32 };

    /// The bucket of a value.
    fn bucket(self, value: u64) -> usize {
        if value > self.last {
            return self.buckets() - 1;
        }
        self.regular(value)
    }

    /// The same, as if the last bound was infinite.
    fn regular(self, value: u64) -> usize {
        let steps = value.saturating_sub(1) / (self.first >> self.bits);
        if steps < 1 << self.bits {
            return 0;
        }
        let doublings = steps.ilog2() - self.bits;
        let step = (steps >> doublings) - (1 << self.bits);
        1 + ((doublings as usize) << self.bits) + step as usize
    }

    /// How many buckets there are.
    fn buckets(self) -> usize {
        self.regular(self.last) + 2
    }

    /// The bound of a bucket, which may hold it; the last bucket has none.
    fn bound(self, bucket: usize) -> u64 {
        if bucket + 1 >= self.buckets() {
            return u64::MAX;
        }
        let steps = match bucket {
            0 => 1 << self.bits,
            _ => {
                let (doublings, step) =
                    ((bucket - 1) >> self.bits, (bucket - 1) % (1 << self.bits));
                (1 + (1_u64 << self.bits) + step as u64) << doublings
            }
        };
        (steps * (self.first >> self.bits)).min(self.last)
    }
}

/// How many values there were, and what they came to, for each bucket of a scale. Its memory is taken once.
#[derive(Debug)]
pub struct Distribution {
    scale: Scale,
    buckets: Box<[Bucket]>,
}

#[derive(Debug, Default)]
struct Bucket {
    count: AtomicU64,
    sum: AtomicU64,
}

impl Distribution {
    /// An empty one.
    pub fn new(scale: Scale) -> Self {
        let buckets = (0..scale.buckets()).map(|_| Bucket::default()).collect();
        Distribution { scale, buckets }
    }

    /// Adds a value.
    pub fn record(&self, value: u64) {
        self.record_many(value, 1);
    }

    /// Adds a value that occurred so many times.
    pub fn record_many(&self, value: u64, times: u64) {
        let bucket = &self.buckets[self.scale.bucket(value)];
        // The sum first: a reader that sees the count sees what belongs to it.
        bucket.sum.fetch_add(value.saturating_mul(times), Ordering::Relaxed);
        bucket.count.fetch_add(times, Ordering::Release);
    }
}

/// What a reader of a [`Distribution`] has read of it so far.
#[derive(Debug)]
pub struct Read(Vec<(u64, u64)>);

impl Read {
    /// Nothing so far.
    pub fn new(distribution: &Distribution) -> Self {
        Read(vec![(0, 0); distribution.buckets.len()])
    }

    /// For each bucket with new values: their mean, which lies in the bucket, and how many they are.
    pub fn news(&mut self, distribution: &Distribution, mut each: impl FnMut(f64, usize)) {
        let mut lower = 0_u64;
        for (at, ((count, sum), bucket)) in self.0.iter_mut().zip(&distribution.buckets).enumerate()
        {
            let upper = distribution.scale.bound(at);
            let new = bucket.count.load(Ordering::Acquire) - *count;
            if new > 0 {
                // A value that is being added may be in the sum already, and not in the count. What it adds too much or
                // takes too much is made up for by the next values.
                let total = bucket.sum.load(Ordering::Relaxed).wrapping_sub(*sum) as i64;
                let total = total.max(0) as u64;
                let least = if at == 0 { 0 } else { (lower + 1).saturating_mul(new) };
                let taken = total.clamp(least, upper.saturating_mul(new));
                each(taken as f64 / new as f64, new as usize);
                *count += new;
                *sum = sum.wrapping_add(taken);
            }
            lower = upper;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALES: [Scale; 3] = [Scale::TIMES, Scale::RECORDS, Scale::BYTES];

    #[test]
    fn a_bucket_holds_its_bound_and_the_next_value_is_in_the_next_one() {
        for scale in SCALES {
            let last = scale.buckets() - 1;
            for bucket in 0..last {
                let bound = scale.bound(bucket);
                assert_eq!(scale.bucket(bound), bucket, "{scale:?}: {bound}");
                assert_eq!(scale.bucket(bound + 1), bucket + 1, "{scale:?}: {bound} and one more");
            }
            assert_eq!(scale.bucket(0), 0);
            assert_eq!(scale.bucket(u64::MAX), last);
            assert_eq!(scale.bound(last - 1), scale.last);
        }
        assert_eq!(Scale::TIMES.buckets(), 86);
    }

    #[test]
    fn each_doubling_of_the_first_bound_is_a_bound() {
        for scale in SCALES {
            let doublings = (0..40).map(|power| scale.first << power);
            for bound in doublings.take_while(|bound| *bound <= scale.last) {
                assert_eq!(scale.bound(scale.bucket(bound)), bound, "{scale:?}");
            }
        }
    }

    #[test]
    fn ten_million_samples_take_no_more_memory_than_the_first_and_none_is_lost() {
        let times = Distribution::new(Scale::TIMES);
        let mut read = Read::new(&times);
        let (buckets, at) = (times.buckets.len(), times.buckets.as_ptr());
        let (mut count, mut sum, mut expected) = (0, 0.0, 0_u64);
        for sample in 0..10_000_000_u64 {
            let nanos = (sample % 1009) * 1_000_003;
            expected += nanos;
            times.record(nanos);
            if sample % 1_000_000 == 7 {
                read.news(&times, |mean, new| {
                    (count, sum) = (count + new, sum + mean * new as f64)
                });
            }
        }
        read.news(&times, |mean, new| (count, sum) = (count + new, sum + mean * new as f64));
        assert_eq!((times.buckets.len(), times.buckets.as_ptr()), (buckets, at));
        assert_eq!(count, 10_000_000);
        assert!((sum / expected as f64 - 1.0).abs() < 1e-9, "{sum} of {expected}");
        assert_eq!((read.0.len(), read.0.capacity()), (buckets, buckets));
    }

    #[test]
    fn a_value_that_is_half_added_counts_once_and_moves_no_other_to_another_bucket() {
        let times = Distribution::new(Scale::TIMES);
        let mut read = Read::new(&times);
        times.record(8_300_000);
        // Another thread stands between the two halves.
        let bucket = &times.buckets[Scale::TIMES.bucket(8_300_000)];
        bucket.sum.fetch_add(8_300_000, Ordering::Relaxed);
        let mut seen = Vec::new();
        read.news(&times, |mean, new| seen.push((mean, new)));
        let bound = Scale::TIMES.bound(Scale::TIMES.bucket(8_300_000)) as f64;
        assert_eq!(seen, [(bound, 1)], "not twice its value, which lies in another bucket");
        bucket.count.fetch_add(1, Ordering::Release);
        read.news(&times, |mean, new| seen.push((mean, new)));
        assert_eq!(seen[1..], [(8_192_001.0, 1)], "the rest, as near as the bucket allows");
        // What the sum is off by goes into the next ones.
        (0..20).for_each(|_| times.record(8_300_000));
        read.news(&times, |mean, new| seen.push((mean, new)));
        let sum: f64 = seen.iter().map(|(mean, new)| mean * *new as f64).sum();
        assert!((sum - 22.0 * 8_300_000.0).abs() < 1.0, "{sum}");
    }
}
