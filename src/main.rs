//! The `highhock` program: parses the command line, loads the settings and runs the command.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use highhock::admin::{AdminBridge, serve};
use highhock::cli::{self, Command, exit_code};
use highhock::commands::{CommandError, actors, check, records, status};
use highhock::daemon::signals::Signals;
use highhock::daemon::systemd::SystemdNotifier;
use highhock::daemon::{Daemon, DaemonConfig};
use highhock::host::metadata::MetadataClient;
use highhock::host::{self, NoPublicAddress, PublicAddress};
use highhock::logging::{self, LogControl, RecentLogs};
use highhock::settings::{
    self, Admin, AdminAccess, Cloud, EffectiveKey, Environment, Loaded, Settings, Sources,
};
use slog::{Logger, o, warn};

fn main() -> ExitCode {
    let cli_args = match cli::parse(std::env::args_os()) {
        Ok(cli_args) => cli_args,
        Err(exit_output) => return exit_output.print().into(),
    };
    let environment = Environment::from_process();
    let sources = cli_args.sources(environment.clone());
    match cli_args.command {
        Command::Run => with_settings(&sources, async |program| {
            run(program, environment, sources.clone()).await
        }),
        Command::Check => with_settings(&sources, async |program| {
            let address = public_address(&program.settings, &environment).await;
            exit_code_of(check::run(&program.settings, &address, &program.log).await)
        }),
        Command::Records { json, explain } => with_settings(&sources, async |program| {
            let address = public_address(&program.settings, &environment).await;
            let format = records::Format { json, explain };
            exit_code_of(records::run(&program.settings, address, format, &program.log).await)
        }),
        Command::Status { json } => {
            with_admin(&sources, async |admin, log| status::run(admin, json, log).await)
        }
        Command::Actors { json, watch } => {
            with_admin(&sources, async |admin, log| actors::run(admin, json, watch, log).await)
        }
    }
}

/// The settings and the log of a command.
struct Program {
    settings: Settings,
    effective: Vec<EffectiveKey>,
    log: Logger,
    log_control: LogControl,
    recent_logs: RecentLogs,
}

/// Runs a command that needs a valid configuration.
fn with_settings(sources: &Sources, command: impl AsyncFnOnce(Program) -> ExitCode) -> ExitCode {
    let Loaded { settings, warnings, effective } = match settings::load(sources) {
        Ok(loaded) => loaded,
        Err(errors) => return fail(exit_code::CONFIG, &errors),
    };
    let (log, log_control) = logging::logger(settings.log);
    let recent_logs = RecentLogs::default();
    let log = recent_logs.tee(&log);
    logging::install_panic_hook(log.clone());
    for warning in &warnings {
        warn!(log, "{}", warning);
    }
    let program = Program { settings, effective, log, log_control, recent_logs };
    actix_rt::System::new().block_on(command(program))
}

/// Runs a command that queries the running daemon.
fn with_admin(
    sources: &Sources,
    command: impl AsyncFnOnce(&Admin, &Logger) -> Result<ExitCode, CommandError>,
) -> ExitCode {
    let AdminAccess { admin, log, warnings } = match settings::load_admin(sources) {
        Ok(access) => access,
        Err(errors) => return fail(exit_code::CONFIG, &errors),
    };
    let (log, _) = logging::logger(log);
    for warning in &warnings {
        warn!(log, "{}", warning);
    }
    actix_rt::System::new().block_on(async { exit_code_of(command(&admin, &log).await) })
}

async fn public_address(
    settings: &Settings,
    environment: &Environment,
) -> Result<PublicAddress, NoPublicAddress> {
    let metadata = async |clouds: &[Cloud]| {
        MetadataClient::from_environment(environment).find_address(clouds).await
    };
    host::find_public_address(&settings.discovery, environment, host::interfaces, metadata).await
}

async fn run(program: Program, environment: Environment, sources: Sources) -> ExitCode {
    // Before the slow steps, because a signal that is not caught kills the process.
    let signals = Signals::catch();
    let Program { settings, effective, log, log_control, recent_logs } = program;
    let public_address = match public_address(&settings, &environment).await {
        Ok(public_address) => public_address,
        Err(error) => return fail(exit_code::UNAVAILABLE, &error),
    };
    let notifier = SystemdNotifier::from_environment(&environment, log.clone());
    let load_config = Arc::new(move || settings::load(&sources));
    let config = DaemonConfig {
        settings,
        effective,
        public_address,
        interfaces: Box::new(host::interfaces),
        log,
        log_control,
        notifier,
        load_config,
    };
    run_daemon(config, recent_logs, signals).await
}

async fn run_daemon(
    config: DaemonConfig,
    recent_logs: RecentLogs,
    signals: io::Result<Signals>,
) -> ExitCode {
    let log = config.log.new(o!("edge" => "admin"));
    let daemon = Daemon::new(config);
    let state = daemon.state();
    let bridge = AdminBridge::open(state.clone(), state.active_config(), recent_logs);
    // The server runs until the process ends.
    actix_rt::spawn(serve(bridge.handle(), log));
    let (reloads, shutdown) = match signals {
        Ok(signals) => signals.split(),
        Err(error) => {
            return fail(exit_code::UNAVAILABLE, &format!("cannot catch signals: {error}"));
        }
    };
    match daemon.run(reloads, shutdown).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.exit_code(), &error),
    }
}

fn exit_code_of(result: Result<ExitCode, CommandError>) -> ExitCode {
    result.unwrap_or_else(|error| fail(error.exit_code, &error))
}

/// Prints the reason for which the program ends. A closed standard error is ignored.
fn fail(exit_code: u8, reason: &dyn Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "highhock: {reason}");
    exit_code.into()
}
