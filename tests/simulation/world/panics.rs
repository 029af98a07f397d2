//! The core's log: goes into the trace, and makes an actor panic at a line of its log that
//! the plan chose. A line is logged at the most different moments of an actor's work, so
//! that a panic meets it with its work half done.

use std::cell::{Cell, RefCell};
use std::fmt;

use slog::{Drain, KV, Level, Logger, Never, OwnedKVList, Record, Serializer, o};

use super::trace::{self, say};

/// What a panic says that the simulation asked for.
pub const ASKED_FOR: &str = "the simulation asked for it";

thread_local! {
    static ARMED: RefCell<Option<(&'static str, u32)>> = const { RefCell::new(None) };
    static WORDS: Cell<Option<&'static str>> = const { Cell::new(None) };
    static UNASKED: Cell<bool> = const { Cell::new(false) };
    static FALLEN: Cell<u32> = const { Cell::new(0) };
}

/// Sees to it that panics which the simulation asked for are not printed, and that others
/// break a run.
pub fn quieten() {
    std::panic::set_hook(Box::new(|panic| {
        // Which of the two it is, is up to the compiler.
        let payload = panic.payload();
        let said = payload.downcast_ref::<&str>().copied();
        let said = said.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        if said != Some(ASKED_FOR) {
            eprintln!("{panic}");
            UNASKED.set(true);
        }
    }));
}

/// Whether there was a panic that nobody asked for.
pub fn take_unasked() -> bool {
    UNASKED.take()
}

/// Makes an actor of this type panic when it logs the line so many lines from now.
pub fn arm(actor: &'static str, lines: u32) {
    ARMED.set(Some((actor, lines)));
}

/// Makes the actor panic that next logs these words.
pub fn arm_at(words: &'static str) {
    WORDS.set(Some(words));
}

/// Panics as the simulation does.
pub fn fall(who: &str) -> ! {
    FALLEN.set(FALLEN.get() + 1);
    trace::count("panics");
    say!("! {who} panics");
    panic!("{ASKED_FOR}");
}

/// How many panics there were since it was last asked; nothing is armed any more.
pub fn take_fallen() -> u32 {
    FALLEN.take()
}

/// Nothing is to panic any more.
pub fn disarm() {
    ARMED.set(None);
    WORDS.set(None);
    FALLEN.set(0);
}

/// The logger to start a core with.
pub fn logger(process: u32) -> Logger {
    Logger::root(IntoTrace { process }, o!())
}

struct IntoTrace {
    process: u32,
}

impl Drain for IntoTrace {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record, values: &OwnedKVList) -> Result<(), Never> {
        if record.level() == Level::Trace {
            return Ok(());
        }
        let (mut own, mut told) = (Words::default(), Words::default());
        let _ = values.serialize(record, &mut own);
        let _ = record.kv().serialize(record, &mut told);
        let actor = own.actor.take().unwrap_or_default();
        say!("  {}/{actor}: {}{}{}", self.process, record.msg(), own.text, told.text);
        let falls = ARMED.with_borrow_mut(|armed| match armed {
            Some((whose, lines)) if *whose == actor => match lines.checked_sub(1) {
                Some(left) => {
                    *lines = left;
                    false
                }
                None => armed.take().is_some(),
            },
            _ => false,
        });
        let message = record.msg().to_string();
        let falls_at = WORDS.get().is_some_and(|words| message.starts_with(words));
        if falls_at {
            WORDS.set(None);
        }
        let falls = falls || falls_at;
        // Who is unwinding already may log too.
        if falls && !std::thread::panicking() {
            fall(&actor);
        }
        Ok(())
    }
}

#[derive(Default)]
struct Words {
    actor: Option<String>,
    text: String,
}

impl Serializer for Words {
    fn emit_arguments(&mut self, key: slog::Key, value: &fmt::Arguments) -> slog::Result {
        if key == "actor" {
            self.actor = Some(value.to_string());
        } else {
            self.text += &format!(" {key}={value}");
        }
        Ok(())
    }
}
