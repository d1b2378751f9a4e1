//! The program: what the whole process shares, and then the command line.
//! Everything else is in the library, where tests reach it.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Thousands of small connection states come and go on every core; jemalloc keeps them dense, and gives the
/// memory back after a crowd has left.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    // Before anything can ask rustls for its default. It fails only where one is installed already.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
    gema::cli::main()
}
