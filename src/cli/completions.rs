//! `highhock completions`: the completion scripts for shells.

use structopt::clap::{App, Arg, ArgMatches, Shell, SubCommand};

pub(super) const SUBCOMMAND: &str = "completions";
const SHELL_ARGUMENT: &str = "shell";
/// The shells for which clap generates a script.
pub(super) const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// Returns the definition of the command.
pub(super) fn command<'a>() -> App<'a, 'a> {
    let shell = Arg::with_name(SHELL_ARGUMENT)
        .required(true)
        .possible_values(&SHELLS)
        .help("The shell that reads the script");
    SubCommand::with_name(SUBCOMMAND).about("Prints the completion script for a shell").arg(shell)
}

/// Returns the shell if the command line has this command.
pub(super) fn requested_shell(matches: &ArgMatches<'_>) -> Option<Shell> {
    let shell = matches.subcommand_matches(SUBCOMMAND)?.value_of(SHELL_ARGUMENT)?;
    shell.parse().ok()
}

/// Returns the completion script of a shell.
pub(super) fn script(mut app: App<'_, '_>, shell: Shell) -> String {
    let mut script = Vec::new();
    app.gen_completions_to("highhock", shell, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
