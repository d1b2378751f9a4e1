//! gema

pub mod auth;
