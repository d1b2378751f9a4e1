//! `gema completions`: what a shell needs to complete the command line.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, output};

/// Print completions for a shell
///
/// Where it belongs: bash: ~/.local/share/bash-completion/completions/gema, zsh: _gema in a directory of $fpath, fish:
/// ~/.config/fish/completions/gema.fish
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  gema completions bash > ~/.local/share/bash-completion/completions/gema"
)]
pub(super) struct Args {
    /// The shell
    #[arg(value_name = "SHELL", value_parser = ["bash", "zsh", "fish"])]
    shell: String,
}

pub(super) fn run(args: Args) {
    let shell = match args.shell.as_str() {
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        _ => Shell::Bash,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "gema", &mut script);
    output::last_line(String::from_utf8_lossy(&script).trim_end());
}
