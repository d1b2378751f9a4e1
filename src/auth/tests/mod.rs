//! Tests of tokens through the whole [`super::Authorizer`]; those of a single part stand in its own file.

pub(super) mod fixtures;
mod key_sets;
mod tokens;
