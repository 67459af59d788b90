from hypothesis import given
from hypothesis import strategies as st

from fastgrad._parallel.threads import partition


@given(st.integers(1, 500), st.integers(1, 40))
def test_blocks_cover_everything_once_and_evenly(items, blocks):
    ranges = partition(range(items), blocks)
    assert [i for block in ranges for i in block] == list(range(items))
    assert len(ranges) == min(items, blocks)
    lengths = {len(block) for block in ranges}
    assert min(lengths) >= 1
    assert max(lengths) - min(lengths) <= 1
