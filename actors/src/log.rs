//! The log levels of the field (syslog's) on top of slog's.
//!
//! slog has six levels of its own; HighHock's operators know the eight of
//! syslog. These macros name the level that an operator sees and log at the
//! slog level that stands for it; the drain prints the operator's name.
//! `WARNING`, `ERROR` and `CRITICAL` are slog's `warn!`, `error!`, `crit!`.

/// Logs at NOTICE: a record put or withdrawn, an outage over (slog's `Info`).
#[macro_export]
macro_rules! notice {
    ($($args:tt)+) => { ::slog::info!($($args)+) };
}

/// Logs at INFO: each poll, each refresh (slog's `Debug`).
#[macro_export]
macro_rules! info {
    ($($args:tt)+) => { ::slog::debug!($($args)+) };
}

/// Logs at DEBUG: each request (slog's `Trace`).
#[macro_export]
macro_rules! debug {
    ($($args:tt)+) => { ::slog::trace!($($args)+) };
}
