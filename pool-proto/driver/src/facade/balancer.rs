//! The type of several pools as one.

/// Defines `Balancer` with the calls that do not wait.
#[doc(hidden)]
#[macro_export]
macro_rules! __balancer_type {
    ($(#[$doc:meta])*) => {
        /// Spreads acquires over several pools: to several servers, or behind several listeners. `P`
        /// is [`ClientPool`] or [`ServerPool`].
        ///
        /// Pools with an idle connection serve at once, in turn. When there is none, the caller waits
        /// at all pools, and the first connection wins. A pool that is closed, or whose peer is down,
        /// is passed over.
        $(#[$doc])*
        #[derive(Debug)]
        pub struct Balancer<P>($crate::Balancer<P>);

        impl<P: $crate::AnyPool> Balancer<P> {
            /// A balancer over at least one pool.
            pub fn new(first: P, others: impl IntoIterator<Item = P>) -> Self {
                Self($crate::Balancer::new(first, others))
            }

            /// Returns the pools in the order in which they were given.
            #[must_use]
            pub fn pools(&self) -> &[P] {
                self.0.pools()
            }
        }
    };
}
