//! Many containers at a time.

use std::collections::HashSet;
use std::sync::Mutex;
use std::thread;

use crate::support::docker::Container;
use crate::{key, named, offering_with};

/// How many are started, stopped or removed at a time.
const AT_A_TIME: usize = 4;

/// A service and the container that offers it.
pub struct Member {
    pub name: String,
    pub container: Container,
}

/// Containers that each offer a service.
pub struct Fleet(pub Vec<Member>);

impl Fleet {
    /// Starts so many.
    pub fn start(count: usize) -> Self {
        Self::start_labelled(count, "")
    }

    /// Starts so many, each with this label (empty: with none).
    pub fn start_labelled(count: usize, label: &str) -> Self {
        let names = (0..count).map(|_| named("fleet")).collect();
        let label: &[&str] = if label.is_empty() { &[] } else { &["--label", label] };
        Self(side_by_side(names, |name| Member { container: offering_with(&name, label), name }))
    }

    /// Takes this many out, and stops them; gives the keys that were theirs.
    pub fn stop(&mut self, count: usize) -> HashSet<String> {
        let stopped = self.0.drain(..count).collect();
        let names = side_by_side(stopped, |member| {
            member.container.stop();
            member.name.clone()
        });
        names.iter().map(|name| key(name)).collect()
    }

    /// The keys that are to be.
    pub fn keys(&self) -> HashSet<String> {
        self.0.iter().map(|member| key(&member.name)).collect()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        side_by_side(std::mem::take(&mut self.0), drop);
    }
}

/// Does the same with all of them, a few at a time.
fn side_by_side<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let (items, done) = (Mutex::new(items), Mutex::new(Vec::new()));
    let next = || items.lock().unwrap().pop();
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
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
