//! The resources of this process, as the kernel reports them.

use std::time::{Duration, SystemTime};

use procfs::{CurrentSI, KernelStats, ProcResult, WithCurrentSystemInfo, process};

/// The resources that this process uses.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// The CPU time since the start, user and system.
    pub cpu: Duration,
    /// The resident memory, in bytes.
    pub resident: u64,
    /// The start time of the process.
    pub started: SystemTime,
    /// The number of open file descriptors.
    pub open_files: usize,
}

impl Process {
    /// Returns the current values; `None` if the kernel does not report them.
    pub fn now() -> Option<Self> {
        Self::read().ok()
    }

    fn read() -> ProcResult<Self> {
        let process = process::Process::myself()?;
        let stat = process.stat()?;
        let ticks =
            |ticks: u64| Duration::from_secs(ticks).div_f64(procfs::ticks_per_second() as f64);
        let booted = KernelStats::current()?.btime;
        Ok(Self {
            cpu: ticks(stat.utime + stat.stime),
            resident: stat.rss_bytes().get(),
            started: SystemTime::UNIX_EPOCH + Duration::from_secs(booted) + ticks(stat.starttime),
            open_files: process.fd_count()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_process() {
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        let process = Process::now().unwrap();
        drop(file);
        assert!(process.resident > 1 << 20, "{process:?}");
        assert!((4..10_000).contains(&process.open_files), "{process:?}");
        assert!(process.cpu < Duration::from_secs(3600), "{process:?}");
        let age = SystemTime::now().duration_since(process.started).unwrap_or_default();
        assert!(age < Duration::from_secs(3600), "{process:?}");
    }
}
