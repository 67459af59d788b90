import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastgrad.partition import balance, partition, taper


@given(st.integers(1, 500), st.integers(1, 40))
def test_blocks_cover_everything_once_and_evenly(items, blocks):
    ranges = partition(range(items), blocks)
    assert [i for block in ranges for i in block] == list(range(items))
    assert len(ranges) == min(items, blocks)
    lengths = {len(block) for block in ranges}
    assert min(lengths) >= 1
    assert max(lengths) - min(lengths) <= 1


sizes = st.integers(0, 500), st.integers(1, 9), st.integers(1, 40), st.integers(0, 100)


@given(*sizes)
def test_blocks_keep_within_their_limits(items, workers, least, more):
    ranges = taper(range(items), workers, least, 2 * least + more)
    assert [i for block in ranges for i in block] == list(range(items))
    lengths = [len(block) for block in ranges]
    assert all(min(least, items) <= length <= 2 * least + more for length in lengths)


@given(*sizes)
def test_workers_of_one_speed_finish_together(items, workers, least, more):
    lengths = [len(block) for block in taper(range(items), workers, least, 2 * least + more)]
    free = [0] * workers
    for length in lengths:
        free[free.index(min(free))] += length
    if items >= workers * least:
        # A share may be one item longer in each round.
        assert max(free) - min(free) <= -(-len(lengths) // workers)
        assert len(lengths) % workers == 0


weights = st.lists(st.floats(0, 1e6), min_size=2, max_size=200).filter(lambda w: sum(w) > 0)


@given(weights, st.integers(1, 9), st.integers(-50, 50))
def test_balanced_blocks_cover_everything_and_share_the_weight(weights, blocks, first):
    items = range(first, first + len(weights))
    even = partition(items, blocks)
    ranges = balance(even, np.array(weights))
    assert [i for block in ranges for i in block] == list(items)
    assert all(ranges)
    # No block is heavier than its share, but for the item at its end.
    share = max(len(block) for block in even) / len(items) * sum(weights)
    for block in ranges:
        assert sum(weights[i - first] for i in block) <= (share + max(weights)) * (1 + 1e-9)
