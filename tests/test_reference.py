import numpy as np
import pytest

from fastgrad.reference import numerical_gradient


def test_it_is_the_central_difference_with_its_truncation_error():
    # For a cube the central difference is 3x² + h², exactly.
    grad = numerical_gradient(lambda x: np.sum(x**3), np.array([[1.0, 2.0]]), h=0.5)
    np.testing.assert_allclose(grad, [[3.25, 12.25]], rtol=1e-14)


def test_a_function_that_ignores_its_argument_sees_the_change_in_place():
    x = np.array([3.0, 4.0])
    grad = numerical_gradient(lambda _: x[0] * x[1], x)
    np.testing.assert_allclose(grad, [4.0, 3.0], atol=1e-10)


def test_the_number_of_evaluations():
    calls = []
    numerical_gradient(lambda x: calls.append(x.copy()) or 0.0, np.zeros((2, 3)))
    assert len(calls) == 12


def test_a_view_that_is_not_contiguous(rng):
    x = rng.standard_normal((4, 6))[::2, ::3]
    np.testing.assert_allclose(numerical_gradient(lambda x: np.sum(x**2), x), 2 * x, atol=1e-10)


@pytest.mark.parametrize("failing_call", [1, 2, 7])
def test_the_array_is_restored_when_f_raises(failing_call, rng):
    x = rng.standard_normal(5)
    before = x.copy()
    calls = []

    def f(x):
        calls.append(1)
        if len(calls) == failing_call:
            raise RuntimeError("f failed")
        return x.sum()

    with pytest.raises(RuntimeError, match="f failed"):
        numerical_gradient(f, x)
    assert x.tobytes() == before.tobytes()
