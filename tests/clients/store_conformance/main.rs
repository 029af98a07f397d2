//! What every store must do, against every etcd: 3.4 by its v2 keys API, 3.4 and
//! 3.6 by their v3 API, each alone and as a cluster of three; and against the store in
//! memory.
//!
//! A column of the matrix is one test, which starts its etcd once and goes through
//! all behaviours, each in a domain of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test is to panic")]

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

use fixture::{Bed, Field, Size};
use support::etcd::Release;

/// Goes through all behaviours, also after one failed.
async fn hold(api: Api, release: Release, size: Size) {
    let Some(bed) = Bed::start(api, release, size) else { return };
    let failed = failures(&bed).await;
    assert!(failed.is_empty(), "{api} of {release:?}, {size:?}: failed: {failed:?}");
}

async fn failures(bed: &Bed) -> Vec<&'static str> {
    let mut failed = Vec::new();
    macro_rules! each {
        ($($module:ident::$behaviour:ident),+ $(,)?) => {
            $(
                println!("{}", stringify!($behaviour));
                let field = Field::new(bed, stringify!($behaviour));
                if AssertUnwindSafe($module::$behaviour(&field)).catch_unwind().await.is_err() {
                    failed.push(stringify!($behaviour));
                }
            )+
        };
    }
    each! {
        behaviours::creates_where_nothing_is,
        behaviours::swaps_by_value_and_by_version,
        behaviours::deletes_what_is_as_expected_and_nothing_else,
        behaviours::reads_what_is_there_and_what_ends_it,
        behaviours::leaves_static_entries_and_others_records_alone,
        behaviours::a_name_above_or_below_another_is_blocked_with_the_reason,
        behaviours::names_in_each_others_way_are_never_both_put,
        behaviours::a_batch_of_a_thousand_goes_on_past_what_fails,
        behaviours::carries_odd_keys_and_values_to_the_letter,
        changes::a_watch_sees_all_changes_in_the_domain,
        changes::a_watch_sees_what_expires,
        racing::two_that_want_one_name_never_overwrite_each_other,
    }
    if bed.has_leases() {
        each! {
            leases::guards_by_lease,
            leases::a_lost_lease_is_said_and_nothing_is_written,
            leases::a_lease_is_granted_once_and_found_again,
            leases::finds_what_hangs_on_a_lease,
            leases::keeps_all_records_alive_at_once,
        }
    }
    failed
}

#[actix_rt::test]
async fn in_memory() {
    let failed = failures(&Bed::Memory).await;
    assert!(failed.is_empty(), "in memory: failed: {failed:?}");
}

#[actix_rt::test]
async fn etcd_3_4_by_v2_alone() {
    hold(Api::V2, Release::V3_4, Size::Alone).await;
}

#[actix_rt::test]
async fn etcd_3_4_by_v2_three_members() {
    hold(Api::V2, Release::V3_4, Size::Three).await;
}

#[actix_rt::test]
async fn etcd_3_4_by_v3_alone() {
    hold(Api::V3, Release::V3_4, Size::Alone).await;
}

#[actix_rt::test]
async fn etcd_3_4_by_v3_three_members() {
    hold(Api::V3, Release::V3_4, Size::Three).await;
}

#[actix_rt::test]
async fn etcd_3_6_by_v3_alone() {
    hold(Api::V3, Release::V3_6, Size::Alone).await;
}

#[actix_rt::test]
async fn etcd_3_6_by_v3_three_members() {
    hold(Api::V3, Release::V3_6, Size::Three).await;
}
