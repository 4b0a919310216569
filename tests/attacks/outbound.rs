//! What leaves the server without being asked to.
