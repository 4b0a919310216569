//! What gets into a log, and a log that nobody reads.
