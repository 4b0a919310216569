//! Attacks by somebody who has the source: one file a class.

mod acting;
mod bodies;
mod connections;
mod database;
mod embedding;
mod invitations;
mod lists;
mod logs;
mod outbound;
mod refusals;
mod search;
mod settings;
