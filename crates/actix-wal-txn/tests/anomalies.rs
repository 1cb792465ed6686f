//! Guards P25: the anomalies of Adya's thesis (*Weak Consistency*, MIT 1999) and of Martin Kleppmann's hermitage
//! (<https://github.com/ept/hermitage>), each as a schedule that would show it. Both levels, and three ways to send
//! transactions: interactive ones, whole ones, and both at once. Snapshot isolation has to let write skew commit; serializable
//! transactions must not.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

mod anomalies {
    pub(crate) mod schedule;
}
use actix_wal_txn::workspace::Isolation;
use anomalies::schedule::{play, play_at};

// G0: the writes of two transactions interleave.

#[actix::test]
async fn p25_g0_writes_of_two_interactive_transactions_do_not_interleave() {
    play(
        "start: w(x)=10; w(y)=20
         T1: begin; w(x)=11
         T2: begin; w(x)=12
         T1: w(y)=21; commit
         E3: r(x)=11; r(y)=21
         T2: w(y)=22; commit -> write conflict
         E4: r(x)=11; r(y)=21",
    )
    .await;
}

#[actix::test]
async fn p25_g0_whole_transactions_become_visible_one_by_one_as_they_become_durable() {
    play(
        "start: w(x)=10; w(y)=20
         E1: w(x)=11; w(y)=21; waits
         E2: w(y)=22; w(x)=12; waits
         T3: begin; r(x)=10; r(y)=20; commit
         disk: syncs 1
         E1: -> ok
         T4: begin; r(x)=11; r(y)=21; commit
         disk: syncs
         E2: -> ok
         T5: begin; r(x)=12; r(y)=22; commit",
    )
    .await;
}

#[actix::test]
async fn p25_g0_an_interactive_transaction_does_not_write_over_a_whole_one() {
    play(
        "start: w(x)=10; w(y)=20
         T1: begin; w(x)=11
         E2: w(x)=12; w(y)=22
         T1: w(y)=21; commit -> write conflict
         E3: r(x)=12; r(y)=22",
    )
    .await;
}

// G1a: a write is read whose transaction aborts.

#[actix::test]
async fn p25_g1a_an_aborted_write_of_an_interactive_transaction_is_seen_by_no_other() {
    play(
        "start: w(x)=10
         T1: begin; w(x)=101; r(x)=101
         T2: begin; r(x)=10
         E3: r(x)=10
         T1: abort
         T2: r(x)=10; w(x)=11; commit
         E4: r(x)=11",
    )
    .await;
}

#[actix::test]
async fn p25_g1a_an_aborted_write_of_a_whole_transaction_is_seen_by_no_other() {
    play(
        "start: w(x)=10
         T1: begin
         E2: w(x)=101; r(x)=101; abort -> aborted
         E3: r(x)=10
         T1: r(x)=10; w(x)=11; commit",
    )
    .await;
}

#[actix::test]
async fn p25_g1a_a_write_whose_batch_fails_is_seen_by_no_other_and_those_that_built_on_it_fail() {
    play(
        "start: w(x)=10; w(y)=20
         E1: w(x)=101; waits
         E2: r(x)=101; w(y)=102; waits
         E3: r(y)=102; waits
         E4: r(x)=101; abort; waits
         T5: begin; r(x)=10; r(y)=20
         disk: fails
         E1: -> not durable
         E2: -> not durable
         E3: -> saw failed
         E4: -> saw failed
         E6: r(x)=10; r(y)=20
         T5: r(x)=10; w(y)=21; commit; waits
         disk: syncs
         T5: -> ok
         E7: r(x)=10; r(y)=21",
    )
    .await;
}

#[actix::test]
async fn p25_g1a_an_interactive_commit_whose_batch_fails_is_seen_by_no_other() {
    play(
        "start: w(x)=10
         T1: begin; w(x)=101; w(z)=102; commit; waits
         T2: begin; r(x)=10; r(a-z)=x:10
         E3: r(a-z)=x:101 z:102; waits
         disk: fails
         T1: -> not durable
         E3: -> saw failed
         E4: r(a-z)=x:10
         T2: r(x)=10; commit",
    )
    .await;
}

#[actix::test]
async fn p25_g1a_what_was_put_in_after_a_failure_is_not_taken_out_with_it() {
    play(
        "start: w(x)=10
         E1: w(x)=101; w(y)=102; waits
         disk: fails
         E1: -> not durable
         E2: r(x)=10; w(x)=11; waits
         disk: syncs
         E2: -> ok
         E3: r(x)=11; r(y)=none",
    )
    .await;
}

// G1b: a value is read that its transaction overwrites later.

#[actix::test]
async fn p25_g1b_an_intermediate_value_of_an_interactive_transaction_is_seen_by_no_other() {
    play(
        "start: w(x)=10
         T1: begin; w(x)=101
         T2: begin; r(x)=10
         E3: r(x)=10
         T1: w(x)=11; commit
         T2: r(x)=10; commit
         E4: r(x)=11",
    )
    .await;
}

#[actix::test]
async fn p25_g1b_an_intermediate_value_of_a_whole_transaction_is_seen_by_no_other() {
    play(
        "start: w(x)=10
         E1: w(x)=101; r(x)=101; w(x)=11; waits
         E2: r(x)=11; waits
         T3: begin; r(x)=10; commit
         disk: syncs
         E1: -> ok
         E2: -> ok
         T4: begin; r(x)=11; commit",
    )
    .await;
}

// G1c: two transactions see the writes of each other.

#[actix::test]
async fn p25_g1c_two_interactive_transactions_do_not_see_the_writes_of_each_other() {
    // That neither sees the other is write skew.
    play(
        "start: w(x)=10; w(y)=20
         T1: begin; w(x)=11
         T2: begin; w(y)=22
         T1: r(y)=20
         T2: r(x)=10
         T1: commit
         T2: commit -> ok / read conflict",
    )
    .await;
}

#[actix::test]
async fn p25_g1c_of_two_whole_transactions_the_second_sees_the_first() {
    play(
        "start: w(x)=10; w(y)=20
         E1: w(x)=11; r(y)=20; waits
         E2: w(y)=22; r(x)=11; waits
         disk: syncs
         E1: -> ok
         E2: -> ok",
    )
    .await;
}

#[actix::test]
async fn p25_g1c_a_whole_transaction_does_not_see_one_that_has_not_committed() {
    play(
        "start: w(x)=10; w(y)=20
         T1: begin; w(x)=11; r(y)=20
         E2: w(y)=22; r(x)=10
         T1: r(y)=20; commit -> ok / read conflict",
    )
    .await;
}

// OTV: of a transaction that was seen, a part vanishes.

#[actix::test]
async fn p25_otv_an_interactive_transaction_goes_on_to_see_all_of_what_it_has_seen() {
    play(
        "start: w(x)=10; w(y)=20
         T1: begin; w(x)=11; w(y)=19
         T2: begin; w(x)=12
         T1: commit
         T3: begin; r(x)=11
         T2: w(y)=18
         T3: r(y)=19
         T2: commit -> write conflict
         E4: w(x)=12; w(y)=18
         T3: r(y)=19; r(x)=11; commit",
    )
    .await;
}

#[actix::test]
async fn p25_otv_a_snapshot_between_two_syncs_has_all_of_the_first_transaction_and_nothing_of_the_second()
 {
    play(
        "start: w(x)=10; w(y)=20
         E1: w(x)=11; w(y)=19; waits
         E2: w(x)=12; w(y)=18; waits
         disk: syncs 1
         T3: begin; r(x)=11
         E4: r(y)=18; r(x)=12; waits
         disk: syncs
         T3: r(y)=19; r(x)=11; commit
         E1: -> ok
         E2: -> ok
         E4: -> ok",
    )
    .await;
}

// PMP: a range that is read twice has other rows the second time.

#[actix::test]
async fn p25_pmp_a_range_has_the_same_rows_when_it_is_read_again() {
    play(
        "start: w(k1)=10; w(k2)=20
         T1: begin; r(k0-k9)=k1:10 k2:20
         T2: begin; w(k3)=30; d(k1); commit
         E3: w(k4)=40
         T1: r(k0-k9)=k1:10 k2:20; commit",
    )
    .await;
}

#[actix::test]
async fn p25_pmp_a_row_that_two_transactions_have_found_is_written_by_one_of_them() {
    play(
        "start: w(k1)=10; w(k2)=20
         T1: begin; r(k0-k9)=k1:10 k2:20; w(k1)=20; w(k2)=30
         T2: begin; r(k0-k9)=k1:10 k2:20; d(k2)
         T1: commit
         T2: commit -> write conflict
         E3: r(k0-k9)=k1:20 k2:30",
    )
    .await;
}

#[actix::test]
async fn p25_pmp_a_whole_transaction_finds_all_rows_that_others_have_put_in_before_it() {
    play(
        "start: w(k1)=10; w(k2)=20
         T1: begin; r(k0-k9)=k1:10 k2:20
         E2: w(k3)=30; d(k1); waits
         E3: r(k0-k9)=k2:20 k3:30; d(k2); r(k0-k9)=k3:30; waits
         T1: r(k0-k9)=k1:10 k2:20; commit
         disk: syncs
         E2: -> ok
         E3: -> ok
         E4: r(k0-k9)=k3:30",
    )
    .await;
}

// P4: a change is lost under another one that did not see it.

#[actix::test]
async fn p25_p4_of_two_interactive_changes_of_one_value_the_second_is_refused() {
    play(
        "start: w(x)=10
         T1: begin; r(x)=10
         T2: begin; r(x)=10
         T1: w(x)=11
         T2: w(x)=11
         T1: commit
         T2: commit -> write conflict
         E3: r(x)=11",
    )
    .await;
}

#[actix::test]
async fn p25_p4_whole_changes_of_one_value_add_up_before_any_of_them_is_durable() {
    play(
        "start: w(x)=10
         E1: r(x)=10; w(x)=11; waits
         E2: r(x)=11; w(x)=12; waits
         E3: r(x)=12; waits
         disk: syncs
         E1: -> ok
         E2: -> ok
         E3: -> ok",
    )
    .await;
}

#[actix::test]
async fn p25_p4_an_interactive_change_is_refused_after_a_whole_one() {
    play(
        "start: w(x)=10
         T1: begin; r(x)=10
         E2: r(x)=10; w(x)=11
         T1: w(x)=11; commit -> write conflict
         E3: r(x)=11",
    )
    .await;
}

#[actix::test]
async fn p25_p4_an_interactive_change_is_refused_after_one_that_is_not_durable_yet() {
    // Also for one that has begun since: its snapshot lacks the change.
    play(
        "start: w(x)=10
         T1: begin; r(x)=10
         E2: r(x)=10; w(x)=11; waits
         T3: begin; r(x)=10; w(x)=12; commit -> write conflict
         T1: w(x)=11; commit -> write conflict
         disk: syncs
         E2: -> ok
         T4: begin; r(x)=11; w(x)=12; commit; waits
         disk: syncs
         T4: -> ok",
    )
    .await;
}

#[actix::test]
async fn p25_p4_a_deletion_is_a_change_too() {
    play(
        "start: w(x)=10
         T1: begin; r(x)=10; w(x)=11
         T2: begin; r(x)=10; d(x); commit
         T1: commit -> write conflict
         E3: r(x)=none",
    )
    .await;
}

// G-single: one transaction sees a part of another one.

#[actix::test]
async fn p25_g_single_an_interactive_transaction_sees_all_of_another_one_or_nothing() {
    play(
        "start: w(x)=10; w(y)=20
         T1: begin; r(x)=10
         T2: begin; r(x)=10; r(y)=20; w(x)=12; w(y)=18; commit
         T1: r(y)=20; commit",
    )
    .await;
}

#[actix::test]
async fn p25_g_single_one_that_has_seen_what_was_before_does_not_write_over_what_is_now() {
    play(
        "start: w(x)=10; w(y)=20
         T1: begin; r(x)=10
         E2: r(x)=10; r(y)=20; w(x)=12; w(y)=18
         T1: r(y)=20; d(y); commit -> write conflict
         E3: r(x)=12; r(y)=18",
    )
    .await;
}

#[actix::test]
async fn p25_g_single_a_range_and_a_key_are_read_from_one_snapshot() {
    play(
        "start: w(k1)=10; w(k2)=20; w(sum)=30
         T1: begin; r(k0-k9)=k1:10 k2:20
         E2: w(k3)=30; w(sum)=60
         T1: r(sum)=30; commit",
    )
    .await;
}

#[actix::test]
async fn p25_g_single_a_whole_transaction_sees_all_of_one_that_is_not_durable() {
    play(
        "start: w(x)=10; w(y)=20
         T1: begin; w(x)=12; w(y)=18; commit; waits
         E2: r(x)=12; r(y)=18; waits
         disk: syncs
         T1: -> ok
         E2: -> ok",
    )
    .await;
}

// G2-item: write skew on two keys.

#[actix::test]
async fn p25_g2_item_write_skew_commits_under_snapshot_isolation_and_not_when_serializable() {
    play(
        "start: w(x)=10; w(y)=20
         T1: begin; r(x)=10; r(y)=20
         T2: begin; r(x)=10; r(y)=20
         T1: w(x)=11
         T2: w(y)=21
         T1: commit
         T2: commit -> ok / read conflict",
    )
    .await;
}

#[actix::test]
async fn p25_g2_item_write_skew_with_a_whole_transaction_is_refused_when_serializable() {
    play(
        "start: w(x)=10; w(y)=20
         T1: begin; r(x)=10; r(y)=20; w(x)=11
         E2: r(x)=10; r(y)=20; w(y)=21
         T1: commit -> ok / read conflict",
    )
    .await;
}

#[actix::test]
async fn p25_g2_item_write_skew_with_one_that_is_not_durable_is_refused_when_serializable() {
    play_at(
        Isolation::Serializable,
        "start: w(x)=10; w(y)=20
         E1: r(x)=10; r(y)=20; w(y)=21; waits
         T2: begin; r(x)=10; r(y)=20; w(x)=11; commit -> read conflict
         disk: syncs
         E1: -> ok",
    )
    .await;
    play_at(
        Isolation::Snapshot,
        "start: w(x)=10; w(y)=20
         E1: r(x)=10; r(y)=20; w(y)=21; waits
         T2: begin; r(x)=10; r(y)=20; w(x)=11; commit; waits
         disk: syncs
         E1: -> ok
         T2: -> ok",
    )
    .await;
}

#[actix::test]
async fn p25_g2_item_whole_transactions_have_no_write_skew_at_either_level() {
    play(
        "start: w(x)=10; w(y)=20
         E1: r(x)=10; r(y)=20; w(x)=11; waits
         E2: r(x)=11; r(y)=20; w(y)=21; waits
         disk: syncs
         E1: -> ok
         E2: -> ok",
    )
    .await;
}

#[actix::test]
async fn p25_g2_item_an_untracked_read_lets_write_skew_commit_when_serializable_too() {
    play(
        "start: w(x)=10; w(y)=20
         T1: begin; r(x)=10; u(y)=20; w(x)=11
         T2: begin; u(x)=10; r(y)=20; w(y)=21
         T1: commit
         T2: commit",
    )
    .await;
}

// G2: write skew on ranges.

#[actix::test]
async fn p25_g2_a_row_that_appears_in_a_range_is_a_conflict_only_when_serializable() {
    play(
        "start: w(k1)=10; w(k2)=20
         T1: begin; r(k3-k9)=none
         T2: begin; r(k3-k9)=none
         T1: w(k3)=30
         T2: w(k4)=42
         T1: commit
         T2: commit -> ok / range conflict",
    )
    .await;
}

#[actix::test]
async fn p25_g2_a_row_that_vanishes_from_a_range_is_a_conflict_only_when_serializable() {
    play(
        "start: w(k1)=10; w(k2)=20
         T1: begin; r(k0-k9)=k1:10 k2:20; w(sum)=30
         E2: d(k2)
         T1: commit -> ok / range conflict",
    )
    .await;
}

#[actix::test]
async fn p25_g2_a_row_of_a_whole_transaction_is_a_conflict_only_when_serializable() {
    play(
        "start: w(k1)=10
         T1: begin; r(k0-k9)=k1:10; w(m1)=1
         E2: r(m0-m9)=none; w(k2)=20
         T1: commit -> ok / range conflict",
    )
    .await;
}

#[actix::test]
async fn p25_g2_a_row_that_appeared_between_the_snapshot_and_the_read_is_a_conflict_too() {
    play(
        "start: w(k1)=10
         T1: begin; w(m1)=1
         T2: begin; w(k2)=20; r(m0-m9)=none; commit
         T1: r(k0-k9)=k1:10; commit -> ok / range conflict",
    )
    .await;
}

#[actix::test]
async fn p25_g2_a_reader_between_two_writers_does_not_see_an_order_that_there_is_not() {
    // The anomaly of the reader: Fekete, O'Neil and O'Neil, SIGMOD Record 2004.
    play(
        "start: w(k1)=10; w(k2)=20
         T1: begin; r(k0-k9)=k1:10 k2:20
         T2: begin; r(k2)=20; w(k2)=25; commit
         T3: begin; r(k0-k9)=k1:10 k2:25; commit
         T1: w(k1)=0; commit -> ok / range conflict",
    )
    .await;
}

#[actix::test]
async fn p25_g2_whole_transactions_have_no_write_skew_on_ranges_at_either_level() {
    play(
        "start: w(k1)=10
         E1: r(k3-k9)=none; w(k3)=30; waits
         E2: r(k3-k9)=k3:30; w(k4)=42; waits
         disk: syncs
         E1: -> ok
         E2: -> ok",
    )
    .await;
}

#[actix::test]
async fn p25_what_one_reads_of_its_own_writes_or_writes_nowhere_near_is_no_conflict() {
    // A check that refuses everything would pass the others.
    play(
        "start: w(x)=10; w(y)=20; w(k1)=1
         T1: begin; r(k0-k9)=k1:1; r(x)=10; w(x)=11; r(x)=11
         E2: w(y)=21; w(l1)=1
         T3: begin; r(y)=21; w(y)=22
         T1: commit
         T3: commit
         E4: r(x)=11; r(y)=22",
    )
    .await;
}
