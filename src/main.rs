//! The `highhock` program: from the command line to the thing it asks for.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use highhock::admin::{Asker, Desk, Summary, serve};
use highhock::cli::{self, Command, exit_code};
use highhock::commands::check::check;
use highhock::commands::{actors, explain, records, status};
use highhock::daemon::signals::Signals;
use highhock::daemon::systemd::Supervisor;
use highhock::daemon::{Beginning, Ended, Life, run};
use highhock::dns::DnsError;
use highhock::host::metadata::Metadata;
use highhock::host::{self, NoHost, Published};
use highhock::logging;
use highhock::logging::LastLines;
use highhock::resolve::{NotSettled, ask_engine, ask_store, assume_etcd, docker, rules};
use highhock::settings::{self, Cloud, Environment, Loaded, Settings};
use highhock::text::escape::plain;
use highhock_actors::preview::{Preview, preview};
use slog::{Logger, o, warn};

fn main() -> ExitCode {
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(answer) => return answer.print().into(),
    };
    let environment = Environment::of_process();
    let sources = invocation.sources(environment.clone());
    let loaded = match settings::load(&sources) {
        Ok(loaded) => loaded,
        Err(faults) => return fail(exit_code::CONFIG, &faults),
    };
    let Loaded { settings, warnings, effective } = loaded;
    let (log, dial) = logging::logger(settings.log);
    let lines = LastLines::default();
    let log = lines.kept_of(&log);
    logging::install_panic_hook(log.clone());
    for warning in &warnings {
        warn!(log, "{}", warning);
    }
    actix_rt::System::new().block_on(async {
        let asked = async |clouds: &[Cloud]| Metadata::of(&environment).ask(clouds).await;
        let address =
            async || host::find(&settings.discovery, &environment, host::interfaces, asked).await;
        match invocation.command {
            Command::Run => {
                // Before anything that may take a while: one that nobody catches ends the program.
                let signals = Signals::catch();
                let published = match address().await {
                    Ok(published) => published,
                    Err(none) => return fail(exit_code::UNAVAILABLE, &none),
                };
                let supervisor = Supervisor::of(&environment, log.clone());
                let reread = Arc::new(move || settings::load(&sources));
                let beginning = Beginning {
                    settings,
                    effective,
                    published,
                    log: log.clone(),
                    dial,
                    supervisor,
                    reread,
                };
                let life = Rc::new(Life::new(beginning));
                let desk = Desk::open(life.clone(), life.in_force(), lines);
                // It ends with the process.
                actix_rt::spawn(serve(desk.window(), log.new(o!("edge" => "admin"))));
                run_daemon(&life, signals).await
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

async fn run_daemon(life: &Rc<Life>, signals: io::Result<Signals>) -> ExitCode {
    let signals = match signals {
        Ok(signals) => signals,
        Err(error) => return fail(exit_code::UNAVAILABLE, &format!("catching signals: {error}")),
    };
    let (reloads, asked_to_stop) = signals.split();
    match run(life, reloads, asked_to_stop).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(
            ended @ (Ended::NotSettled(NotSettled::Cluster(_))
            | Ended::Docker(_)
            | Ended::Token(_)
            // What no other moment mends.
            | Ended::Dns(
                DnsError::NotAllowed(_) | DnsError::ForwardsToItself(_) | DnsError::Domain(_),
            )),
        ) => fail(exit_code::CONFIG, &ended),
        Err(ended @ (Ended::NotSettled(_) | Ended::Dns(_))) => fail(exit_code::UNAVAILABLE, &ended),
        Err(ended @ Ended::Exhausted(_)) => fail(exit_code::SOFTWARE, &ended),
    }
}

async fn run_check(
    settings: &Settings,
    published: &Result<Published, NoHost>,
    log: &Logger,
) -> ExitCode {
    let verdicts = check(settings, published, log).await;
    let text: String = verdicts.iter().map(|verdict| format!("{verdict}\n")).collect();
    match print(&text) {
        Ok(()) if verdicts.iter().all(|verdict| verdict.result.is_ok()) => ExitCode::SUCCESS,
        Ok(()) => exit_code::UNAVAILABLE.into(),
        Err(error) => fail(exit_code::UNAVAILABLE, &format!("writing to standard output: {error}")),
    }
}

async fn run_records(
    settings: &Settings,
    published: Result<Published, NoHost>,
    write: fn(&Preview, &mut Vec<u8>) -> io::Result<()>,
    log: &Logger,
) -> ExitCode {
    let published = match published {
        Ok(published) => published,
        Err(none) => return fail(exit_code::UNAVAILABLE, &none),
    };
    let docker = match docker(&settings.docker, log) {
        Ok(docker) => docker,
        Err(unusable) => return fail(exit_code::CONFIG, &unusable),
    };
    let store = match ask_store(settings, log).await {
        Ok(store) => store,
        // It may name another domain; what would be published is worth showing without.
        Err(error) => {
            let store = assume_etcd(settings);
            warn!(log, "etcd can't be asked for the domain"; "error" => %error,
                "taken" => store.domain.to_string());
            store
        }
    };
    let engine = ask_engine(&docker, &published).await;
    let rules = engine.and_then(|engine| rules(settings, &published, &engine, &store));
    let rules = match rules {
        Ok(rules) => rules,
        Err(error) => return fail(exit_code::UNAVAILABLE, &error),
    };
    let preview = match preview(&docker, &rules).await {
        Ok(preview) => preview,
        Err(error) => return fail(exit_code::UNAVAILABLE, &error),
    };
    let mut text = Vec::new();
    match write(&preview, &mut text).and_then(|()| print_plain(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(exit_code::UNAVAILABLE, &format!("writing to standard output: {error}")),
    }
}

async fn show_status(settings: &Settings, json: bool, log: &Logger) -> ExitCode {
    let asked = async { Asker::new(&settings.admin, log)?.get::<Summary>("/status").await };
    let summary = match asked.await {
        Ok(summary) => summary,
        Err(none) => return fail(exit_code::UNAVAILABLE, &none),
    };
    let mut text = Vec::new();
    let written = match json {
        true => serde_json::to_writer_pretty(&mut text, &summary)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(text)),
        false => status::write_table(&summary, &mut text),
    };
    match written.and_then(|()| print_plain(&text)) {
        Ok(()) if summary.ready => ExitCode::SUCCESS,
        Ok(()) => exit_code::NOT_READY.into(),
        Err(error) => fail(exit_code::UNAVAILABLE, &format!("writing to standard output: {error}")),
    }
}

async fn show_actors(settings: &Settings, json: bool, watch: bool, log: &Logger) -> ExitCode {
    let asker = match Asker::new(&settings.admin, log) {
        Ok(asker) => asker,
        Err(none) => return fail(exit_code::UNAVAILABLE, &none),
    };
    match actors::show(&asker, json, watch, &mut io::stdout()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(exit_code::UNAVAILABLE, &error),
    }
}

fn print(text: &str) -> io::Result<()> {
    io::stdout().write_all(text.as_bytes())
}

/// Some of it comes from containers.
fn print_plain(text: &[u8]) -> io::Result<()> {
    print(&plain(&String::from_utf8_lossy(text)))
}

/// Says why the program ends, where nobody may be reading.
fn fail(status: u8, reason: &dyn Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "highhock: {reason}");
    status.into()
}
