//! Lists that answer with more than a page.
