//! What `probe`, `bench` and `tune` measure with: the device below a directory, a file of their own on it, a log of their
//! own on it, and clients of that log.

pub(crate) mod bare;
pub(crate) mod device;
pub(crate) mod figures;
pub(crate) mod load;
pub(crate) mod log;
pub(crate) mod mounts;
pub(crate) mod schedule;
pub(crate) mod scratch;
pub(crate) mod slow;

/// The middle one of some values, or the mean of the two in the middle. Zero for none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(super::median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(super::median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(super::median([]), 0.0);
    }
}
