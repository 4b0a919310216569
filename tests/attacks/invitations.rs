//! Letters to strangers.
