//! The command line.

mod completions;
pub mod exit_code;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use structopt::StructOpt;
use structopt::clap::{App, AppSettings, Arg, ArgMatches, ErrorKind};

use crate::settings::{Environment, Fallback, Flag, KEYS, Key, Sources, find};
use crate::version;

/// The name of the argument, and of the flag, for the configuration file.
const CONFIG: &str = "config";
const STANDALONE: &str = "standalone";

/// What the program is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, StructOpt)]
pub enum Command {
    /// Keeps the records of this host's containers (the default)
    #[default]
    Run,
    /// Looks at configuration, Docker, etcd and the address; exits with 0 only if all hold
    Check,
    /// Shows what would be published now, and writes nothing
    Records {
        /// Shows it as JSON
        #[structopt(long)]
        json: bool,
        /// Shows how it comes to that: what each container says, and what becomes of it
        #[structopt(long)]
        explain: bool,
    },
    /// Asks the running daemon how it goes; exits with 0 only if it is ready
    Status {
        /// Shows it as JSON
        #[structopt(long)]
        json: bool,
    },
    /// Shows the mailboxes of the running daemon's actors
    Actors {
        /// Shows them as JSON
        #[structopt(long)]
        json: bool,
        /// Shows them again each second, with what was done in it
        #[structopt(long)]
        watch: bool,
    },
}

#[derive(Debug, StructOpt)]
#[structopt(
    name = "highhock",
    after_help = "Each flag's key can stand in the configuration file, and in an environment \
                  variable: docker.pollContainer is HIGHHOCK_DOCKER__POLLCONTAINER. A flag goes \
                  before a variable, a variable before the file. Commas separate the entries of a \
                  list: --dns-listen 127.0.0.1:53,[::1]:53. Passwords and tokens have no flag."
)]
struct Cli {
    #[structopt(subcommand)]
    command: Option<Command>,
}

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    /// The configuration file that it names.
    pub file: Option<PathBuf>,
    /// The keys that it sets, as yet unchecked.
    pub flags: Vec<Flag>,
}

impl Invocation {
    /// Where the settings come from, for this command line.
    pub fn sources(&self, environment: Environment) -> Sources {
        Sources::new(self.file.clone(), self.flags.clone(), environment)
    }
}

/// A command line that asks for help, the version or a shell's completions, or makes no
/// sense.
#[derive(Debug)]
pub struct Answer {
    text: String,
    is_error: bool,
}

impl Answer {
    /// Prints it to where it belongs, and gives the program's exit status.
    pub fn print(&self) -> u8 {
        if self.is_error {
            // Nobody may be reading; that changes nothing.
            let _ = writeln!(io::stderr(), "{}", self.text);
            return exit_code::USAGE;
        }
        match writeln!(io::stdout(), "{}", self.text) {
            Ok(()) => 0,
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            // Half of a script for a shell is worse than none.
            Err(error) => {
                let _ = writeln!(io::stderr(), "highhock: writing to standard output: {error}");
                exit_code::UNAVAILABLE
            }
        }
    }
}

/// Reads a command line, the program's name first.
///
/// # Errors
/// What is to be printed instead of a run.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, Answer> {
    let texts: Vec<_> = KEYS.iter().filter(|key| !key.secret).map(FlagText::of).collect();
    let version = version::with_commit();
    let answer = |error| answer_to(error, &texts);
    let matches = app(&texts, &version).get_matches_from_safe(arguments).map_err(answer)?;
    if let Some(shell) = completions::asked_for(&matches) {
        let text = completions::script(app(&texts, &version), shell);
        return Err(Answer { text, is_error: false });
    }
    // A flag before the subcommand is handed down to it; one behind it is only there.
    let innermost = matches.subcommand().1.unwrap_or(&matches);
    Ok(Invocation {
        command: Cli::from_clap(&matches).command.unwrap_or_default(),
        file: innermost.value_of_os(CONFIG).map(PathBuf::from),
        flags: flags(innermost, &texts),
    })
}

fn answer_to(error: structopt::clap::Error, texts: &[FlagText]) -> Answer {
    // The version is printed by clap itself, all but the end of its line.
    let is_error = !matches!(error.kind, ErrorKind::HelpDisplayed | ErrorKind::VersionDisplayed);
    let unknown = error.info.into_iter().flatten().next().unwrap_or_default();
    let unknown = unknown.trim_start_matches('-');
    let distance = |text: &&FlagText| strsim::damerau_levenshtein(unknown, &text.flag);
    let nearest = texts.iter().min_by_key(distance);
    let text = match nearest.filter(|text| distance(text) <= unknown.len().div_ceil(4)) {
        Some(near) if error.kind == ErrorKind::UnknownArgument => {
            format!("{}\n\nThe nearest flag is --{}", error.message, near.flag)
        }
        _ => error.message,
    };
    Answer { text, is_error }
}

/// What clap wants to borrow for a key's flag.
struct FlagText {
    key: &'static Key,
    flag: String,
    alias: Option<String>,
    help: String,
}

impl FlagText {
    fn of(key: &'static Key) -> Self {
        let default = match key.fallback {
            Fallback::Is(value) | Fallback::WorkedOut(value) => value,
        };
        let help = format!("{} [default: {default}]", key.doc);
        Self { key, flag: key.flag(), alias: key.alias_flag(), help }
    }
}

fn app<'a>(texts: &'a [FlagText], version: &'a str) -> App<'a, 'a> {
    let config = Arg::with_name(CONFIG)
        .long(CONFIG)
        .short("c")
        .value_name("FILE")
        .help("The configuration file: JSON with comments, or YAML or TOML by its ending [default: /etc/highhock.json]");
    let standalone =
        Arg::with_name(STANDALONE).long(STANDALONE).help("The same as --store standalone");
    let keys = texts.iter().map(|text| {
        let arg = Arg::with_name(text.key.path).long(&text.flag).value_name("VALUE");
        let arg = arg.help(&text.help).takes_value(true).global(true);
        let arg = text.alias.iter().fold(arg, |arg, alias| arg.visible_alias(alias.as_str()));
        text.key.short.iter().fold(arg, |arg, letter| arg.short(letter))
    });
    Cli::clap()
        // Said here, since the derive would take the subcommands' doc comment for it.
        .about("Keeps DNS records for the services of this host's Docker containers, in etcd or standalone")
        .version(version)
        .setting(AppSettings::DeriveDisplayOrder)
        // -5 is a value, if one out of range; flags are never numbers.
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

    fn parse(line: &str) -> Result<Invocation, Answer> {
        super::parse(line.split_whitespace().map(OsString::from))
    }

    fn flag(invocation: &Invocation, path: &str) -> Option<String> {
        let mut of_key = invocation.flags.iter().filter(|flag| flag.key.path == path);
        of_key.next().map(|flag| flag.value.to_str().unwrap().to_owned())
    }

    #[test]
    fn without_a_command_it_runs() {
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
            let invocation = parse(line).unwrap();
            assert_eq!(invocation.command, command, "{line}");
            assert!(invocation.flags.is_empty() && invocation.file.is_none(), "{line}");
        }
    }

    #[test]
    fn every_key_but_the_secrets_has_a_flag_on_either_side_of_the_command() {
        for key in KEYS {
            let flag_name = key.flag();
            for line in [
                format!("highhock --{flag_name} value check"),
                format!("highhock check --{flag_name}=value"),
                format!("highhock --{flag_name} value"),
            ] {
                match parse(&line) {
                    Ok(invocation) => {
                        assert_eq!(flag(&invocation, key.path).unwrap(), "value", "{line}");
                        assert_eq!(invocation.flags.len(), 1, "{line}");
                        assert!(!key.secret, "{line}");
                    }
                    Err(_) => assert!(key.secret, "{line}"),
                }
            }
        }
    }

    #[test]
    fn short_forms_and_aliases_stand_for_their_keys() {
        let invocation =
            parse("highhock -e etcd -c file check -d docker -p 5 -i eth1 -l DEBUG").unwrap();
        assert_eq!(invocation.file, Some(PathBuf::from("file")));
        for (path, value) in [
            ("etcd.url", "etcd"),
            ("docker.url", "docker"),
            ("docker.poll", "5"),
            ("discovery.interface", "eth1"),
            ("logLevel", "DEBUG"),
        ] {
            assert_eq!(flag(&invocation, path).unwrap(), value);
        }
        let invocation = parse("highhock --public-host 10.0.0.1").unwrap();
        assert_eq!(flag(&invocation, "discovery.host").unwrap(), "10.0.0.1");
    }

    #[test]
    fn a_flag_behind_the_command_goes_before_one_in_front_of_it() {
        let invocation = parse("highhock -l DEBUG check -l ERROR").unwrap();
        assert_eq!(flag(&invocation, "logLevel").unwrap(), "ERROR");
    }

    #[test]
    fn standalone_is_a_way_to_say_store() {
        for line in ["highhock --standalone", "highhock run --standalone"] {
            let invocation = parse(line).unwrap();
            assert_eq!(flag(&invocation, "store").unwrap(), "standalone", "{line}");
            assert_eq!(invocation.flags[0].name, "--standalone");
        }
    }

    #[test]
    fn a_negative_number_is_a_value() {
        let invocation = parse("highhock --docker-poll -5").unwrap();
        assert_eq!(flag(&invocation, "docker.poll").unwrap(), "-5");
    }

    #[test]
    fn what_is_not_understood_is_an_error_and_help_is_none() {
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
    fn a_password_on_the_command_line_is_not_repeated() {
        let answer = parse("highhock --etcd-password=hunter2").unwrap_err();
        assert!(answer.is_error && !answer.text.contains("hunter2"), "{}", answer.text);
    }
}
