//! Acting for others, and what a key's user may see and do with it.
