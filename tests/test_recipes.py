"""The programs of docs/recipes.md, run as they stand there."""

import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from tolerances import COMPLEX, MINIMUM, RELATIVE_STEP, SIX_POINT, TRUNCATION

matplotlib.use("agg")
pytest.importorskip("scipy")

TEXT = Path(__file__).parents[1].joinpath("docs", "recipes.md").read_text()
RECIPES = dict(re.findall(r"^## (.+?)\n.*?^```python\n(.*?)^```", TEXT, re.M | re.S))


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a recipe in an empty folder, and return its names."""
    monkeypatch.chdir(tmp_path)

    def run(title):
        # Not the name of a module: what the recipe defines is sent to workers by value.
        names, file = {"__name__": "recipe"}, tmp_path / "recipe.py"
        file.write_text(RECIPES[title])  # joblib.Memory reads the source of what it remembers
        exec(compile(RECIPES[title], str(file), "exec"), names)
        return names

    return run


def test_every_recipe_has_a_test():
    tested = set(re.findall(r'run\("(.+)"\)', Path(__file__).read_text()))
    assert len(RECIPES) == TEXT.count("```python") == TEXT.count("\n## ")
    assert tested == set(RECIPES)


def test_scipy(run):
    found = run("Minimise with SciPy")["found"]
    np.testing.assert_allclose(found.x, 1.0, atol=MINIMUM)
    assert found.success


def softmax_chain(w):
    """Return the gradient of log(sum(exp(sin(3 w))))."""
    weights = np.exp(np.sin(3 * w))
    return weights / weights.sum() * 3 * np.cos(3 * w)


def test_jax(run):
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    try:
        names = run("Check a gradient of JAX")
    finally:
        jax.config.update("jax_enable_x64", before)
    np.testing.assert_allclose(names["by_jax"], softmax_chain(names["w"]), atol=8 * COMPLEX)
    np.testing.assert_allclose(names["numerical"], softmax_chain(names["w"]), atol=SIX_POINT)


def test_torch(run):
    pytest.importorskip("torch")
    names = run("Check a gradient of PyTorch")
    np.testing.assert_allclose(names["by_torch"], softmax_chain(names["w"]), atol=8 * COMPLEX)
    np.testing.assert_allclose(names["numerical"], softmax_chain(names["w"]), atol=SIX_POINT)


def test_a_normal_distribution(run):
    names = run("Fit by maximum likelihood")
    np.testing.assert_allclose(names["mean"], names["data"].mean(), atol=MINIMUM)
    np.testing.assert_allclose(names["deviation"], names["data"].std(), atol=MINIMUM)


def test_logistic_regression(run):
    names = run("Logistic regression, exact to rounding")
    X, y = names["X"], names["y"]
    b = names["fit"].x
    for _ in range(5):  # Newton's method, by the textbook's formulas
        p = 1 / (1 + np.exp(-X @ b))
        b = b + np.linalg.solve(X.T @ (X * (p * (1 - p))[:, np.newaxis]), X.T @ (y - p))
    np.testing.assert_allclose(names["fit"].x, b, atol=MINIMUM)


@pytest.mark.usefixtures("always")
def test_a_simulation_on_two_processes(run):
    names = run("Differentiate a simulation in a program of its own")
    level, rate, inflow = names["parameters"]
    # level rate^10 + inflow (1 + rate + ... + rate^9), and its derivatives.
    powers = rate ** np.arange(10)
    by_rate = 10 * level * rate**9 + inflow * np.sum(np.arange(1, 10) * powers[:-1])
    np.testing.assert_allclose(
        names["gradient"], [rate**10, by_rate, powers.sum()], rtol=TRUNCATION
    )
    assert (names["info"].workers, names["info"].backend) == (2, "processes")


@pytest.mark.usefixtures("always")
def test_what_is_remembered_is_not_evaluated_again(run):
    names = run("Remember evaluations, and go on after a crash")
    np.testing.assert_allclose(names["gradient"], 3 * names["x"] ** 2, rtol=TRUNCATION)
    first = Path("runs.txt").read_text().splitlines()
    assert len(set(first)) == 10
    assert len(first) <= 11  # one point also tells that f does not read x from outside
    again = run("Remember evaluations, and go on after a crash")
    assert again["gradient"].tobytes() == names["gradient"].tobytes()
    assert Path("runs.txt").read_text().splitlines() == first


def test_steps(run):
    names = run("Choose the step")
    x, truth = names["x"], np.cos(1) * names["x"][::-1]  # of sin(x0 x1), where x0 x1 = 1
    np.testing.assert_allclose(names["exact"], truth, rtol=4 * COMPLEX)
    for way in ("relative", "each"):
        np.testing.assert_allclose(names[way], truth, rtol=RELATIVE_STEP)
    np.testing.assert_allclose(np.log10(names["sweep"].best / x), -5.3, atol=1.2)
    assert Path("step_sweep.png").stat().st_size > 10_000
