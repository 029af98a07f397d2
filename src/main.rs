//! The `highhock` program: from the command line to the thing it asks for.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use highhock::cli::{self, Command};
use highhock::exit;
use highhock::settings::{self, Environment};

fn main() -> ExitCode {
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(answer) => return answer.print().into(),
    };
    let loaded = match settings::load(&invocation.sources(Environment::of_process())) {
        Ok(loaded) => loaded,
        Err(faults) => return fail(exit::CONFIG, &faults),
    };
    match invocation.command {
        Command::Run | Command::Check | Command::Records { .. } => {
            let _ = writeln!(std::io::stdout(), "not wired yet: {:?}", loaded.settings);
            ExitCode::SUCCESS
        }
    }
}

/// Says why the program ends, where nobody may be reading.
fn fail(status: u8, reason: &dyn Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "highhock: {reason}");
    status.into()
}
