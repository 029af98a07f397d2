//! Suggestions for misspelt flags, commands and values of the command line.

use std::ffi::OsString;

use structopt::clap::{Error, ErrorKind};

use super::FlagText;
use super::completions::{SHELLS, SUBCOMMAND as COMPLETIONS};
use crate::text::nearest::nearest;

const COMMANDS: [&str; 6] = ["run", "check", "records", "status", "actors", COMPLETIONS];

/// The flags that set no key.
const OTHER_FLAGS: [&str; 7] =
    [super::CONFIG, super::STANDALONE, "json", "explain", "watch", "help", "version"];

/// The shortest word that may be a flag without its dashes.
const BARE_FLAG_LENGTH_MIN: usize = 5;

/// The shortest last part of a flag that counts as its name. A shorter one may be the name of a
/// file: `-ca`.
const LAST_PART_LENGTH_MIN: usize = 4;

/// Returns a sentence with the flag, command or value that is most similar to the one that clap
/// rejected; `None` if none is similar.
pub(super) fn suggestion(error: &Error, texts: &[FlagText]) -> Option<String> {
    let rejected = error.info.as_ref()?.last()?;
    match error.kind {
        ErrorKind::UnknownArgument | ErrorKind::UnrecognizedSubcommand => {
            for_argument(rejected, texts)
        }
        // Only the shell has a list of values here. Settings are checked later.
        ErrorKind::InvalidValue => {
            Some(format!("the nearest value is {}", nearest(rejected, SHELLS)?))
        }
        _ => None,
    }
}

fn for_argument(argument: &str, texts: &[FlagText]) -> Option<String> {
    let near_flag = |word| Some(format!("the nearest flag is --{}", nearest(word, flags(texts))?));
    if argument.starts_with('-') {
        return near_flag(argument.trim_start_matches('-'));
    }
    match nearest(argument, COMMANDS) {
        Some(command) => Some(format!("the nearest command is {command}")),
        None if argument.len() >= BARE_FLAG_LENGTH_MIN => near_flag(argument),
        None => None,
    }
}

/// Returns the error of a long flag that is written with one dash; `None` if there is none.
///
/// clap reads `-etcd-url` as `-e` with the value `tcd-url`, and `-interface` as `-i` with the value
/// `nterface`, which is a valid name.
pub(super) fn single_dash_error(arguments: &[OsString], texts: &[FlagText]) -> Option<String> {
    arguments.iter().skip(1).find_map(|argument| {
        let name = argument.to_str()?.strip_prefix('-')?.split('=').next()?;
        let flag = long_flag(name, texts)?;
        Some(format!("error: -{name} is not a flag; write --{flag}"))
    })
}

/// Returns the long flag with this name, or whose last part is this name.
fn long_flag<'a>(name: &str, texts: &'a [FlagText]) -> Option<&'a str> {
    let is_flag = |flag: &&str| name.len() > 1 && *flag == name;
    let last_part = format!("-{name}");
    let ends_so = |flag: &&str| name.len() >= LAST_PART_LENGTH_MIN && flag.ends_with(&last_part);
    flags(texts).find(is_flag).or_else(|| flags(texts).find(ends_so))
}

/// Returns the long flags of the program and of all commands.
fn flags(texts: &[FlagText]) -> impl Iterator<Item = &str> {
    let of_keys = texts.iter().flat_map(|text| [Some(&text.flag), text.alias.as_ref()]);
    of_keys.flatten().map(String::as_str).chain(OTHER_FLAGS)
}
