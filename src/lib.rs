//! gema
