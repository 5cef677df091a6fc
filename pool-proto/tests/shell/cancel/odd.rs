//! Drops that no table has.
