//! What `build.rs` makes of the OpenAPI document.
#![expect(
    missing_docs,
    unused_imports,
    unused_qualifications,
    clippy::allow_attributes,
    reason = "generated, and used through the other modules"
)]

include!(concat!(env!("OUT_DIR"), "/client.rs"));
