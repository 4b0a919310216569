//! Peers that take more than their share of connections and memory.
