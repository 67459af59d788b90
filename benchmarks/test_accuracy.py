"""The accuracy on 60,000 images, float32, against the likeliest class of `predict` in float64."""

import numpy as np
import pytest

from benchmarks.claims import claim
from benchmarks.inputs import as_rows


@pytest.mark.benchmark(group="accuracy on 60,000 images")
@pytest.mark.parametrize("workers", [1, 2])
def test_accuracy_against_predict(benchmark, compare, net, digits_70000, workers):
    x, t = as_rows(digits_70000[0])[:60_000], digits_70000[1][:60_000]
    answers = set()
    ratio = compare(
        lambda: answers.add(net.accuracy(x, t, workers=workers)),
        lambda: answers.add(float(np.mean(np.argmax(net.predict(x), axis=1) == t))),
        "predict_over_ours",
        10,
        pause=0.2,
    )
    assert len(answers) == 1
    what = f"argmax of predict / accuracy, 60,000 images, {workers} worker{'s' * (workers > 1)}"
    claim(benchmark, what, ratio, "x", at_least=1.5 if workers == 2 else None)
