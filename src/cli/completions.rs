//! What a shell needs to complete highhock's command line.

use structopt::clap::{App, Arg, ArgMatches, Shell, SubCommand};

/// The command that asks for it.
const SUBCOMMAND: &str = "completions";
const SHELL_ARGUMENT: &str = "shell";

/// The command, for the others to stand beside.
pub(super) fn command<'a>() -> App<'a, 'a> {
    let shell = Arg::with_name(SHELL_ARGUMENT)
        .required(true)
        .possible_values(&["bash", "zsh", "fish"])
        .help("The shell that is to read it");
    SubCommand::with_name(SUBCOMMAND)
        .about("Prints what a shell needs to complete this command line")
        .arg(shell)
}

/// The shell that the command line asks for.
pub(super) fn requested_shell(matches: &ArgMatches<'_>) -> Option<Shell> {
    let shell = matches.subcommand_matches(SUBCOMMAND)?.value_of(SHELL_ARGUMENT)?;
    shell.parse().ok()
}

/// What that shell is to read.
pub(super) fn script(mut app: App<'_, '_>, shell: Shell) -> String {
    let mut script = Vec::new();
    app.gen_completions_to("highhock", shell, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
