//! The `highhock` program: from the command line to the thing it asks for.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use highhock::admin::{AdminBridge, AdminClient, StatusResponse, serve};
use highhock::cli::{self, Command, exit_code};
use highhock::commands::check::check;
use highhock::commands::{actors, explain, records, status};
use highhock::daemon::signals::Signals;
use highhock::daemon::systemd::SystemdNotifier;
use highhock::daemon::{DaemonConfig, DaemonState, RunError, run};
use highhock::dns::DnsError;
use highhock::host::metadata::MetadataClient;
use highhock::host::{self, NoPublicAddress, PublicAddress};
use highhock::logging;
use highhock::logging::RecentLogs;
use highhock::resolve::{
    ResolveError, assume_etcd, docker_client, probe_engine, publish_config, resolve_store,
};
use highhock::settings::{self, Cloud, Environment, Loaded, Settings};
use highhock::text::escape::escape_controls;
use highhock_actors::preview::{Preview, preview};
use slog::{Logger, o, warn};

fn main() -> ExitCode {
    let cli_args = match cli::parse(std::env::args_os()) {
        Ok(cli_args) => cli_args,
        Err(exit_output) => return exit_output.print().into(),
    };
    let environment = Environment::from_process();
    let sources = cli_args.sources(environment.clone());
    let loaded = match settings::load(&sources) {
        Ok(loaded) => loaded,
        Err(errors) => return fail(exit_code::CONFIG, &errors),
    };
    let Loaded { settings, warnings, effective } = loaded;
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
        let address = async || {
            host::find_public_address(&settings.discovery, &environment, host::interfaces, metadata)
                .await
        };
        match cli_args.command {
            Command::Run => {
                // Before anything that may take a while: one that nobody catches ends the program.
                let signals = Signals::catch();
                let public_address = match address().await {
                    Ok(public_address) => public_address,
                    Err(error) => return fail(exit_code::UNAVAILABLE, &error),
                };
                let notifier = SystemdNotifier::from_environment(&environment, log.clone());
                let load_config = Arc::new(move || settings::load(&sources));
                let config = DaemonConfig {
                    settings,
                    effective,
                    public_address,
                    log: log.clone(),
                    log_control,
                    notifier,
                    load_config,
                };
                let daemon = Rc::new(DaemonState::new(config));
                let bridge = AdminBridge::open(daemon.clone(), daemon.active_config(), recent_logs);
                // It ends with the process.
                actix_rt::spawn(serve(bridge.handle(), log.new(o!("edge" => "admin"))));
                run_daemon(&daemon, signals).await
            }
            Command::Check => run_check(&settings, &address().await, &log).await,
            Command::Records { json, explain } => {
                let write = match (explain, json) {
                    (false, false) => records::write_table,
                    (false, true) => records::write_json,
                    (true, false) => explain::write_table,
                    (true, true) => explain::write_json,
                };
                run_records(&settings, address().await, write, &log).await
            }
            Command::Status { json } => show_status(&settings, json, &log).await,
            Command::Actors { json, watch } => show_actors(&settings, json, watch, &log).await,
        }
    })
}

async fn run_daemon(daemon: &Rc<DaemonState>, signals: io::Result<Signals>) -> ExitCode {
    let signals = match signals {
        Ok(signals) => signals,
        Err(error) => return fail(exit_code::UNAVAILABLE, &format!("catching signals: {error}")),
    };
    let (reloads, shutdown) = signals.split();
    match run(daemon, reloads, shutdown).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(
            error @ (RunError::Resolve(ResolveError::Cluster(_))
            | RunError::Docker(_)
            | RunError::Token(_)
            // What no other moment mends.
            | RunError::Dns(
                DnsError::PermissionDenied(_) | DnsError::ForwardsToItself(_) | DnsError::Domain(_),
            )),
        ) => fail(exit_code::CONFIG, &error),
        Err(error @ (RunError::Resolve(_) | RunError::Dns(_))) => fail(exit_code::UNAVAILABLE, &error),
        Err(error @ RunError::Exhausted(_)) => fail(exit_code::SOFTWARE, &error),
    }
}

async fn run_check(
    settings: &Settings,
    public_address: &Result<PublicAddress, NoPublicAddress>,
    log: &Logger,
) -> ExitCode {
    let results = check(settings, public_address, log).await;
    let text: String = results.iter().map(|check_result| format!("{check_result}\n")).collect();
    match print(&text) {
        Ok(()) if results.iter().all(|check_result| check_result.result.is_ok()) => {
            ExitCode::SUCCESS
        }
        Ok(()) => exit_code::UNAVAILABLE.into(),
        Err(error) => fail(exit_code::UNAVAILABLE, &format!("writing to standard output: {error}")),
    }
}

async fn run_records(
    settings: &Settings,
    public_address: Result<PublicAddress, NoPublicAddress>,
    write: fn(&Preview, &mut Vec<u8>) -> io::Result<()>,
    log: &Logger,
) -> ExitCode {
    let public_address = match public_address {
        Ok(public_address) => public_address,
        Err(error) => return fail(exit_code::UNAVAILABLE, &error),
    };
    let docker = match docker_client(&settings.docker, log) {
        Ok(docker) => docker,
        Err(error) => return fail(exit_code::CONFIG, &error),
    };
    let store = match resolve_store(settings, log).await {
        Ok(store) => store,
        // It may name another domain; what would be published is worth showing without.
        Err(error) => {
            let store = assume_etcd(settings);
            warn!(log, "etcd can't be asked for the domain"; "error" => %error,
                "taken" => store.domain.to_string());
            store
        }
    };
    let engine = probe_engine(&docker, &public_address).await;
    let rules =
        engine.and_then(|engine| publish_config(settings, &public_address, &engine, &store));
    let rules = match rules {
        Ok(rules) => rules,
        Err(error) => return fail(exit_code::UNAVAILABLE, &error),
    };
    let preview = match preview(&docker, &rules).await {
        Ok(preview) => preview,
        Err(error) => return fail(exit_code::UNAVAILABLE, &error),
    };
    let mut text = Vec::new();
    match write(&preview, &mut text).and_then(|()| print_escaped(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(exit_code::UNAVAILABLE, &format!("writing to standard output: {error}")),
    }
}

async fn show_status(settings: &Settings, json: bool, log: &Logger) -> ExitCode {
    let request =
        async { AdminClient::new(&settings.admin, log)?.get::<StatusResponse>("/status").await };
    let status = match request.await {
        Ok(status) => status,
        Err(error) => return fail(exit_code::UNAVAILABLE, &error),
    };
    let mut text = Vec::new();
    let written = if json {
        serde_json::to_writer_pretty(&mut text, &status)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(text))
    } else {
        status::write_table(&status, &mut text)
    };
    match written.and_then(|()| print_escaped(&text)) {
        Ok(()) if status.ready => ExitCode::SUCCESS,
        Ok(()) => exit_code::NOT_READY.into(),
        Err(error) => fail(exit_code::UNAVAILABLE, &format!("writing to standard output: {error}")),
    }
}

async fn show_actors(settings: &Settings, json: bool, watch: bool, log: &Logger) -> ExitCode {
    let client = match AdminClient::new(&settings.admin, log) {
        Ok(client) => client,
        Err(error) => return fail(exit_code::UNAVAILABLE, &error),
    };
    match actors::show(&client, json, watch, &mut io::stdout()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(exit_code::UNAVAILABLE, &error),
    }
}

fn print(text: &str) -> io::Result<()> {
    io::stdout().write_all(text.as_bytes())
}

/// Some of it comes from containers.
fn print_escaped(text: &[u8]) -> io::Result<()> {
    print(&escape_controls(&String::from_utf8_lossy(text)))
}

/// Says why the program ends, where nobody may be reading.
fn fail(status: u8, reason: &dyn Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "highhock: {reason}");
    status.into()
}
