//! The requirements on every store, checked with etcd 3.4 by v2, with etcd 3.4 and 3.6 by v3,
//! each as a single member and as a cluster of three, and with the memory store.
//!
//! Each column of the matrix is one test. It starts its etcd once and checks all behaviours,
//! each in its own domain.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

mod behaviours;
mod changes;
mod fixture;
mod leases;
mod racing;
#[path = "../../support/mod.rs"]
mod support;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use highhock::etcd::Api;

use fixture::{ClusterSize, StoreUnderTest, TestDomain};
use support::etcd::Release;

/// Checks all behaviours, and continues after a failure.
async fn assert_conformance(api: Api, release: Release, size: ClusterSize) {
    let Some(target) = StoreUnderTest::start(api, release, size) else { return };
    let failed = failures(&target).await;
    assert!(failed.is_empty(), "{api} of {release:?}, {size:?}: failed: {failed:?}");
}

async fn failures(target: &StoreUnderTest) -> Vec<&'static str> {
    let mut failed = Vec::new();
    macro_rules! each {
        ($($module:ident::$case:ident),+ $(,)?) => {
            $(
                println!("{}", stringify!($case));
                let domain = TestDomain::new(target, stringify!($case));
                if AssertUnwindSafe($module::$case(&domain)).catch_unwind().await.is_err() {
                    failed.push(stringify!($case));
                }
            )+
        };
    }
    each! {
        behaviours::creates_an_absent_key,
        behaviours::swaps_by_value_and_by_version,
        behaviours::deletes_only_the_expected_record,
        behaviours::reads_value_and_expiry,
        behaviours::keeps_static_entries_and_foreign_records,
        behaviours::name_above_or_below_another_is_blocked,
        behaviours::conflicting_names_are_never_both_put,
        behaviours::large_batch_continues_past_failures,
        behaviours::preserves_unusual_keys_and_values,
        changes::watch_reports_all_changes_in_the_domain,
        changes::watch_reports_expired_records,
        racing::concurrent_writers_never_overwrite_each_other,
    }
    if target.has_leases() {
        each! {
            leases::precondition_checks_the_lease,
            leases::lost_lease_is_reported_without_writing,
            leases::lease_is_granted_once_and_listed,
            leases::lists_the_records_of_a_lease,
            leases::keep_alive_covers_all_records,
        }
    }
    failed
}

#[actix_rt::test]
async fn in_memory() {
    let failed = failures(&StoreUnderTest::Memory).await;
    assert!(failed.is_empty(), "in memory: failed: {failed:?}");
}

#[actix_rt::test]
async fn etcd_3_4_v2_single_member() {
    assert_conformance(Api::V2, Release::V3_4, ClusterSize::Single).await;
}

#[actix_rt::test]
async fn etcd_3_4_v2_three_members() {
    assert_conformance(Api::V2, Release::V3_4, ClusterSize::Three).await;
}

#[actix_rt::test]
async fn etcd_3_4_v3_single_member() {
    assert_conformance(Api::V3, Release::V3_4, ClusterSize::Single).await;
}

#[actix_rt::test]
async fn etcd_3_4_v3_three_members() {
    assert_conformance(Api::V3, Release::V3_4, ClusterSize::Three).await;
}

#[actix_rt::test]
async fn etcd_3_6_v3_single_member() {
    assert_conformance(Api::V3, Release::V3_6, ClusterSize::Single).await;
}

#[actix_rt::test]
async fn etcd_3_6_v3_three_members() {
    assert_conformance(Api::V3, Release::V3_6, ClusterSize::Three).await;
}
