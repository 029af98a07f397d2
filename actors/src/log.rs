//! The log levels of HighHock, as macros on top of slog.
//!
//! slog has six levels. Operators know the eight levels of syslog. Each macro is named after
//! the level that the operator sees, and logs at the slog level that represents it. The drain
//! prints the operator's name. For `WARNING`, `ERROR` and `CRITICAL` use slog's own `warn!`,
//! `error!` and `crit!`.

/// Logs at NOTICE (slog's `Info`): a record published or withdrawn, the end of an outage.
#[macro_export]
macro_rules! notice {
    ($($args:tt)+) => { ::slog::info!($($args)+) };
}

/// Logs at INFO (slog's `Debug`): each poll, each refresh.
#[macro_export]
macro_rules! info {
    ($($args:tt)+) => { ::slog::debug!($($args)+) };
}

/// Logs at DEBUG (slog's `Trace`): each request.
#[macro_export]
macro_rules! debug {
    ($($args:tt)+) => { ::slog::trace!($($args)+) };
}
