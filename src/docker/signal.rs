//! Names and numbers of Linux signals, in the spellings that engines use.

/// The first and the last real-time signal, as engines count them. The C library reserves the two
/// signals below the first one.
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

/// The names of the signals, starting with number 1 (`signal(7)` for x86 and ARM).
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Returns the number of a signal, or `None` if `text` is not a signal. The signal is given as a
/// number or as a name in any case, with or without `SIG`: `15`, `SIGTERM`, `rtmin+3`.
pub(super) fn number(text: &str) -> Option<u8> {
    let text = text.trim().to_ascii_uppercase();
    if let Ok(number) = text.parse() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let name = text.strip_prefix("SIG").unwrap_or(&text);
    let name = match name {
        "CLD" => "CHLD",
        "IOT" => "ABRT",
        "POLL" => "IO",
        name => name,
    };
    match NAMES.iter().position(|it| *it == name) {
        Some(position) => u8::try_from(position + 1).ok(),
        None => real_time(name),
    }
}

/// Parses `RTMIN`, `RTMIN+3` or `RTMAX-1`.
fn real_time(name: &str) -> Option<u8> {
    let distance = |text: &str, sign| match text {
        "" => Some(0),
        _ => text.strip_prefix(sign)?.parse::<u8>().ok().filter(|it| *it <= RTMAX - RTMIN),
    };
    match name.split_at_checked("RTMIN".len())? {
        ("RTMIN", rest) => Some(RTMIN + distance(rest, '+')?),
        ("RTMAX", rest) => Some(RTMAX - distance(rest, '-')?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_names_numbers_and_real_time_signals() {
        for (text, expected) in [
            ("SIGTERM", 15),
            ("TERM", 15),
            ("sigterm", 15),
            ("Term", 15),
            (" 15 ", 15),
            ("1", 1),
            ("64", 64),
            ("SIGHUP", 1),
            ("SIGINT", 2),
            ("SIGQUIT", 3),
            ("SIGKILL", 9),
            ("USR1", 10),
            ("SIGUSR2", 12),
            ("SIGCHLD", 17),
            ("SIGCLD", 17),
            ("SIGIOT", 6),
            ("SIGPOLL", 29),
            ("SIGWINCH", 28),
            ("SIGSYS", 31),
            ("RTMIN", 34),
            ("SIGRTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMIN+3", 37),
            ("sigrtmin+15", 49),
            ("SIGRTMAX", 64),
            ("SIGRTMAX-1", 63),
            ("rtmax-14", 50),
            ("RTMIN+30", 64),
        ] {
            assert_eq!(number(text), Some(expected), "{text:?}");
        }
    }

    #[test]
    fn rejects_unknown_signals() {
        for text in [
            "",
            " ",
            "0",
            "65",
            "256",
            "-1",
            "SIG",
            "SIGSIGTERM",
            "NONE",
            "RTMIN-1",
            "RTMIN+",
            "RTMIN+31",
            "RTMIN+x",
            "RTMAX+1",
            "RTMAX-31",
            "RTMED",
            "ümläut",
            "SIGé",
            "TERM\0",
        ] {
            assert_eq!(number(text), None, "{text:?}");
        }
    }
}
