"""The second stage in numpy, float64, from the published formulas (ldm/models/diffusion/ddpm.py).

The UNet is replaced by a small network, so that its derivatives can be had:
out = O tanh(M x + V vector + s t / 50) + b, where the vector is the sum of one row of each condition's table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from equation_autoencoder import moments_of
from equation_tools import Array, Weights, absolute, average, descend, frozen, generator, gradient, mix, rate

STEPS, BATCH, PARTS, CHANNELS, SIDE, WIDTH, CLASSES = 50, 4, 2, 4, 2, 2, 3
SEED = 0  # of the recipe
LABELS = {"one": [0, 2, 1, 0], "two": [1, 1, 2, 0]}
CONDITION = {"kind": "class_label", "via": "vector", "width": WIDTH}
TRAIN: dict[str, Any] = {
    "precision": "fp32", "batch": BATCH, "accumulate": PARTS, "optimiser": "sgd", "lr": 0.2, "steps": 5, "warmup": 1,
    "decay": "linear", "lr_end": 0.1, "ema": 0.25, "drop_condition": {"one": 0.5, "two": 0.3}, "drop_all": 0.2,
    "cache_latents": False,
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "epsilon": {"prediction": "epsilon", "objective": {}, "clip": 0.6},
    "epsilon of vq": {"kind": "vq", "scale": 1.0, "prediction": "epsilon", "objective": {"elbo_weight": 0.4}},
    "sample": {
        "prediction": "sample",
        "objective": {
            "loss": "l1", "simple_weight": 0.7, "elbo_weight": 3.0, "learn_log_variance": True,
            "log_variance_init": 0.2,
        },
    },
    "velocity": {
        "prediction": "velocity",
        "objective": {"weighting": {"kind": "min_snr", "gamma": 2.0}, "elbo_weight": 0.05, "log_variance_init": -0.3},
    },
}  # fmt: skip
SCHEDULE: dict[str, Any] = {"kind": "scaled_linear", "start": 0.01, "end": 0.2, "steps": STEPS}


def tables() -> tuple[Array, Array]:
    """betas and abar (T,): make_beta_schedule("linear")."""
    betas = np.linspace(SCHEDULE["start"] ** 0.5, SCHEDULE["end"] ** 0.5, STEPS, dtype=np.float64) ** 2
    return betas, np.cumprod(1 - betas)


def elbo_weights(prediction: str) -> Array:
    """lvlb_weights of register_schedule; velocity's are epsilon's times abar, for |eps error| = alpha |v error|."""
    betas, abar = tables()
    before = np.append(1.0, abar[:-1])
    variance = betas * (1 - before) / (1 - abar)
    with np.errstate(divide="ignore"):
        weights = betas**2 / (2 * variance * (1 - betas) * (1 - abar))
    if prediction == "sample":
        weights = 0.5 * np.sqrt(abar) / (2.0 * 1 - abar)
    if prediction == "velocity":
        weights = weights * abar
    weights[0] = weights[1]
    return weights


def weights_of_times(case: Mapping[str, Any]) -> Array:
    """1, or min(SNR, gamma) in units of x0's error, for velocity (Hang et al. 2023)."""
    weighting = case["objective"].get("weighting")
    if weighting is None:
        return np.ones(STEPS)
    _, abar = tables()
    snr = abar / (1 - abar)
    return np.minimum(snr, weighting["gamma"]) / (snr + 1)


def draws(stream: str, places: range, step: int, side: int, conditions: int = 2) -> dict[str, Array]:
    """What is random, by place: the time, whether each condition is kept, the noise, the posterior's noise."""
    rows: dict[str, list[Any]] = {"t": [], "chances": [], "noise": [], "posterior": [], "together": []}
    for place in places:
        g = generator(SEED, stream, place, step)
        rows["t"].append(int(g.integers(STEPS)))
        rows["chances"].append([np.float32(g.random()) for _ in range(conditions)])
        rows["noise"].append(g.standard_normal((CHANNELS, side, side), dtype=np.float32).astype(float))
        rows["posterior"].append(g.standard_normal((CHANNELS, side, side), dtype=np.float32).astype(float))
        rows["together"].append(np.float32(g.random()))
    return {name: np.array(values) for name, values in rows.items()}


def rows_of(labels: Mapping[str, list[int]], drawn: Weights, places: range, drop: bool) -> dict[str, Array]:
    """The row of each condition's table; the last one where the condition is dropped."""
    chosen = {}
    for number, name in enumerate(labels):
        own = np.array([labels[name][place] for place in places])
        kept = (drawn["chances"][:, number] >= np.float32(TRAIN["drop_condition"][name])) & (
            drawn["together"] >= np.float32(TRAIN["drop_all"])
        )
        chosen[name] = np.where(kept, own, CLASSES) if drop else own
    return chosen


def latents(case: Mapping[str, Any], moments: Array, noise: Array) -> Array:
    """get_first_stage_encoding: scale_factor * posterior.sample(); a shift is taken off first. vq: no posterior."""
    if case.get("kind") == "vq":
        return case["scale"] * moments
    mean, log_variance = np.split(moments, 2, axis=1)
    sample = mean + np.exp(0.5 * np.clip(log_variance, -30.0, 20.0)) * noise
    return case["scale"] * (sample - np.array(case["shift"])[:, None, None])


def network(w: Weights, x: Array, t: Array, rows: Weights) -> Array:
    vector = sum(w[f"conditioners.{name}.embedding.weight"][row] for name, row in rows.items())
    inner = vector @ w["unet.vector"].T + t[:, None] / STEPS * w["unet.time"]  # (B, k)
    hidden = np.tanh(mix(w["unet.mix"], x) + inner[:, :, None, None])
    return mix(w["unet.out"], hidden) + w["unet.bias"][:, None, None]


def loss(case: Mapping[str, Any], w: Weights, z: Array, drawn: Weights, rows: Weights) -> tuple[Any, Array, Array]:
    """p_losses: (loss, plain error of each sample, x_t)."""
    options, t, eps = case["objective"], drawn["t"], drawn["noise"]
    _, abar = tables()
    alpha, sigma = (v[t][:, None, None, None] for v in (np.sqrt(abar), np.sqrt(1 - abar)))
    x_t = alpha * z + sigma * eps
    target = {"epsilon": eps, "sample": z, "velocity": alpha * eps - sigma * z}[case["prediction"]]
    off = network(w, x_t, t, rows) - target
    error = (absolute(off) if options.get("loss") == "l1" else off**2).mean(axis=(1, 2, 3))
    lv = w["log_variance"][t]
    simple = (weights_of_times(case)[t] * (error / np.exp(lv) + lv)).mean()
    elbo = (elbo_weights(case["prediction"])[t] * error).mean()
    return options.get("simple_weight", 1.0) * simple + options.get("elbo_weight", 0.0) * elbo, error, x_t


def initial(number: int) -> dict[str, Array]:
    """The weights of the small network and of both conditions' tables."""
    shapes = {
        "unet.mix": (5, CHANNELS), "unet.time": (5,), "unet.vector": (5, WIDTH), "unet.out": (CHANNELS, 5),
        "unet.bias": (CHANNELS,), "conditioners.one.embedding.weight": (CLASSES + 1, WIDTH),
        "conditioners.two.embedding.weight": (CLASSES + 1, WIDTH),
    }  # fmt: skip
    return {name: frozen(100 * number + i, *shape) for i, (name, shape) in enumerate(shapes.items())}


def step_of(case: Mapping[str, Any], w: Weights, moments: Array, step: int) -> dict[str, Any]:
    """Loss, errors and gradients of a batch that is worked through in parts."""
    trained = [n for n in w if n != "log_variance" or case["objective"].get("learn_log_variance")]
    results: dict[str, Any] = {"loss": 0.0, "error": [], "x_t": [], "t": []}
    total = {name: np.zeros(w[name].shape) for name in trained}
    for part in range(PARTS):
        places = range(part * BATCH // PARTS, (part + 1) * BATCH // PARTS)
        drawn = draws("train", places, step, SIDE)
        rows = rows_of(LABELS, drawn, places, drop=True)
        z = latents(case, moments[places.start : places.stop], drawn["posterior"])
        value, error, x_t = loss(case, w, z, drawn, rows)
        own = gradient(lambda moved, z=z, d=drawn, r=rows: loss(case, moved, z, d, r)[0], w, trained)
        total = {name: total[name] + own[name] / PARTS for name in trained}
        results["loss"] += float(value) / PARTS
        results["error"] += error.tolist()
        results["x_t"] += x_t.tolist()
        results["t"] += drawn["t"].tolist()
    return {**results, "gradients": total}


def rows_at(step: int) -> dict[str, list[int]]:
    """The rows of each condition's table in a batch."""
    rows = rows_of(LABELS, draws("train", range(BATCH), step, SIDE), range(BATCH), drop=True)
    return {name: row.tolist() for name, row in rows.items()}


def validation(case: Mapping[str, Any], w: Weights, autoencoder: Weights, images: Array, labels: list[int]) -> float:
    """Mean plain error of all images, each at its own draw, nothing dropped."""
    moments = moments_of(autoencoder, images)
    drawn = draws("validation", range(len(images)), 0, moments.shape[2])
    rows = rows_of({"one": labels, "two": labels}, drawn, range(len(images)), drop=False)
    return float(loss(case, w, latents(case, moments, drawn["posterior"]), drawn, rows)[1].mean())


def frozen_case(name: str, number: int, autoencoder: Weights, data: Mapping[str, Any]) -> dict[str, Any]:
    """One case: its options, inputs and weights, and the numbers to be expected."""
    case = {"scale": 0.7, "shift": [0.3, -0.2, 0.0, 0.5], **CASES[name]}
    moments = frozen(900 + number, BATCH, CHANNELS if case.get("kind") == "vq" else 2 * CHANNELS, SIDE, SIDE, size=1.0)
    constant = {"log_variance": np.full(STEPS, case["objective"].get("log_variance_init", 0.0))}
    weights, shadow = {**initial(number), **constant}, initial(number + 50)
    first, now, averaged, rows = step_of(case, weights, moments, 0), weights, shadow, []
    for step in range(3):
        made = step_of(case, now, moments, step)
        now = descend(now, made["gradients"], rate(TRAIN, step), case.get("clip"))
        averaged = average(averaged, now, TRAIN["ema"], step + 1)
        rows.append({"loss": made["loss"], "error": np.mean(made["error"])})
    expected = {
        **first,
        "rows": [rows_at(step) for step in range(4)],
        "steps": rows,
        "weights": now,
        "averages": averaged,
    }
    if case.get("kind") != "vq":
        expected["validation"] = {
            f"{split}_error": validation(case, {**shadow, **constant}, autoencoder, *data[split])
            for split in ("train", "held_out")
        }
    options = {"schedule": SCHEDULE, "prediction": case["prediction"], "objective": case["objective"]}
    train = {**TRAIN, "clip": case.get("clip")}
    return {
        "options": {**options, "conditioning": dict.fromkeys(LABELS, CONDITION), "train": train},
        "kind": case.get("kind", "kl"), "scale": case["scale"], "shift": case["shift"], "labels": LABELS,
        "moments": moments, "weights": initial(number), "averages": shadow, "expected": expected,
    }  # fmt: skip
