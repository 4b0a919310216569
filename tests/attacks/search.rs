//! Searches and facets that cost more than their share.
