//! The `highhock` program: parses the command line, loads the settings and runs the command.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use highhock::admin::{AdminBridge, serve};
use highhock::cli::{self, Command, exit_code};
use highhock::commands::{actors, check, records, status};
use highhock::daemon::signals::Signals;
use highhock::daemon::systemd::SystemdNotifier;
use highhock::daemon::{Daemon, DaemonConfig};
use highhock::host;
use highhock::host::metadata::MetadataClient;
use highhock::logging::{self, RecentLogs};
use highhock::settings::{self, Cloud, Environment, Loaded};
use slog::{o, warn};

fn main() -> ExitCode {
    let cli_args = match cli::parse(std::env::args_os()) {
        Ok(cli_args) => cli_args,
        Err(exit_output) => return exit_output.print().into(),
    };
    let environment = Environment::from_process();
    let sources = cli_args.sources(environment.clone());
    let Loaded { settings, warnings, effective } = match settings::load(&sources) {
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
    actix_rt::System::new().block_on(async {
        let metadata = async |clouds: &[Cloud]| {
            MetadataClient::from_environment(&environment).find_address(clouds).await
        };
        let discovery = &settings.discovery;
        let public_address = async || {
            host::find_public_address(discovery, &environment, host::interfaces, metadata).await
        };
        let result = match cli_args.command {
            Command::Run => {
                // Before the slow steps, because a signal that is not caught kills the process.
                let signals = Signals::catch();
                let public_address = match public_address().await {
                    Ok(public_address) => public_address,
                    Err(error) => return fail(exit_code::UNAVAILABLE, &error),
                };
                let notifier = SystemdNotifier::from_environment(&environment, log.clone());
                let load_config = Arc::new(move || settings::load(&sources));
                let config = DaemonConfig {
                    settings,
                    effective,
                    public_address,
                    log,
                    log_control,
                    notifier,
                    load_config,
                };
                return run_daemon(config, recent_logs, signals).await;
            }
            Command::Check => check::run(&settings, &public_address().await, &log).await,
            Command::Records { json, explain } => {
                let format = records::Format { json, explain };
                records::run(&settings, public_address().await, format, &log).await
            }
            Command::Status { json } => status::run(&settings, json, &log).await,
            Command::Actors { json, watch } => actors::run(&settings, json, watch, &log).await,
        };
        result.unwrap_or_else(|error| fail(error.exit_code, &error))
    })
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

/// Prints the reason for which the program ends. A closed standard error is ignored.
fn fail(exit_code: u8, reason: &dyn Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "highhock: {reason}");
    exit_code.into()
}
