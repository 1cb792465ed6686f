//! What is wrong on purpose, to see that it is caught.

/// Declares `Wrong`, with a variant for each rule that is broken, and `CAUGHT_BY`: each with a check that must catch it.
#[macro_export]
macro_rules! caught_by {
    ($($wrong:ident => $check:literal,)*) => {
        /// Which rule is broken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Wrong {
            $($wrong,)*
        }

        /// What is wrong, and a check that must catch it.
        pub(crate) const CAUGHT_BY: &[(Wrong, &str)] = &[$((Wrong::$wrong, $check),)*];
    };
}
