"""A loaded model: samples, encodes, decodes, reconstructs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentry import __version__, config, rng
from latentry.conditioning.words.prompts import Prompts
from latentry.diffusion.contracts import Step
from latentry.diffusion.guidance import classifier_free, clipped
from latentry.diffusion.levels import LEVELS
from latentry.diffusion.solvers import SOLVERS
from latentry.errors import UsageError
from latentry.kinds import build, lookup
from latentry.models.autoencoder import Autoencoder
from latentry.models.bind import bind
from latentry.models.config import ModelConfig, SampleOptions, check_size
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.pipeline.facts import facts
from latentry.pipeline.images import to_unit
from latentry.pipeline.output import Output
from latentry.pipeline.reconstruct import reconstruct
from latentry.tasks import Request, generate

BATCH = 16
AT_ONCE = 8  # images encoded or decoded


class Pipeline:
    """Both stages and how to use them. `denoiser` is None where only a first stage was trained."""

    def __init__(
        self,
        config: ModelConfig,
        autoencoder: Autoencoder,
        denoiser: LatentDiffusion | None,
        *,
        model_hash: str = "",
        source: str = "",
    ) -> None:
        self.config, self.autoencoder, self.denoiser = config, autoencoder.eval(), denoiser
        self.model_hash, self.source = model_hash, source
        if denoiser is not None:
            denoiser.eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.autoencoder.latent_scale.device

    def to(self, device: str | torch.device) -> Pipeline:
        """Move the weights."""
        self.autoencoder.to(device)
        if self.denoiser is not None:
            self.denoiser.to(device)
        return self

    def sample(
        self,
        text: str | Sequence[str] | None = None,
        *,
        n: int = 1,
        steps: int | None = None,
        solver: str | Mapping[str, Any] | None = None,
        levels: str | None = None,
        guidance: float | None = None,
        clip: bool | None = None,
        seed: int = 0,
        size: int | tuple[int, int] | None = None,
        batch: int = BATCH,
        bf16: bool = False,
        progress: Callable[[int, int], None] | None = None,
        **conditions: Any,
    ) -> Output:
        """Draw `n` images of each text (or label=, or whatever else the model takes).

        steps, solver, levels, guidance, clip: default to the model's own. solver: a name, or with its options, such as
        {"kind": "ddim", "eta": 1}. levels: how noise levels are chosen. guidance: 1 is none; more follows the condition
        more. clip: hold every predicted x0 inside [-1, 1] (models of pixels). size: (H, W) in pixels or one number, a
        multiple of the model's. Image i has seed + i, whatever `n` and `batch` are. batch: images worked on at once.
        progress: called with (network calls done, of how many).
        Raises UsageError for what the model cannot do.
        """
        chosen = self._options(steps=steps, solver=solver, levels=levels, guidance=guidance, clip=clip)
        request = self._request({"text": text, **conditions}, n, seed, size)
        if batch < 1:
            raise UsageError(f"batch: {batch}; work on at least one image at once")
        parts, done, total = [], 0, -(-len(request.seeds) // batch) * chosen.steps
        for first in range(0, len(request.seeds), batch):
            part = self._part(request, first, batch)
            x = torch.empty(0)
            for step in self._solve(part, chosen, bf16):
                x, done = step.x, done + 1
                if progress is not None:
                    progress(done, total)
            parts.append(to_unit(self.decode(x)))
        return Output(torch.cat(parts), self.config.data.depth, self._facts(request, chosen))

    def steps(
        self,
        text: str | Sequence[str] | None = None,
        *,
        n: int = 1,
        steps: int | None = None,
        solver: str | Mapping[str, Any] | None = None,
        levels: str | None = None,
        guidance: float | None = None,
        clip: bool | None = None,
        seed: int = 0,
        size: int | tuple[int, int] | None = None,
        bf16: bool = False,
        **conditions: Any,
    ) -> Iterator[Step]:
        """The same request, streamed: each `Step` has the level reached, scaled latents x and the x0 predicted."""
        chosen = self._options(steps=steps, solver=solver, levels=levels, guidance=guidance, clip=clip)
        return self._solve(self._request({"text": text, **conditions}, n, seed, size), chosen, bf16)

    @torch.no_grad()
    def _solve(self, request: Request, chosen: SampleOptions, bf16: bool) -> Iterator[Step]:
        """Noise to latents: levels, conditions, guidance, solver."""
        model, count = self._need_denoiser(), len(request.seeds)
        levels = lookup(LEVELS, chosen.levels, "levels")(model.schedule, chosen.steps)
        guidance = chosen.guidance if request.values else 1.0  # where nothing is asked, both predictions are one
        conds = [model.condition(request.values, count)]
        if guidance != 1:
            conds.append(model.nothing(request.values, count))
        shape = (self.autoencoder.latent_channels, *(side // self.autoencoder.factor for side in request.size))

        def noise(step: int, stream: str = "sampling noise") -> Tensor:
            return torch.cat([rng.normal(seed, stream, [0], step, shape) for seed in request.seeds]).to(self.device)

        start = noise(0, "sampling start")
        denoise = classifier_free(bind(model, conds, levels, bf16=bf16), guidance)
        if chosen.clip:
            denoise = clipped(denoise)
        return build(SOLVERS, chosen.solver)(denoise, start, levels, noise=noise)

    def unknown_words(self, text: str) -> list[str]:
        """The words of a prompt that the model has no token for; it goes by the others."""
        prompts = [c for c in self._need_denoiser().conditioners.values() if isinstance(c, Prompts)]
        return list(dict.fromkeys(word for prompt in prompts for word in prompt.unknown(text)))

    @torch.no_grad()
    def encode(self, images: Tensor, *, sample: int | None = None) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] to scaled latents (B, c, h, w); a few at a time.

        The posterior's mean (KL) or the pre-quantised latent (VQ); sample=seed draws from the posterior instead.
        """
        channels = self.config.data.channels
        if images.ndim != 4 or images.shape[1] != channels:
            found = "x".join(map(str, images.shape))
            raise UsageError(f"encode: a tensor of {found}; this model takes (B, {channels}, H, W) in [-1, 1]")
        problem = check_size((images.shape[-2], images.shape[-1]), self.config.autoencoder, None)
        if problem:
            raise UsageError(f"encode: {problem}")
        parts = images.split(AT_ONCE)
        moments = torch.cat([self.autoencoder.moments(part.to(self.device)) for part in parts])
        if sample is None:
            return self.autoencoder.latent(moments)
        shape = (self.autoencoder.latent_channels, *moments.shape[2:])
        noise = torch.cat([rng.normal(sample + i, "posterior", [0], 0, shape) for i in range(len(images))])
        return self.autoencoder.latent(moments, noise.to(self.device))

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Scaled latents (B, c, h, w) to images (B, C, H, W), about [-1, 1], not clamped; a few at a time."""
        return torch.cat([self.autoencoder.decode(part.to(self.device)) for part in z.split(AT_ONCE)]).cpu()

    def reconstruct(self, paths: Sequence[str | Path]) -> Output:
        """Image files through the first stage and back, at their own size (cropped to what fits)."""
        return reconstruct(self, paths)

    def describe(self) -> dict[str, Any]:
        """What this model is, in plain values."""
        parts: dict[str, torch.nn.Module] = {"autoencoder": self.autoencoder}
        if self.denoiser is not None:
            parts |= {"unet": self.denoiser.unet, "conditioning": self.denoiser.conditioners}
        return {
            "source": self.source,
            "hash": self.model_hash,
            **facts(self.config),
            "latent_scale": float(self.autoencoder.latent_scale),
            "parameters": {name: sum(p.numel() for p in module.parameters()) for name, module in parts.items()},
        }

    def _need_denoiser(self) -> LatentDiffusion:
        if self.denoiser is None:
            raise UsageError(
                f"{self.source}: holds a first stage only; it reconstructs, but cannot sample. "
                "Train the diffusion stage."
            )
        return self.denoiser

    def _options(self, **given: Any) -> SampleOptions:
        asked = {name: value for name, value in given.items() if value is not None}
        return config.validate(SampleOptions, {**self.config.sample.model_dump(), **asked}, "sample")

    def _request(self, conditions: dict[str, Any], n: int, seed: int, size: int | tuple[int, int] | None) -> Request:
        model = self._need_denoiser()
        size = self.config.data.size if size is None else (size, size) if isinstance(size, int) else size
        if len(size) != 2 or min(size) < 1:
            raise UsageError(f"sample: size {'x'.join(map(str, size))}; give (height, width), both above 0")
        problem = check_size(size, self.config.autoencoder, model.options.unet)
        if problem:
            raise UsageError(f"sample: {problem}")
        request = generate(conditions, list(model.conditioners), n=n, seed=seed, size=size)
        return replace(request, values=model.guessed(request.values))

    @staticmethod
    def _part(request: Request, first: int, batch: int) -> Request:
        values = {name: list(v)[first : first + batch] for name, v in request.values.items()}
        return Request(values, list(request.seeds)[first : first + batch], request.size)

    def _facts(self, request: Request, chosen: SampleOptions) -> list[dict[str, str]]:
        """What each image's file carries."""
        common = {
            "solver": str(chosen.solver.kind),
            "steps": str(chosen.steps),
            "guidance": f"{chosen.guidance:g}",
            "model": self.model_hash,
            "software": f"latentry {__version__}",
        }
        return [
            {
                **{
                    ("prompt" if k == "text" else k): str(v[i])
                    for k, v in request.values.items()
                    if isinstance(v[i], str | int | float)
                },
                "seed": str(seed),
                **common,
            }
            for i, seed in enumerate(request.seeds)
        ]
