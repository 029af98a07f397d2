//! The command line: commands, flags and exit codes.
//!
//! Every setting without a secret has a flag, which is generated from the table of keys in
//! [`crate::settings`].

mod completions;
pub mod exit_code;
mod suggestion;

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use structopt::StructOpt;
use structopt::clap::{App, AppSettings, Arg, ArgMatches, ErrorKind};

use crate::settings::{
    ConfigFile, DefaultValue, Environment, FileOrigin, Flag, KEYS, Key, Sources, find,
};
use crate::version;

/// The name of the argument, and of the flag, for the configuration file.
const CONFIG: &str = "config";
const STANDALONE: &str = "standalone";

/// A command of the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, StructOpt)]
pub enum Command {
    /// Runs the daemon in the foreground (the default)
    #[default]
    Run,
    /// Tests configuration, Docker, etcd and address; exits with 0 only if all tests pass
    Check,
    /// Shows the records that would be published now; writes nothing
    Records {
        /// Prints JSON
        #[structopt(long)]
        json: bool,
        /// Shows for each container the declared services, and the records or reasons
        #[structopt(long)]
        explain: bool,
    },
    /// Shows the status of the running daemon; exits with 0 only if it is ready
    Status {
        /// Prints JSON
        #[structopt(long)]
        json: bool,
    },
    /// Shows the mailboxes of the running daemon's actors
    Actors {
        /// Prints JSON
        #[structopt(long)]
        json: bool,
        /// Repeats every second, with rates
        #[structopt(long)]
        watch: bool,
    },
}

#[derive(Debug, StructOpt)]
#[structopt(
    name = "highhock",
    after_help = "Each flag is also a key of the configuration file and an environment variable: \
                  docker.pollContainer is HIGHHOCK_DOCKER__POLLCONTAINER. Flags override \
                  variables, and variables override the file. Commas separate the entries of a \
                  list: --dns-listen 127.0.0.1:53,[::1]:53. Passwords and tokens have no flag. \
                  HIGHHOCK_CONFIG names the configuration file if --config is not given."
)]
struct Arguments {
    #[structopt(subcommand)]
    command: Option<Command>,
}

/// A parsed command line.
#[derive(Clone, Debug)]
pub struct Cli {
    /// The command to run.
    pub command: Command,
    /// The configuration file, if the command line names one.
    pub file: Option<ConfigFile>,
    /// The settings from flags. They are not validated yet.
    pub flags: Vec<Flag>,
}

impl Cli {
    /// Returns the sources of the settings for this command line.
    pub fn sources(&self, environment: Environment) -> Sources {
        Sources::new(self.file.clone(), self.flags.clone(), environment)
    }
}

/// Text to print in place of a command: help, version, a completion script, or an error of the
/// command line.
#[derive(Debug)]
pub struct CliExit {
    text: String,
    is_error: bool,
}

impl CliExit {
    /// Prints the text to standard output, or an error to standard error. Returns the exit code.
    pub fn print(&self) -> u8 {
        if self.is_error {
            // Standard error may be closed.
            let _ = writeln!(io::stderr(), "{}", self.text);
            return exit_code::USAGE;
        }
        match writeln!(io::stdout(), "{}", self.text) {
            Ok(()) => 0,
            // The reader, such as `head`, has closed the pipe.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            // An incomplete completion script must not pass for a complete one.
            Err(error) => {
                let _ = writeln!(io::stderr(), "highhock: writing to standard output: {error}");
                exit_code::UNAVAILABLE
            }
        }
    }
}

/// Parses a command line, which starts with the name of the program.
///
/// # Errors
/// Returns the text to print if there is no command to run.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, CliExit> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let texts: Vec<_> = KEYS.iter().filter(|key| !key.secret).map(FlagText::new).collect();
    let version = version::with_commit();
    if let Some(text) = suggestion::single_dash_error(&arguments, &texts) {
        return Err(CliExit { text, is_error: true });
    }
    let exit_output = |error| exit_for(error, &texts);
    let matches = app(&texts, &version).get_matches_from_safe(&arguments).map_err(exit_output)?;
    if let Some(shell) = completions::requested_shell(&matches) {
        let text = completions::script(app(&texts, &version), shell);
        return Err(CliExit { text, is_error: false });
    }
    // clap passes flags before a subcommand down to it, so the innermost matches have all flags.
    let innermost = matches.subcommand().1.unwrap_or(&matches);
    Ok(Cli {
        command: Arguments::from_clap(&matches).command.unwrap_or_default(),
        file: innermost.value_of_os(CONFIG).map(|file| config_file(file.into(), &arguments)),
        flags: flags(innermost, &texts),
    })
}

/// Returns the file of `--config`, with the flag that contains the file's name, if there is one.
fn config_file(path: PathBuf, arguments: &[OsString]) -> ConfigFile {
    let attached = |argument: &&OsString| {
        let value = argument.as_bytes().strip_prefix(b"-c").filter(|value| !value.is_empty());
        value.is_some_and(|value| {
            value.strip_prefix(b"=").unwrap_or(value) == path.as_os_str().as_bytes()
        })
    };
    let flag = arguments.iter().find(attached);
    let named_by = flag.map_or(FileOrigin::Flag, |flag| {
        FileOrigin::AttachedFlag(flag.to_string_lossy().into_owned())
    });
    ConfigFile { path, named_by }
}

fn exit_for(error: structopt::clap::Error, texts: &[FlagText]) -> CliExit {
    // clap prints the version itself, except for the end of the line.
    let is_error = !matches!(error.kind, ErrorKind::HelpDisplayed | ErrorKind::VersionDisplayed);
    let suggestion = suggestion::suggestion(&error, texts);
    let text = match suggestion {
        Some(suggestion) => format!("{}\n\n{suggestion}", error.message),
        None => error.message,
    };
    CliExit { text, is_error }
}

/// The texts of a key's flag, which clap borrows.
struct FlagText {
    key: &'static Key,
    flag: String,
    alias: Option<String>,
    help: String,
}

impl FlagText {
    fn new(key: &'static Key) -> Self {
        let default = match key.default {
            DefaultValue::Fixed(value) | DefaultValue::Derived(value) => value,
        };
        let help = format!("{} [default: {default}]", key.doc);
        Self { key, flag: key.flag(), alias: key.alias_flag(), help }
    }
}

fn app<'a>(texts: &'a [FlagText], version: &'a str) -> App<'a, 'a> {
    let config = Arg::with_name(CONFIG).long(CONFIG).short("c").value_name("FILE").help(
        "The configuration file: JSON with comments, YAML or TOML, by its extension \
            [default: HIGHHOCK_CONFIG, else /etc/highhock.json]",
    );
    let standalone =
        Arg::with_name(STANDALONE).long(STANDALONE).help("The same as --store standalone");
    let keys = texts.iter().map(|text| {
        let arg = Arg::with_name(text.key.path).long(&text.flag).value_name("VALUE");
        let arg = arg.help(&text.help).takes_value(true).global(true);
        let arg = text.alias.iter().fold(arg, |arg, alias| arg.visible_alias(alias.as_str()));
        text.key.short.iter().fold(arg, |arg, letter| arg.short(letter))
    });
    Arguments::clap()
        // Without this, the derive would use the doc comment of the subcommands.
        .about(
            "Publishes DNS records for the services of this host's Docker containers, in \
            etcd or standalone",
        )
        .version(version)
        .setting(AppSettings::DeriveDisplayOrder)
        // -5 is a value (out of range), because no flag is a number.
        .global_setting(AppSettings::AllowNegativeNumbers)
        .global_setting(AppSettings::UnifiedHelpMessage)
        .global_setting(AppSettings::VersionlessSubcommands)
        .arg(config.takes_value(true).empty_values(false).global(true))
        .arg(standalone.global(true))
        .args(&keys.collect::<Vec<_>>())
        .subcommand(completions::command())
}

fn flags(matches: &ArgMatches<'_>, texts: &[FlagText]) -> Vec<Flag> {
    let mut flags: Vec<_> = texts
        .iter()
        .filter_map(|text| {
            let value = matches.value_of_os(text.key.path)?.to_owned();
            Some(Flag { name: format!("--{}", text.flag), key: text.key, value })
        })
        .collect();
    if let Some(key) = find("store").filter(|_| matches.is_present(STANDALONE)) {
        flags.push(Flag { name: format!("--{STANDALONE}"), key, value: STANDALONE.into() });
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, CliExit> {
        super::parse(line.split_whitespace().map(OsString::from))
    }

    fn flag(cli: &Cli, path: &str) -> Option<String> {
        let mut matching = cli.flags.iter().filter(|flag| flag.key.path == path);
        matching.next().map(|flag| flag.value.to_str().unwrap().to_owned())
    }

    #[test]
    fn parses_commands_and_runs_by_default() {
        for (line, command) in [
            ("highhock", Command::Run),
            ("highhock run", Command::Run),
            ("highhock check", Command::Check),
            ("highhock records", Command::Records { json: false, explain: false }),
            ("highhock records --json", Command::Records { json: true, explain: false }),
            ("highhock records --explain", Command::Records { json: false, explain: true }),
            ("highhock status", Command::Status { json: false }),
            ("highhock status --json", Command::Status { json: true }),
            ("highhock actors", Command::Actors { json: false, watch: false }),
            ("highhock actors --watch", Command::Actors { json: false, watch: true }),
            ("highhock actors --watch --json", Command::Actors { json: true, watch: true }),
            ("highhock records --json --explain", Command::Records { json: true, explain: true }),
        ] {
            let cli = parse(line).unwrap();
            assert_eq!(cli.command, command, "{line}");
            assert!(cli.flags.is_empty() && cli.file.is_none(), "{line}");
        }
    }

    #[test]
    fn every_key_except_secrets_has_a_flag() {
        for key in KEYS {
            let flag_name = key.flag();
            for line in [
                format!("highhock --{flag_name} value check"),
                format!("highhock check --{flag_name}=value"),
                format!("highhock --{flag_name} value"),
            ] {
                match parse(&line) {
                    Ok(cli) => {
                        assert_eq!(flag(&cli, key.path).unwrap(), "value", "{line}");
                        assert_eq!(cli.flags.len(), 1, "{line}");
                        assert!(!key.secret, "{line}");
                    }
                    Err(_) => assert!(key.secret, "{line}"),
                }
            }
        }
    }

    #[test]
    fn resolves_short_flags_and_aliases() {
        let cli = parse("highhock -e etcd -c file check -d docker -p 5 -i eth1 -l DEBUG").unwrap();
        assert_eq!(cli.file, Some(PathBuf::from("file").into()));
        for (path, value) in [
            ("etcd.url", "etcd"),
            ("docker.url", "docker"),
            ("docker.poll", "5"),
            ("discovery.interface", "eth1"),
            ("logLevel", "DEBUG"),
        ] {
            assert_eq!(flag(&cli, path).unwrap(), value);
        }
        let cli = parse("highhock --public-host 10.0.0.1").unwrap();
        assert_eq!(flag(&cli, "discovery.host").unwrap(), "10.0.0.1");
    }

    #[test]
    fn flag_after_the_command_takes_precedence() {
        let cli = parse("highhock -l DEBUG check -l ERROR").unwrap();
        assert_eq!(flag(&cli, "logLevel").unwrap(), "ERROR");
    }

    #[test]
    fn standalone_flag_sets_store() {
        for line in ["highhock --standalone", "highhock run --standalone"] {
            let cli = parse(line).unwrap();
            assert_eq!(flag(&cli, "store").unwrap(), "standalone", "{line}");
            assert_eq!(cli.flags[0].name, "--standalone");
        }
    }

    #[test]
    fn accepts_negative_numbers_as_values() {
        let cli = parse("highhock --docker-poll -5").unwrap();
        assert_eq!(flag(&cli, "docker.poll").unwrap(), "-5");
    }

    #[test]
    fn unknown_arguments_are_errors_and_help_is_not() {
        for line in
            ["highhock --nonsense", "highhock nonsense", "highhock --etcd-url", "highhock check x"]
        {
            assert!(parse(line).unwrap_err().is_error, "{line}");
        }
        for line in ["highhock --help", "highhock -h", "highhock check --help", "highhock -V"] {
            assert!(!parse(line).unwrap_err().is_error, "{line}");
        }
    }

    #[test]
    fn suggests_the_nearest_flag_or_command() {
        for (line, expected) in [
            ("highhock --standalon", "the nearest flag is --standalone"),
            ("highhock --etcd-ulr http://etcd/", "the nearest flag is --etcd-url"),
            ("highhock check --confg file", "the nearest flag is --config"),
            ("highhock --public-hots a", "the nearest flag is --public-host"),
            ("highhock --hlep", "the nearest flag is --help"),
            ("highhock records --explian", "the nearest flag is --explain"),
            ("highhock actors --wach", "the nearest flag is --watch"),
            ("highhock stat", "the nearest command is status"),
            ("highhock -l DEBUG chekc", "the nearest command is check"),
            ("highhock standalone", "the nearest flag is --standalone"),
            ("highhock completions bsah", "the nearest value is bash"),
        ] {
            let exit_output = parse(line).unwrap_err();
            let text = exit_output.text;
            assert!(exit_output.is_error && text.ends_with(expected), "{line}: {text}");
        }
        for line in ["highhock --nonsense", "highhock nonsense", "highhock check x"] {
            let text = parse(line).unwrap_err().text;
            assert!(!text.contains("nearest"), "{line}: {text}");
        }
    }

    #[test]
    fn long_flag_with_one_dash_is_an_error() {
        for (line, flag) in [
            ("highhock -etcd-url http://etcd/", "--etcd-url"),
            ("highhock check -discovery-interface=eth1", "--discovery-interface"),
            ("highhock -public-interface eth1", "--public-interface"),
            ("highhock -config file", "--config"),
            ("highhock -interface eth1", "--discovery-interface"),
            ("highhock -level=DEBUG", "--log-level"),
            ("highhock records -explain", "--explain"),
        ] {
            let exit_output = parse(line).unwrap_err();
            let text = exit_output.text;
            assert!(exit_output.is_error && text.contains(&format!("write {flag}")), "{text}");
        }
        assert_eq!(flag(&parse("highhock -ieth1 -lDEBUG").unwrap(), "logLevel").unwrap(), "DEBUG");
    }

    #[test]
    fn attached_file_name_is_recorded() {
        for (line, path) in [("highhock -cleanup", "leanup"), ("highhock check -c=file", "file")] {
            let file = parse(line).unwrap().file.unwrap();
            let written = line.rsplit(' ').next().unwrap();
            assert_eq!(file.path, PathBuf::from(path));
            assert_eq!(file.named_by, FileOrigin::AttachedFlag(written.to_owned()));
        }
        for line in ["highhock -c file", "highhock --config=file"] {
            assert_eq!(parse(line).unwrap().file.unwrap().named_by, FileOrigin::Flag);
        }
    }

    #[test]
    fn does_not_echo_a_password_flag() {
        let exit_output = parse("highhock --etcd-password=hunter2").unwrap_err();
        assert!(
            exit_output.is_error && !exit_output.text.contains("hunter2"),
            "{}",
            exit_output.text
        );
    }
}
