"""The same weights in diffusers' networks, with its schedulers and its usual loop, where it can hold them."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from latentry import config
from latentry.bench.subject import Size, Subject, copied
from latentry.checkpoints.diffusers import autoencoder, scheduler, unet, unet_names
from latentry.conditioning import Cond, batch
from latentry.devices import autocast
from latentry.errors import UsageError
from latentry.models.config import SampleOptions
from latentry.models.modes import Mode
from latentry.models.modes.compiling import no_compiler

NAME = "diffusers"
CLOSE = 1e-3
"""The most by which its predictions may differ from ours, as a share of the largest value: else nothing is compared."""
TIME = 500.0


@dataclass(frozen=True)
class Theirs:
    """first: None where the denoiser draws images. scale: of its latents; patch: into which images are folded."""

    subject: Subject
    network: nn.Module
    first: nn.Module | None
    scale: float
    patch: int

    def step(self, count: int, size: Size, mode: Mode) -> Callable[[], Tensor]:
        """One evaluation after another, as its pipelines ask for them: one call for both predictions, DDIM's step."""
        solver, x = self.noising(), self._noise(count, size)
        solver.set_timesteps(len(solver.alphas_cumprod))
        call, place = self._predict(count, size, self.within(mode), mode), iter(range(10**9))

        @torch.no_grad()
        def work() -> Tensor:
            t = solver.timesteps[next(place) % len(solver.timesteps)]
            result: Tensor = solver.step(call(solver.scale_model_input(x, t), t), t, x).prev_sample
            return result

        return work

    def decode(self, count: int, size: Size, mode: Mode) -> Callable[[], Tensor]:
        """A batch of latents to images on the CPU."""
        z, first = self._noise(count, size), self._first(mode)
        return lambda: self._decoded(z, first)

    def samples(self, count: int, size: Size, mode: Mode, steps: int, images: int) -> Callable[[], Tensor]:
        """Images from noise by the model's own solver, decoded."""
        chosen = self.subject.pipe.config.sample.model_copy(update={"steps": steps})
        network, first = self.within(mode), self._first(mode)

        @torch.no_grad()
        def work() -> Tensor:
            made = []
            for begun in range(0, images, count):
                few = min(count, images - begun)
                solver, call, x = self._solver(chosen), self._predict(few, size, network, mode), self._noise(few, size)
                solver.set_timesteps(steps)
                for t in solver.timesteps:
                    x = solver.step(call(solver.scale_model_input(x, t), t), t, x).prev_sample
                made.append(self._decoded(x, first))
            return (torch.cat(made) / 2 + 0.5).clamp(0, 1)

        return work

    def why_no_samples(self) -> str:
        """Why it cannot draw as the model does by itself; empty where it can."""
        try:
            self._solver(self.subject.pipe.config.sample)
        except UsageError as error:
            return str(error)
        return ""

    def check(self, size: Size) -> None:
        """Raise UsageError where it would not compute what the model computes."""
        conds, _ = self._conditions(1, size)
        if any(cond.vector is not None and cond.vector.ndim > 2 for cond in conds):
            raise UsageError("a vector of each word or box: its networks embed one vector an image.")
        self.noising()
        off = self.off(size)
        if not off <= CLOSE:
            raise UsageError(f"its numbers differ from ours by {off:.1g} of the largest (at most {CLOSE:g}).")

    def off(self, size: Size) -> float:
        """How far its prediction and its image are from ours, in fp32, as a share of the largest value."""
        x, ours = self._noise(1, size), self.subject.denoiser
        with torch.no_grad(), autocast(x.device, "fp32"):
            conds, _ = self._conditions(1, size)
            t = torch.full((len(conds),), TIME, device=x.device)
            both, cond = torch.cat([x] * len(conds)), batch(conds)
            pairs = [(ours(both, t, cond), self.call(self.network, both, t, cond))]
            pairs.append((self.subject.pipe.decode(x), self._decoded(x, self.first)))
        return max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs)

    def _predict(self, count: int, size: Size, network: nn.Module, mode: Mode) -> Callable[[Tensor, Tensor], Tensor]:
        """The mixed prediction of x at t."""
        conds, guidance = self._conditions(count, size)
        cond, device = batch(conds), self.subject.device

        def predict(x: Tensor, t: Tensor) -> Tensor:
            with autocast(device, mode.precision):
                out = self.call(network, torch.cat([x] * len(conds)), t, cond).float()
            if len(conds) == 1:
                return out
            told, silent = out.chunk(2)
            return silent + guidance * (told - silent)

        return predict

    @staticmethod
    def nearest(mode: Mode) -> Mode:
        """The same of a mode that there is: weights are prepacked by the compiler alone."""
        return mode if mode.compile else mode.but(frozen=False)

    def within(self, mode: Mode) -> nn.Module:
        """The network in a mode, whole under torch's compiler, on the same weights where it leaves them as they are."""
        network, chosen = copied(self.network), self.nearest(mode)
        if chosen.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if chosen.compile and not no_compiler(self.subject.device):
            warnings.filterwarnings("ignore", message="Dynamo detected a call to a `functools.lru_cache`")
            graphs = {"triton.cudagraphs": True} if self.subject.device.type == "cuda" else {}
            network.compile(options={**graphs, **({"freezing": True} if chosen.frozen else {})} or None)
        return network

    def _first(self, mode: Mode) -> nn.Module | None:
        """The first stage in the mode's format; it is in fp32 and not compiled."""
        if self.first is None or not mode.channels_last:
            return self.first
        return copied(self.first).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def noising(self) -> Any:
        """A scheduler of the model's schedule, walked as DDIM walks."""
        return self._solver(config.validate(SampleOptions, {"solver": "ddim", "levels": "trailing"}, NAME))

    def call(self, network: nn.Module, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """The prediction of x at t under a condition of ours."""
        parts = cond.parts()
        x = torch.cat([x, parts["concat"]], 1) if "concat" in parts else x
        told: dict[str, Any] = {"class_labels": cond.vector} if cond.vector is not None else {}
        if isinstance(width := getattr(network, "config").get("cross_attention_dim"), int):  # noqa: B009
            silence = torch.zeros(len(x), 1, width, device=x.device)
            told["encoder_hidden_states"] = silence if cond.context is None else cond.context
            if cond.context_mask is not None:
                told["encoder_attention_mask"] = cond.context_mask
        result: Tensor = network(x, t, **told, return_dict=False)[0]
        return result

    @torch.no_grad()
    def _conditions(self, count: int, size: Size) -> tuple[list[Cond], float]:
        """Those that our sampling has: what was asked for, and nothing where there is guidance."""
        denoiser, factor = self.subject.denoiser, self.subject.pipe.autoencoder.factor
        latent = (size[0] // factor, size[1] // factor)
        asked = self.subject.conditions(size)
        values = denoiser.guessed({k: (v if isinstance(v, list) else [v]) * count for k, v in asked.items()})
        told, guidance = denoiser.condition(values, count, latent), self.subject.pipe.config.sample.guidance
        if guidance == 1 or not values:
            return [told], 1.0
        return [told, denoiser.nothing(values, count, latent)], guidance

    def _solver(self, chosen: SampleOptions) -> Any:
        """A scheduler of its own. Raises UsageError where it has none that walks as `chosen` does."""
        import diffusers

        options = self.subject.pipe.config.diffusion
        assert options is not None
        made = scheduler.to_config(options, chosen)
        return getattr(diffusers, made["_class_name"]).from_config(made)

    def _noise(self, count: int, size: Size) -> Tensor:
        first = self.subject.pipe.autoencoder
        generator = torch.Generator().manual_seed(0)
        sides = (side // first.factor for side in size)
        return torch.randn(count, first.latent_channels, *sides, generator=generator).to(self.subject.device)

    @torch.no_grad()
    def _decoded(self, z: Tensor, first: nn.Module | None) -> Tensor:
        if first is None:
            return z.cpu()
        images = first.decode(z / self.scale).sample  # type: ignore[operator]
        return nn.functional.pixel_shuffle(images, self.patch).cpu()


def theirs(subject: Subject) -> Theirs:
    """Its networks with the model's weights. Raises UsageError where they cannot hold it or are not installed."""
    if importlib.util.find_spec(NAME) is None:
        raise UsageError("diffusers is not installed. Install it (pip install diffusers) to compare.")
    pipe, options = subject.pipe, subject.pipe.config.diffusion
    assert options is not None
    network, first = subject.denoiser.unet, pipe.autoencoder
    size = subject.size[0] // first.factor
    silent = bool(unet_names.deepest(options.unet)) and network.context_channels is None
    made = unet.to_config(
        options.unet,
        latent=first.latent_channels,
        concat=network.concat_channels,
        context=network.context_channels,
        size=size,
        vector=network.vector_channels,
        silent=True,
    )
    weights = unet_names.to_theirs(network.state_dict(), options.unet)
    weights = unet_names.silenced(weights, unet.SILENT) if silent else weights
    scale, decoder = 1.0, None
    if first.options.kind != "identity":
        tensors = first.state_dict()
        scale = autoencoder.scale_of(tensors)
        own = autoencoder.to_config(first.options, pipe.config.data.channels, subject.size, scale, folded=True)
        decoder = _filled(own, autoencoder.to_theirs(tensors, len(first.options.multipliers)), subject.device)
    made_so = Theirs(subject, _filled(made, weights, subject.device), decoder, scale, first.options.patch)
    made_so.check(subject.size)
    return made_so


def _filled(made: dict[str, Any], weights: dict[str, Tensor], device: torch.device) -> nn.Module:
    """A network of diffusers with copies of these weights."""
    import diffusers

    network: nn.Module = getattr(diffusers, made["_class_name"]).from_config(made)
    network.load_state_dict(weights)
    return network.to(device).eval()
