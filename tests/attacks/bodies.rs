//! Bodies that cost more than their bytes.
