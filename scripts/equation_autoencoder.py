"""The first stage in numpy, float64, from the published formulas (contperceptual.py and vqperceptual.py).

Encoder and decoder are replaced by a strided 2x2 convolution and by tanh(1x1 convolution) enlarged twofold; the 1x1
convolutions beside them, the decoder's last layer and the patch discriminator are as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from equation_tools import (
    Array,
    Weights,
    absolute,
    average,
    convolve,
    descend,
    frozen,
    generator,
    gradient,
    leaky,
    mix,
    rate,
    relu,
    softplus,
)

BATCH, PARTS, CODES, SIDE, SEED, BETA = 4, 2, 6, 8, 0, 0.25
LAST = "decoder.conv_out.weight"
KERNEL = frozen(7, 2, 3, size=1.0)
"""Of the perceptual distance: mean squared difference of two mixtures of the colours."""
TRAIN: dict[str, Any] = {
    "precision": "fp32", "batch": BATCH, "accumulate": PARTS, "optimiser": "sgd", "lr": 0.002, "steps": 5, "warmup": 1,
    "decay": "linear", "lr_end": 0.1, "ema": 0.25, "discriminator_lr": 0.1,
}  # fmt: skip
ADVERSARY = {"channels": 2, "layers": 1, "start": 0, "lead": 0, "ramp": 0, "max_weight": 1e4}
CASES: dict[str, dict[str, Any]] = {
    "kl, sum": {
        "pixel": "l1", "kl_weight": 0.3, "perceptual": {"net": "none", "weight": 0.7}, "log_variance_init": 0.3,
        "learn_log_variance": True, "discriminator": {**ADVERSARY, "weight": 0.5},
    },
    "kl, mean": {
        "pixel": "l2", "kl_weight": 0.5, "reduction": "mean", "perceptual": {"net": "none", "weight": 0.0},
        "discriminator": {**ADVERSARY, "loss": "vanilla", "adaptive": False, "weight": 0.8, "factor": 0.6},
    },
    "vq": {
        "pixel": "l1", "codebook_weight": 0.8, "perceptual": {"net": "none", "weight": 0.4},
        "discriminator": {**ADVERSARY, "weight": 0.5, "start": 1},
    },
}  # fmt: skip
KL, VQ = "kl", "vq"


def kind_of(name: str) -> str:
    return VQ if name == VQ else KL


def initial(number: int, kind: str, channels: int) -> dict[str, Array]:
    """The weights of the autoencoder by our names for them."""
    double = 2 if kind == KL else 1
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.weight": (double * channels, 3, 2, 2), "encoder.bias": (double * channels,),
        "quant_conv.weight": (double * channels, double * channels, 1, 1), "quant_conv.bias": (double * channels,),
        "post_quant_conv.weight": (channels, channels, 1, 1), "post_quant_conv.bias": (channels,),
        "decoder.weight": (3, channels, 1, 1), "decoder.bias": (3,), LAST: (3, 3, 1, 1), "decoder.conv_out.bias": (3,),
    }  # fmt: skip
    if kind == VQ:
        shapes["quantiser.codebook"] = (CODES, channels)
    return {name: frozen(100 * number + i, *shape) for i, (name, shape) in enumerate(shapes.items())}


def adversary(number: int) -> dict[str, Array]:
    """The weights of the discriminator."""
    shapes = {
        "0.weight": (2, 3, 4, 4),
        "0.bias": (2,),
        "2.weight": (4, 2, 4, 4),
        "3.bias": (4,),
        "5.weight": (1, 4, 4, 4),
        "5.bias": (1,),
    }
    made = {f"layers.{name}": frozen(100 * number + i, *shape) for i, (name, shape) in enumerate(shapes.items())}
    return made | {"layers.3.weight": 1 + frozen(100 * number + 9, 4)}


def moments_of(w: Weights, x: Array) -> Array:
    """Images (B, 3, H, W) to moments (B, c or 2c, H/2, W/2)."""
    b, c, height, width = x.shape
    squares = x.reshape(b, c, height // 2, 2, width // 2, 2)
    encoded = np.einsum("kcij,bchiwj->bkhw", w["encoder.weight"], squares) + w["encoder.bias"][:, None, None]
    return mix(w["quant_conv.weight"], encoded) + w["quant_conv.bias"][:, None, None]


def decoded(w: Weights, z: Array) -> Array:
    """Latents, unscaled, to images."""
    inner = mix(w["post_quant_conv.weight"], z) + w["post_quant_conv.bias"][:, None, None]
    features = np.tanh(mix(w["decoder.weight"], inner) + w["decoder.bias"][:, None, None])
    features = features.repeat(2, axis=2).repeat(2, axis=3)
    return mix(w[LAST], features) + w["decoder.conv_out.bias"][:, None, None]


def split(moments: Array) -> tuple[Array, Array]:
    mean, log_variance = np.split(moments, 2, axis=1)
    return mean, np.where(log_variance.real > 20, 20, np.where(log_variance.real < -30, -30, log_variance))


def nearest(w: Weights, z: Array) -> Array:
    """Index of the code nearest to each vector of z (B, c, h, w): (B, h, w)."""
    distance = np.square(np.moveaxis(z, 1, 3)[..., None, :] - w["quantiser.codebook"]).sum(axis=-1)
    return distance.argmin(axis=-1)


def through(w: Weights, x: Array, noise: Array | None, base: Weights) -> tuple[Array, Any]:
    """(reconstruction, regulariser): mean KL in nats an image, or the codebook loss.

    base: the weights at which a derivative is taken; what has no gradient (detach) is computed with them.
    """
    moments = moments_of(w, x)
    if noise is not None:
        mean, log_variance = split(moments)
        kl = 0.5 * (mean**2 + np.exp(log_variance) - 1.0 - log_variance).sum(axis=(1, 2, 3)).mean()
        return decoded(w, mean + np.exp(0.5 * log_variance) * noise), kl
    z_still = moments_of(base, x)
    index = nearest(base, z_still)
    code_still, code = (np.moveaxis(table["quantiser.codebook"][index], 3, 1) for table in (base, w))
    loss = ((code_still - moments) ** 2).mean() + BETA * ((code - z_still) ** 2).mean()
    return decoded(w, moments + (code_still - z_still)), loss


def judged(d: Weights, x: Array) -> Array:
    """Logits of the patch discriminator, with the batch's own statistics."""
    h = leaky(convolve(d["layers.0.weight"], x, 2) + d["layers.0.bias"][:, None, None])
    h = convolve(d["layers.2.weight"], h, 1)
    mean = h.mean(axis=(0, 2, 3), keepdims=True)
    variance = ((h - mean) ** 2).mean(axis=(0, 2, 3), keepdims=True)
    h = (h - mean) / np.sqrt(variance + 1e-5) * d["layers.3.weight"][:, None, None] + d["layers.3.bias"][:, None, None]
    return convolve(d["layers.5.weight"], leaky(h), 1) + d["layers.5.bias"][:, None, None]


def parts_of_loss(o: Mapping[str, Any], w: Weights, x: Array, noise: Array | None, base: Weights) -> dict[str, Any]:
    """Everything but the adversarial term."""
    reconstruction, regulariser = through(w, x, noise, base)
    off = x - reconstruction
    pixel = (absolute(off) if o["pixel"] == "l1" else off**2).mean()
    perceptual = (mix(KERNEL, off) ** 2).mean()
    error, lv = pixel + o["perceptual"]["weight"] * perceptual, w["log_variance"]
    values = x[0].size if noise is not None and o.get("reduction") != "mean" else 1  # sum over an image's values
    nll = values * (error / np.exp(lv) + lv)
    weight = o["kl_weight"] / x[0].size if noise is not None else o["codebook_weight"]
    return {
        "reconstruction": reconstruction,
        "pixel": pixel,
        "perceptual": perceptual * (o["perceptual"]["weight"] > 0),
        "nll": nll,
        "regulariser": regulariser,
        "loss": nll + values * weight * regulariser,
    }


def generator_step(
    o: Mapping[str, Any], w: Weights, d: Weights, x: Array, noise: Array | None, step: int
) -> tuple[dict[str, float], dict[str, Array]]:
    """Figures and gradients of the autoencoder for one part of a batch."""
    options = o["discriminator"]
    factor = options.get("factor", 1.0) if step >= options.get("start", 0) else 0.0

    def adversarial(moved: Weights) -> Any:
        return -judged(d, through(moved, x, noise, w)[0]).mean()

    terms, weight = parts_of_loss(o, w, x, noise, w), 0.0
    if factor:
        of_nll = gradient(lambda moved: parts_of_loss(o, moved, x, noise, w)["nll"], w, [LAST])[LAST]
        of_it = gradient(adversarial, w, [LAST])[LAST]
        adaptive = np.clip(np.linalg.norm(of_nll) / (np.linalg.norm(of_it) + 1e-4), 0.0, 1e4)
        weight = options["weight"] * (adaptive if options.get("adaptive", True) else 1.0)

    def whole(moved: Weights) -> Any:
        loss = parts_of_loss(o, moved, x, noise, w)["loss"]
        return loss + weight * factor * adversarial(moved) if factor else loss

    trained = [name for name in w if name != "log_variance" or o.get("learn_log_variance")]
    named = {name: terms[name] for name in ("pixel", "perceptual", "regulariser")}
    figures = {"loss": whole(w), **named, "adversarial": adversarial(w) if factor else 0.0, "adaptive_weight": weight}
    return {name: float(value) for name, value in figures.items()}, gradient(whole, w, trained)


def discriminator_step(
    o: Mapping[str, Any], d: Weights, x: Array, fake: Array
) -> tuple[dict[str, float], dict[str, Array]]:
    """Figures and gradients of the discriminator; `discriminator_loss` without its factor."""

    def loss(moved: Weights) -> Any:
        real, made = judged(moved, x), judged(moved, fake)
        if o["discriminator"].get("loss") == "vanilla":
            return 0.5 * (softplus(-real).mean() + softplus(made).mean())
        return 0.5 * (relu(1.0 - real).mean() + relu(1.0 + made).mean())

    figures = {"discriminator_loss": loss(d), "logits_real": judged(d, x).mean(), "logits_fake": judged(d, fake).mean()}
    gradients = {n: o["discriminator"].get("factor", 1.0) * g for n, g in gradient(loss, d, list(d)).items()}
    return {name: float(value) for name, value in figures.items()}, gradients


def noise_of(kind: str, stream: str, places: range, step: int, channels: int) -> Array | None:
    if kind == VQ:
        return None
    shape = (channels, SIDE // 2, SIDE // 2)
    rows = [generator(SEED, stream, place, step).standard_normal(shape, dtype=np.float32) for place in places]
    return np.stack(rows).astype(float)


def mean_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def run_of(name: str, w: Weights, d: Weights, shadow: Weights, images: Array, channels: int) -> dict[str, Any]:
    """Two steps of both players: figures of each, gradients of the first that has both, weights and averages after."""
    o, kind, rows, gradients = CASES[name], kind_of(name), [], {}
    places = [range(part * BATCH // PARTS, (part + 1) * BATCH // PARTS) for part in range(PARTS)]
    for step in range(2):
        made, fakes = [], []
        for p in places:
            x, noise = images[p.start : p.stop], noise_of(kind, "posterior", p, step, channels)
            made.append(generator_step(o, w, d, x, noise, step))
            fakes.append(through(w, x, noise, w)[0])
        row, own = mean_of([figures for figures, _ in made]), mean_of([g for _, g in made])
        w = descend(w, own, rate(TRAIN, step), None)
        shadow = average(shadow, w, TRAIN["ema"], step + 1)
        if step >= o["discriminator"].get("start", 0):
            pairs = zip(places, fakes, strict=True)  # not made again with the new weights, as published
            against = [discriminator_step(o, d, images[p.start : p.stop], fake) for p, fake in pairs]
            theirs = mean_of([g for _, g in against])
            row |= mean_of([figures for figures, _ in against])
            d = descend(d, theirs, rate(TRAIN, step) / TRAIN["lr"] * TRAIN["discriminator_lr"], None)
            gradients = gradients or {"step": step, "updater": own, "critic": theirs}
        rows.append(row)
    return {"steps": rows, "gradients": gradients, "weights": w, "discriminator": d, "averages": shadow}


def psnr(w: Weights, kind: str, images: Array) -> float:
    """Of the reconstructions from posterior means or codes, in dB, colours in [0, 1]."""
    moments = moments_of(w, images)
    code = None if kind == KL else np.moveaxis(w["quantiser.codebook"][nearest(w, moments)], 3, 1)
    latent = split(moments)[0] if code is None else code
    off = (np.clip(decoded(w, latent), -1, 1) - images) / 2
    return float((-10 * np.log10((off**2).mean(axis=(1, 2, 3)))).mean())


def frozen_case(name: str, number: int, data: Mapping[str, Any]) -> dict[str, Any]:
    """One case: its options, inputs and weights, and the numbers to be expected."""
    kind, channels, o = kind_of(name), 2, CASES[name]
    images = np.clip(frozen(800 + number, BATCH, 3, SIDE, SIDE), -1, 1)
    weights, shadow = initial(number, kind, channels), initial(number + 50, kind, channels)
    d = adversary(number + 70)
    constant = {"log_variance": np.array(o.get("log_variance_init", 0.0))}
    expected = run_of(name, {**weights, **constant}, d, shadow, images, channels)
    expected["validation"] = {"held_out_psnr": psnr(shadow, kind, data["held_out"][0])}
    return {
        "options": {"kind": kind, "z_channels": channels, "codes": CODES, "objective": o, "train": TRAIN},
        "images": images, "kernel": KERNEL, "weights": weights, "averages": shadow, "discriminator": d,
        "expected": expected,
    }  # fmt: skip
