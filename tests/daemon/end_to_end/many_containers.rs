//! Many containers at the same time.

use std::collections::HashSet;
use std::sync::Mutex;
use std::thread;

use crate::support::docker::Container;
use crate::{key, run_service_with, unique_name};

/// The number of containers that are started, stopped or removed in parallel.
const CONCURRENCY_MAX: usize = 4;

/// A service and its container.
pub struct Member {
    pub name: String,
    pub container: Container,
}

/// Containers that each declare a service.
pub struct ContainerGroup(pub Vec<Member>);

impl ContainerGroup {
    /// Starts this number of containers.
    pub fn start(count: usize) -> Self {
        Self::start_with_label(count, "")
    }

    /// Starts this number of containers, each with this label (empty: no label).
    pub fn start_with_label(count: usize, label: &str) -> Self {
        let names = (0..count).map(|_| unique_name("fleet")).collect();
        let label: &[&str] = if label.is_empty() { &[] } else { &["--label", label] };
        Self(run_concurrently(names, |name| Member {
            container: run_service_with(&name, label),
            name,
        }))
    }

    /// Stops this number of containers and removes them from the group. Returns their keys.
    pub fn stop(&mut self, count: usize) -> HashSet<String> {
        let stopped = self.0.drain(..count).collect();
        let names = run_concurrently(stopped, |member| {
            member.container.stop();
            member.name.clone()
        });
        names.iter().map(|name| key(name)).collect()
    }

    /// The expected keys.
    pub fn keys(&self) -> HashSet<String> {
        self.0.iter().map(|member| key(&member.name)).collect()
    }
}

impl Drop for ContainerGroup {
    fn drop(&mut self) {
        run_concurrently(std::mem::take(&mut self.0), drop);
    }
}

/// Does the same with all of them, a few at a time.
fn run_concurrently<T: Send, R: Send>(inputs: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let (inputs, done) = (Mutex::new(inputs), Mutex::new(Vec::new()));
    let next = || inputs.lock().unwrap().pop();
    thread::scope(|scope| {
        for _ in 0..CONCURRENCY_MAX {
            scope.spawn(|| {
                while let Some(item) = next() {
                    let result = work(item);
                    done.lock().unwrap().push(result);
                }
            });
        }
    });
    done.into_inner().unwrap()
}
