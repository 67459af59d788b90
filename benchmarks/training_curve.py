"""The curve that nobody waits for with the nditer loop: 16 epochs by numerical differentiation."""

from __future__ import annotations

import numpy as np

from fastgrad import TwoLayerNet, load_mnist
from fastgrad.plotting import plot_accuracy
from fastgrad.training import train

EPOCHS = 16
BATCH = 100
NAMES = {"mnist-5k": "MNIST-5k", "mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}


def figure(dataset, data_dir):
    """Train the article's network on a data set of `load_mnist`, and draw its accuracies."""
    data = load_mnist(dataset=dataset, data_dir=data_dir)
    train_size, test_size = (len(x) for x, _ in data)
    net = TwoLayerNet(784, 50, 10, rng=np.random.default_rng(0))
    epoch = train_size // BATCH
    history = train(
        net,
        data,
        iterations=EPOCHS * epoch,
        batch_size=BATCH,
        eval_every=epoch,
        workers=-1,
        rng=np.random.default_rng(1),
    )
    title = (
        f"{NAMES[dataset]}: {train_size:,} for training, {test_size:,} for test, {EPOCHS} epochs\n"
        f"{len(history.loss):,} gradients by numerical differentiation, "
        f"{history.seconds[-1]:.1f} s in all"
    )
    return plot_accuracy(history, title=title).figure
