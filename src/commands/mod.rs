//! The commands of the program, one file each.

pub mod actors;
pub mod check;
pub(crate) mod check_forward;
pub mod explain;
pub mod records;
pub mod status;
