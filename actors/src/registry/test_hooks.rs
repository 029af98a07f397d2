//! Fault injection into the registry and its watchers.

use std::future::pending;

use actix::{AsyncContext, Handler, WrapFuture};

use super::Registry;
use crate::messages::{InjectHang, InjectPanic, InjectWatcherPanic};
use crate::ports::container_source::ContainerSource;
use crate::ports::record_store::RecordStore;

impl<S: ContainerSource, R: RecordStore> Handler<InjectHang> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, _: InjectHang, context: &mut Self::Context) {
        context.wait(pending().into_actor(self));
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<InjectPanic> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, _: InjectPanic, _: &mut Self::Context) {
        panic!("injected by a test");
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<InjectWatcherPanic> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, request: InjectWatcherPanic, _: &mut Self::Context) {
        let matching = self.entries.values().filter(|entry| entry.name == request.0);
        for watcher in matching.filter_map(|entry| entry.watcher.as_ref()) {
            watcher.do_send(InjectPanic);
        }
    }
}
