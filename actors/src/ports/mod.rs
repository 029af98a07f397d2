//! The two traits to the outside: [`ContainerSource`](container_source::ContainerSource) and
//! [`RecordStore`](record_store::RecordStore). The daemon and the tests implement them.

pub mod container_source;
pub mod record_store;
