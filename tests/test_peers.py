"""What the tests of other packages ask; `benchmarks.peers` holds the cases."""

import pytest

pytest.importorskip("scipy")

from benchmarks.peers import CASES, excess


@pytest.mark.parametrize("way", ["default", "auto"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.source}: {case.test}")
@pytest.mark.filterwarnings("ignore")
def test_a_case_passes_unless_it_is_known_why_not(case, way):
    over, reason = excess(case, way), case.why if way == "default" else case.why_auto
    if over is not None:
        assert (over > 1) == bool(reason), f"error {over:.3g} times what is allowed; {reason}"
