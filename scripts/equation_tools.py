"""What the oracle of the training equation needs of mathematics: derivatives, draws, convolutions. numpy alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""Real float64; complex128 while a derivative is taken."""
Weights = Mapping[str, Array]

TINY = 1e-30


def gradient(function: Callable[[Weights], Any], weights: Weights, names: Sequence[str]) -> dict[str, Array]:
    """The derivatives of a real scalar function of named weights, by the complex step: Im f(w + ih) / h.

    It is exact to the last digits, because nothing is subtracted (Squire and Trapp 1998). The function has to be made
    of analytic operations; `absolute`, `relu` and `leaky` below take their branch by the real part.
    """
    derivatives = {}
    for name in names:
        derivatives[name] = np.zeros(np.shape(weights[name]))
        for place in np.ndindex(derivatives[name].shape):
            moved = np.array(weights[name], complex)
            moved[place] += 1j * TINY
            derivatives[name][place] = np.imag(function({**weights, name: moved})) / TINY
    return derivatives


def absolute(x: Array) -> Array:
    return np.where(x.real > 0, x, -x)


def relu(x: Array) -> Array:
    return np.where(x.real > 0, x, 0)


def leaky(x: Array) -> Array:
    return np.where(x.real > 0, x, 0.2 * x)


def softplus(x: Array) -> Array:
    return np.log1p(np.exp(x))


def mix(weight: Array, x: Array) -> Array:
    """A 1x1 convolution without bias: weight (k, c) or (k, c, 1, 1), x (B, c, h, w)."""
    return np.einsum("kc,bchw->bkhw", weight.reshape(weight.shape[:2]), x)


def convolve(weight: Array, x: Array, stride: int) -> Array:
    """A convolution padded by 1: weight (k, c, n, n), x (B, c, H, W)."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], axis=(2, 3))
    return np.moveaxis(np.tensordot(windows[:, :, ::stride, ::stride], weight, ((1, 4, 5), (1, 2, 3))), 3, 1)


def generator(seed: int, stream: str, place: int, step: int) -> np.random.Generator:
    """The random numbers of one place: Philox with blake2b of "seed/stream" for its key, started at (place, step)."""
    key = np.frombuffer(hashlib.blake2b(f"{seed}/{stream}".encode(), digest_size=16).digest(), "<u8")
    counter = np.array([0, 0, place, step], np.uint64)
    return np.random.Generator(np.random.Philox(counter=counter, key=key.astype(np.uint64)))


def frozen(seed: int, *shape: int, size: float = 0.5) -> Array:
    """Inputs and weights: normal numbers of three decimals, by the generator that numpy promises never to change."""
    return np.round(size * np.random.RandomState(seed).standard_normal(shape), 3)


def average(shadow: Weights, weights: Weights, decay: float, updates: int) -> dict[str, Array]:
    """The published moving average after its `updates`-th update (ldm/modules/ema.py)."""
    d = min(decay, (1 + updates) / (10 + updates))
    return {name: s - (1 - d) * (s - weights[name]) for name, s in shadow.items()}


def rate(train: Mapping[str, Any], step: int) -> float:
    """The learning rate of a step: a linear rise over `warmup` steps, then a straight line down to `lr_end` of it."""
    if step < train["warmup"]:
        return float(train["lr"] * (step + 1) / (train["warmup"] + 1))
    done = (step - train["warmup"]) / (train["steps"] - train["warmup"])
    return float(train["lr"] * (1 - done + done * train["lr_end"]))


def descend(weights: Weights, gradients: Weights, rate: float, clip: float | None) -> dict[str, Array]:
    """One step of gradient descent, the whole gradient first shortened to the norm `clip`."""
    norm = np.sqrt(sum(np.square(g).sum() for g in gradients.values()))
    share = min(1.0, clip / norm) if clip else 1.0
    return {name: w - rate * share * gradients[name] if name in gradients else w for name, w in weights.items()}
