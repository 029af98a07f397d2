//! Injected panics, and the logger of the core.
//!
//! The logger writes log records to the trace, and can panic at a log record of an actor. Actors
//! log in the middle of very different operations, so such a panic interrupts unfinished work.

use std::cell::{Cell, RefCell};
use std::fmt;

use slog::{Drain, KV, Level, Logger, Never, OwnedKVList, Record, Serializer, o};

use super::trace::{self, trace_line};

/// The message of an injected panic.
pub const INJECTED_PANIC: &str = "panic injected by the simulation";

thread_local! {
    static ARMED: RefCell<Option<(&'static str, u32)>> = const { RefCell::new(None) };
    static ARMED_MESSAGE: Cell<Option<&'static str>> = const { Cell::new(None) };
    static UNEXPECTED_PANIC: Cell<bool> = const { Cell::new(false) };
    static PANIC_COUNT: Cell<u32> = const { Cell::new(0) };
}

/// Installs a panic hook that hides injected panics. Other panics are printed and fail the run.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        // The payload type depends on the panic's format arguments.
        let payload = panic.payload();
        let payload_text = payload.downcast_ref::<&str>().copied();
        let payload_text =
            payload_text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        if payload_text != Some(INJECTED_PANIC) {
            eprintln!("{panic}");
            UNEXPECTED_PANIC.set(true);
        }
    }));
}

/// Returns `true` if a panic was not injected, and resets the flag.
pub fn take_unexpected_panic() -> bool {
    UNEXPECTED_PANIC.take()
}

/// Injects a panic into an actor of this type after `lines` further log records.
pub fn arm_after_lines(actor: &'static str, lines: u32) {
    ARMED.set(Some((actor, lines)));
}

/// Injects a panic at the next log record with this start of the message.
pub fn arm_at_message(message_start: &'static str) {
    ARMED_MESSAGE.set(Some(message_start));
}

/// Panics with [`INJECTED_PANIC`] and counts the panic.
pub fn panic_now(actor: &str) -> ! {
    PANIC_COUNT.set(PANIC_COUNT.get() + 1);
    trace::count("panics");
    trace_line!("! {actor} panics");
    panic!("{INJECTED_PANIC}");
}

/// Returns the number of injected panics since the previous call.
pub fn take_panic_count() -> u32 {
    PANIC_COUNT.take()
}

/// Removes all armed panics.
pub fn disarm() {
    ARMED.set(None);
    ARMED_MESSAGE.set(None);
    PANIC_COUNT.set(0);
}

/// Returns the logger of a core.
pub fn logger(process: u32) -> Logger {
    Logger::root(TraceDrain { process }, o!())
}

struct TraceDrain {
    process: u32,
}

impl Drain for TraceDrain {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record, values: &OwnedKVList) -> Result<(), Never> {
        if record.level() == Level::Trace {
            return Ok(());
        }
        let (mut context, mut fields) = (LogFields::default(), LogFields::default());
        let _ = values.serialize(record, &mut context);
        let _ = record.kv().serialize(record, &mut fields);
        let actor = context.actor.take().unwrap_or_default();
        trace_line!("  {}/{actor}: {}{}{}", self.process, record.msg(), context.text, fields.text);
        let panics = ARMED.with_borrow_mut(|armed| match armed {
            Some((target, lines)) if *target == actor => match lines.checked_sub(1) {
                Some(left) => {
                    *lines = left;
                    false
                }
                None => armed.take().is_some(),
            },
            _ => false,
        });
        let message = record.msg().to_string();
        let panics_at_message =
            ARMED_MESSAGE.get().is_some_and(|message_start| message.starts_with(message_start));
        if panics_at_message {
            ARMED_MESSAGE.set(None);
        }
        let panics = panics || panics_at_message;
        // A second panic while unwinding would abort the process.
        if panics && !std::thread::panicking() {
            panic_now(&actor);
        }
        Ok(())
    }
}

#[derive(Default)]
struct LogFields {
    actor: Option<String>,
    text: String,
}

impl Serializer for LogFields {
    fn emit_arguments(&mut self, key: slog::Key, value: &fmt::Arguments) -> slog::Result {
        if key == "actor" {
            self.actor = Some(value.to_string());
        } else {
            self.text += &format!(" {key}={value}");
        }
        Ok(())
    }
}
