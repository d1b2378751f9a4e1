//! gema
pub mod apps;
pub mod config;
