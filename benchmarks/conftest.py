"""What the benchmarks share: the article's network and batch, and a sample of the naive loop."""

import numpy as np
import pytest

from fastgrad import TwoLayerNet, load_mnist, reference

NAIVE_SAMPLE = 50


@pytest.fixture(scope="session")
def digits():
    """Return the embedded digits, (x_train, t_train), (x_test, t_test)."""
    return load_mnist()


@pytest.fixture(scope="session")
def batch(digits):
    """Return the article's batch: 100 digits."""
    (x, t), _ = digits
    return x[:100], t[:100]


@pytest.fixture(scope="session")
def net(digits):
    """Return the article's network, a little trained: at the start many values are alike."""
    (x, t), _ = digits
    rng = np.random.default_rng(0)
    net = TwoLayerNet(784, 50, 10, rng=rng)
    for _ in range(30):
        mask = rng.choice(len(x), 100)
        for name, grad in net.gradient(x[mask], t[mask]).items():
            net.params[name] -= grad
    return net


@pytest.fixture(scope="session")
def naive_sample(net, batch):
    """Return the nditer loop over one row of W1, and the factor to all parameters."""
    x, t = batch
    row = net.params["W1"][400:401, :NAIVE_SAMPLE]
    parameters = sum(array.size for array in net.params.values())
    return (
        lambda: reference.numerical_gradient(lambda _: net.loss(x, t), row),
        parameters / row.size,
    )
