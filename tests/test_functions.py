import math

import numpy as np
import pytest

from fastgrad.functions import class_numbers, cross_entropy_error, sigmoid, softmax


def test_sigmoid_at_the_ends_without_a_warning():
    # Warnings are errors in this test run.
    assert sigmoid(np.array([-1000.0, 1000.0])).tolist() == [0.0, 1.0]
    assert sigmoid(np.float32(-1000)) == 0


@pytest.mark.parametrize("value", [-30.0, -1.5, 0.0, 2.0, 30.0])
def test_sigmoid_is_the_logistic_function(value):
    assert float(sigmoid(value)) == pytest.approx(1 / (1 + math.exp(-value)), rel=1e-15)


def test_softmax_of_a_row_and_of_a_batch(rng):
    scores = rng.standard_normal((3, 5))
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softmax(scores), expected, rtol=1e-14)
    np.testing.assert_allclose(softmax(scores[1]), expected[1], rtol=1e-14)


def test_softmax_of_large_scores_does_not_overflow():
    assert softmax(np.array([1000.0, 1000.0, -1000.0])).tolist() == [0.5, 0.5, 0.0]


def test_cross_entropy_has_the_book_s_tiny_number():
    assert cross_entropy_error([0.0, 1.0], 0) == pytest.approx(-math.log(1e-7), rel=1e-15)
    assert cross_entropy_error([0.25, 0.75], 1) == pytest.approx(-math.log(0.7500001), rel=1e-15)


def test_cross_entropy_is_the_mean_over_the_batch():
    y = np.array([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5]])
    expected = -(math.log(0.9 + 1e-7) + math.log(0.2 + 1e-7) + math.log(0.5 + 1e-7)) / 3
    assert cross_entropy_error(y, np.array([1, 1, 0])) == pytest.approx(expected, rel=1e-14)
    assert cross_entropy_error(y, np.eye(2)[[1, 1, 0]]) == cross_entropy_error(y, [1, 1, 0])


def test_as_many_samples_as_classes_are_told_apart_by_axes():
    # The book's own routine goes by size, and takes these three numbers for a one-hot row.
    assert class_numbers([2, 0, 1], 3, 3).tolist() == [2, 0, 1]
    assert class_numbers([[0, 0, 1], [1, 0, 0], [0, 1, 0]], 3, 3).tolist() == [2, 0, 1]


@pytest.mark.parametrize("t", [2, [2], [0, 0, 1], [[0, 0, 1]], np.uint8(2)])
def test_one_sample_in_every_form(t):
    assert class_numbers(t, 1, 3).tolist() == [2]


@pytest.mark.parametrize(
    ("t", "error", "words"),
    [
        ([0, 3], ValueError, "from 0 to 2, got 3 for sample 1"),
        ([-1, 0], ValueError, "from 0 to 2, got -1 for sample 0"),
        ([0, 1, 2], ValueError, r"shape \(2,\) or one-hot labels of shape \(2, 3\)"),
        ([[0, 1], [1, 0]], ValueError, "shape"),
        ([[0, 1, 1], [1, 0, 0]], ValueError, "one-hot.*row 0"),
        ([[0, 1, 0], [0.5, 0.5, 0]], ValueError, "one-hot.*row 1"),
        ([[0, 1, 0], [0, 0, 0]], ValueError, "one-hot.*row 1"),
        ([[0, 1, 0], [1, math.nan, 0]], ValueError, "one-hot.*row 1"),
        ([0.0, 1.0], TypeError, "integer class numbers, got dtype float64"),
        (["a", "b"], TypeError, "integer class numbers"),
        ([[0, 1], [1]], ValueError, "t must be an array of numbers, got .* rows differ in length"),
        (None, ValueError, r"shape \(2,\) or one-hot .*got shape \(\)"),
        ([[0, 1, 0], ["a", "b", "c"]], ValueError, "one-hot.*row 0"),
    ],
)
def test_labels_that_do_not_fit(t, error, words):
    with pytest.raises(error, match=words):
        class_numbers(t, 2, 3)


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="at least one sample"):
        cross_entropy_error(np.empty((0, 3)), np.empty(0, int))
