"""The shard's clock moves forward only, and no further than every partition allows."""

from __future__ import annotations

from state.clock import IDLE_MS, PATIENCE_MS, QUIET_MS, TICK_GRACE_MS, ShardClock

T = 1_700_000_000_000


def test_the_slowest_partition_holds_the_clock() -> None:
    clock = ShardClock()
    clock.observe(0, T, T)
    clock.observe(1, T - 5_000, T)
    assert clock.advance(1_000) == T - 6_000


def test_a_partition_without_traffic_holds_nothing_up() -> None:
    clock = ShardClock()
    clock.observe(0, T - 60_000, T - 60_000)
    clock.observe(1, T, T - 60_000 + IDLE_MS + 1)
    assert clock.advance(0) == T - 60_000 + IDLE_MS + 1  # cut to its Kafka time
    clock.observe(0, T - 59_000, T)
    assert clock.advance(0) == T - 60_000 + IDLE_MS + 1


def test_one_wrong_producer_clock_does_not_drag_the_shard_forward() -> None:
    clock = ShardClock()
    clock.observe(0, T, T)
    clock.observe(0, T + 240_000, T + 1)
    assert clock.advance(0) == T + 1


def test_the_clock_never_goes_back_when_a_new_partition_appears() -> None:
    clock = ShardClock()
    clock.observe(0, T, T)
    assert clock.advance(0) == T
    clock.observe(1, T - 50_000, T)
    assert clock.advance(0) == T


def test_wall_clock_ticks_move_a_live_shard_only() -> None:
    live, replayed = ShardClock(), ShardClock()
    live.observe(0, T, T + 10)
    replayed.observe(0, T - 10**10, T)
    live.advance(0)
    replayed.advance(0)
    assert live.tick(T + 60_000, 1_000) == T + 60_000 - 1_000 - 2_000
    assert replayed.tick(T + 60_000, 1_000) == T - 10**10


def test_the_clock_survives_its_bytes() -> None:
    clock = ShardClock()
    clock.observe(0, T, T)
    clock.observe(3, T + 5, T + 6)
    clock.advance(100)
    assert ShardClock.decode(clock.encode()) == clock


def test_a_partition_with_a_backlog_holds_the_clock_however_far_another_was_read() -> None:
    clock = ShardClock()
    taken_in = T + 600_000  # a day that is replayed: its events are not of today
    clock.tick(taken_in + 3 * IDLE_MS, 0)
    clock.observe(0, T - 60_000, taken_in)
    clock.observe(1, T, taken_in + 2 * IDLE_MS)
    assert clock.advance(0) == T - 60_000
    clock.tick(taken_in + 3 * IDLE_MS + QUIET_MS - 1_000, 0)
    assert clock.advance(0) == T - 60_000
    clock.tick(taken_in + 3 * IDLE_MS + QUIET_MS, 0)  # nothing more came: it was read to its end
    assert clock.advance(0) == T


def test_the_wall_clock_moves_nothing_while_a_live_shard_has_a_backlog() -> None:
    clock = ShardClock()
    clock.tick(T + 90_000, 0)
    clock.observe(0, T, T)
    clock.advance(0)
    assert clock.tick(T + 90_200, 0) == T
    clock.observe(0, T + 89_000, T + 89_000)  # it has caught up
    assert clock.tick(T + 90_400, 0) == T + 89_000
    assert clock.tick(T + 91_400, 0) == T + 91_400 - 2_000


def test_after_a_restart_every_partition_is_waited_for() -> None:
    clock = ShardClock()
    clock.tick(T, 0)
    clock.observe(0, T, T)
    clock.observe(1, T, T)
    clock.advance(0)
    clock.resumed()
    clock.observe(1, T + 40_000, T + 40_000)
    assert clock.advance(0) == T
    assert clock.tick(T + 45_000, 0) == T
    clock.observe(1, T + 44_000, T + 44_000)
    clock.observe(0, T + 44_000, T + 44_000)
    assert clock.advance(0) == T + 44_000


def test_a_partition_of_which_nothing_is_known_yet_is_waited_for_from_the_start() -> None:
    clock = ShardClock()
    clock.resumed(2)
    clock.tick(T, 0)
    clock.observe(0, T - 60_000, T - 60_000)
    assert clock.advance(0) == 0
    clock.observe(1, T - 90_000, T - 90_000)
    assert clock.advance(0) == T - 90_000


def test_a_partition_without_any_record_holds_a_shard_up_only_until_silence_tells() -> None:
    clock = ShardClock()
    clock.resumed(2)
    clock.tick(T, 0)
    clock.observe(0, T, T)
    assert clock.tick(T + QUIET_MS - 200, 0) == 0
    assert clock.tick(T + QUIET_MS, 0) == T + QUIET_MS - TICK_GRACE_MS


def test_a_worker_that_stood_still_does_not_take_what_it_has_not_read_for_silence() -> None:
    clock = ShardClock()
    clock.tick(T, 0)
    clock.observe(0, T, T)
    clock.observe(1, T, T)
    clock.advance(0)
    assert clock.tick(T + 5_000, 0, late_ms=4_800) == T
    clock.observe(0, T + 5_000, T + 5_000)
    assert clock.tick(T + 5_200, 0) == T  # the other may have a backlog still
    clock.observe(1, T + 5_100, T + 5_100)
    assert clock.tick(T + 7_400, 0) == T + 5_400


def test_a_shard_that_never_catches_up_waits_a_minute_for_a_silent_partition() -> None:
    clock = ShardClock()
    clock.tick(T, 0)
    clock.observe(1, T - 50_000, T - 50_000)
    for second in range(PATIENCE_MS // 1_000 + 2):
        clock.tick(T + second * 1_000, 0)
        clock.observe(0, T + (second - 5) * 1_000, T + (second - 5) * 1_000)
        waits = second * 1_000 < PATIENCE_MS
        assert (clock.advance(0) == T - 50_000) == waits
