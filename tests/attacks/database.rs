//! Who may reach the embedded database.
