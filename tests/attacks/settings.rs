//! Secrets and settings that give themselves away.
