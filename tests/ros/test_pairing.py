"""Colour finds its depth, whatever the order, the rate and the clock."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tosa_ros.ros.pairing import BUFFERED_IMAGES, Pair, Pairing

MS = 1_000_000
S = 1_000_000_000


def test_either_may_come_first():
    pairing = Pairing(0.02, 1.0)
    assert pairing.add_colour(100 * MS, 'c0', 0.0) is None
    assert pairing.add_depth(105 * MS, 'd0', 0.01) == ('c0', 'd0')
    assert pairing.add_depth(200 * MS, 'd1', 0.1) is None
    assert pairing.add_colour(190 * MS, 'c1', 0.11) == ('c1', 'd1')


def test_depth_outside_the_slop_is_not_taken():
    pairing = Pairing(0.02, 1.0)
    pairing.add_colour(100 * MS, 'c0', 0.0)
    assert pairing.add_depth(121 * MS, 'd0', 0.0) is None
    assert pairing.add_depth(120 * MS, 'd1', 0.0) == ('c0', 'd1')


def test_the_nearest_depth_wins():
    pairing = Pairing(0.05, 1.0)
    for stamp, name in ((60, 'far'), (95, 'near'), (140, 'later')):
        pairing.add_depth(stamp * MS, name, 0.0)
    assert pairing.add_colour(100 * MS, 'c', 0.0) == ('c', 'near')


def play(pairing, *streams):
    """Feeds (arrival ms, 'c' or 'd', stamp ms) in the order of arrival; the pairs of stamps."""
    events = sorted(event for stream in streams for event in stream)
    found = []
    for arrival, kind, stamp in events:
        add = pairing.add_colour if kind == 'c' else pairing.add_depth
        pair = add(stamp * MS, stamp, arrival / 1e3)
        found += [tuple(pair)] if pair else []
    return found


@pytest.mark.parametrize('colour_first', [True, False])
def test_colour_never_takes_its_neighbour_s_depth(colour_first):
    late = 5 if colour_first else -5
    colours = [(33 * i, 'c', 33 * i) for i in range(30)]
    # Under a load one colour image is lost: its depth must not serve the next one.
    kept = [one for one in colours if one[2] != 330]
    depths = [(33 * i + late, 'd', 33 * i) for i in range(30)]
    found = play(Pairing(0.05, 1.0), kept, depths)
    assert found[1:] == [(c[2], c[2]) for c in kept[1:]]


def test_depth_at_a_third_of_the_rate_serves_the_colour_it_was_made_of():
    colours = [(33 * i, 'c', 33 * i) for i in range(60)]
    depths = [(99 * i + 20, 'd', 99 * i) for i in range(20)]
    assert play(Pairing(0.05, 1.0), colours, depths) == [(99 * i, 99 * i) for i in range(20)]


@pytest.mark.parametrize('shift', [5, 16, 28, 33])
def test_streams_that_run_free_of_one_another_pair_nearest(shift):
    colours = [(66 * i, 'c', 66 * i) for i in range(40)]
    depths = [(66 * i + shift, 'd', 66 * i + shift) for i in range(40)]
    found = play(Pairing(0.05, 1.0), colours, depths)
    # The first may have met no nearer one; from then on all are nearest, and none is left out.
    assert len(found) >= 38
    assert all(abs(colour - depth) <= min(shift, 66 - shift) for colour, depth in found[2:])


def test_the_next_depth_is_not_awaited_when_it_cannot_be_nearer():
    pairing = Pairing(0.05, 1.0)
    for stamp in (0, 66, 132):
        pairing.add_depth(stamp * MS, stamp, 0.0)
    assert pairing.add_colour(160 * MS, 160, 0.0) == (160, 132)
    pairing.add_depth(198 * MS, 198, 0.0)
    # 40 ms after the last, 26 ms before the next.
    assert pairing.add_colour(238 * MS, 238, 0.0) is None
    assert pairing.add_depth(264 * MS, 264, 0.0) == (238, 264)


def test_depth_that_ends_does_not_hold_colour_for_longer_than_the_timeout():
    pairing = Pairing(0.05, 1.0)
    for stamp in (0, 66):
        pairing.add_depth(stamp * MS, stamp, 0.0)
    assert pairing.add_colour(106 * MS, 106, 0.1) is None
    assert pairing.add_colour(1206 * MS, 1206, 1.2) == (1206, None)


def test_a_slow_estimator_meets_the_colour_it_was_given():
    pairing = Pairing(0.0, 1.0)
    for index in range(20):
        assert pairing.add_colour(index * 33 * MS, f'c{index}', index * 0.033) is None
    assert pairing.add_depth(3 * 33 * MS, 'd3', 0.66) == ('c3', 'd3')
    assert pairing.add_depth(2 * 33 * MS, 'd2', 0.67) is None  # older than what went out


def test_without_depth_colour_goes_alone_after_the_timeout_and_says_why():
    pairing = Pairing(0.02, 1.0)
    assert pairing.add_colour(0, 'c0', 10.0) is None
    assert pairing.trouble(10.9) == ''
    assert pairing.add_colour(1100 * MS, 'c1', 11.1) == ('c1', None)
    assert 'no depth for 1 s' in pairing.trouble(11.1)
    # Depth is back: the next colour waits for it again.
    assert pairing.add_depth(1200 * MS, 'd2', 11.2) is None
    assert pairing.add_colour(1200 * MS, 'c2', 11.21) == ('c2', 'd2')
    assert pairing.trouble(11.22) == ''
    assert pairing.add_colour(1300 * MS, 'c3', 11.3) is None


def test_depth_that_comes_back_just_after_its_colour_is_met_again():
    pairing = Pairing(0.02, 1.0)
    met = []
    for index in range(60):
        now, stamp = index * 0.1, index * 100 * MS
        met.append(pairing.add_colour(stamp, index, now))
        if index > 30:
            met.append(pairing.add_depth(stamp, index, now + 0.01))
    assert (30, None) in met
    assert (31, None) in met
    assert [pair for pair in met if pair and pair.colour > 31] == [(i, i) for i in range(32, 60)]


def test_colour_slower_than_the_timeout_waits_for_its_own_depth():
    pairing = Pairing(0.02, 1.0)
    for index in range(5):
        now, stamp = 2.0 * index, 2000 * index * MS
        assert pairing.add_colour(stamp, index, now) is None
        assert pairing.trouble(now) == ''
        assert pairing.add_depth(stamp, index, now + 0.5) == (index, index)
        assert pairing.trouble(now + 1.9) == ''


def test_slow_colour_without_depth_goes_alone():
    pairing = Pairing(0.02, 1.0)
    assert [pairing.add_colour(2000 * i * MS, i, 2.0 * i) for i in range(4)] == [
        None, (1, None), (2, None), (3, None),
    ]  # fmt: skip
    assert 'no depth for 1 s' in pairing.trouble(6.0)
    # Depth is back after its colour, and the next colour waits for it.
    assert pairing.add_depth(6000 * MS, 3, 6.1) is None
    assert pairing.add_colour(8000 * MS, 4, 8.0) is None
    assert pairing.add_depth(8000 * MS, 4, 8.1) == (4, 4)


def test_a_long_timeout_waits_for_late_depth():
    pairing, rate, met = Pairing(0.0, 10.0), 30, []
    stamps = [index * S // rate for index in range(20 * rate)]
    seen = 0
    for index, stamp in enumerate(stamps):
        met.append(pairing.add_colour(stamp, stamp, index / rate))
        if index == seen + 3 * rate:
            met.append(pairing.add_depth(stamps[seen], stamps[seen], index / rate))
            seen = index
    pairs = [pair for pair in met if pair]
    assert len(pairs) == 6
    assert all(pair.colour == pair.depth for pair in pairs)


def test_depth_with_foreign_stamps_does_not_silence_colour():
    pairing = Pairing(0.02, 1.0)
    emitted = []
    for index in range(40):
        now = index * 0.1
        pairing.add_depth(900 * S + index * 100 * MS, 'd', now)
        emitted.append(pairing.add_colour(index * 100 * MS, f'c{index}', now))
    assert emitted[5] is None
    assert emitted[39] == ('c39', None)
    assert 'depth arrives, but none within 0.02 s' in pairing.trouble(3.95)


def test_a_jump_back_forgets_and_goes_on():
    pairing = Pairing(0.02, 1.0)
    for loop, index in itertools.product(range(3), range(10)):
        now = loop + index * 0.1
        pairing.add_colour(index * 200 * MS, (loop, index), now)
        pair = pairing.add_depth(index * 200 * MS, (loop, index), now)
        assert pair == ((loop, index), (loop, index))


def test_small_disorder_is_not_a_jump():
    pairing = Pairing(0.02, 1.0)
    for stamp in (0, 66, 33, 100):
        pairing.add_colour(stamp * MS, stamp, 0.0)
    assert pairing.add_depth(66 * MS, 'd', 0.0) == (66, 'd')
    assert pairing.add_colour(50 * MS, 'late', 0.0) is None


def test_one_absurd_stamp_is_survived():
    pairing = Pairing(0.02, 1.0)
    pairing.add_colour(4_000_000_000 * S, 'absurd', 0.0)
    pairing.add_depth(0, 'd0', 0.0)
    pairing.add_colour(0, 'c0', 0.0)  # a jump back: all is forgotten
    pairing.add_depth(33 * MS, 'd1', 0.0)
    assert pairing.add_colour(33 * MS, 'c1', 0.0) == ('c1', 'd1')


def test_zero_stamps_match_one_another():
    pairing = Pairing(0.02, 1.0)
    pairs = []
    for index in range(5):
        pairs += [pairing.add_colour(0, index, 0.0), pairing.add_depth(0, index, 0.0)]
    assert [pair.colour for pair in pairs if pair] == [0, 1, 2, 3, 4]


def test_colour_alone_is_not_held_when_depth_is_not_wanted():
    pairing = Pairing(0.02, 1.0, use_depth=False)
    assert pairing.add_colour(5, 'c', 0.0) == Pair('c', None)
    assert pairing.trouble(100.0) == ''


@given(st.lists(st.tuples(st.booleans(), st.integers(-(10**10), 10**10)), max_size=200))
@settings(max_examples=60, deadline=None)
def test_memory_is_bounded_and_frames_go_out_in_order(events):
    last = None

    class Noticing(Pairing):
        def _set_back(self):
            nonlocal last
            last = None  # After a jump back in time, order begins anew.
            super()._set_back()

    pairing = Noticing(0.02, 1.0)
    for count, (is_colour, stamp) in enumerate(events):
        add = pairing.add_colour if is_colour else pairing.add_depth
        pair = add(stamp, stamp, count * 0.03)
        if pair is not None:
            assert last is None or pair.colour >= last
            last = pair.colour
            if pair.depth is not None:
                assert abs(pair.depth - pair.colour) <= 0.02 * S
        assert all(len(images) <= BUFFERED_IMAGES for images in pairing._images.values())
