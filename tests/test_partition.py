from hypothesis import given
from hypothesis import strategies as st

from fastgrad.partition import partition, taper


@given(st.integers(1, 500), st.integers(1, 40))
def test_blocks_cover_everything_once_and_evenly(items, blocks):
    ranges = partition(range(items), blocks)
    assert [i for block in ranges for i in block] == list(range(items))
    assert len(ranges) == min(items, blocks)
    lengths = {len(block) for block in ranges}
    assert min(lengths) >= 1
    assert max(lengths) - min(lengths) <= 1


@given(st.integers(0, 500), st.integers(1, 9), st.integers(1, 40), st.integers(0, 100))
def test_blocks_get_shorter_within_their_limits(items, workers, least, more):
    ranges = taper(range(items), workers, least, least + more)
    assert [i for block in ranges for i in block] == list(range(items))
    lengths = [len(block) for block in ranges]
    assert lengths == sorted(lengths, reverse=True)
    assert all(least <= length <= least + more for length in lengths[:-1])
    assert not lengths or 1 <= lengths[-1] <= least + more
