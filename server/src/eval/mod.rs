//! Measures what search is worth, on collections that people judged.

pub mod dataset;
pub mod metrics;
pub mod retrieval;
