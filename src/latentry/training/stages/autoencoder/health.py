"""Is the first stage well? Codebook use, latent statistics, discriminator balance, and words for what goes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from latentry.nn.posterior import Gaussian
from latentry.nn.quantise import perplexity

COLLAPSED = 0.01  # deviation beside the widest channel's
DROWNED = 0.1  # deviation beside the posterior's noise: 1% of its variance
FEW_CODES = 0.5
WON = 0.1  # discriminator's loss; telling nothing costs 1 (hinge) or 0.69 (vanilla)
LOST = -1.0  # mean logit of real images less that of reconstructions
SILENT, SILENT_STEPS = 0.03, 200  # the same difference, either way, and over how many steps on end
WORSE = 1.0  # dB of PSNR below what it was when the discriminator's term began
BEFORE, AFTER = "psnr_before_discriminator", "psnr_with_discriminator"
FEWEST_DRAWS = 10  # vectors quantised per code before an unused code is called dead


class Health:
    """Statistics of one training. kind: `kl` or `vq`; codes: size of the codebook."""

    def __init__(self, kind: str, codes: int, device: torch.device | str = "cpu") -> None:
        self.kind, self.codes = kind, codes
        self.counts = torch.zeros(codes if kind == "vq" else 0, dtype=torch.int64, device=device)
        self.silent_since: int | None = None
        self.psnr_before: float | None = None

    def count(self, indices: Tensor) -> None:
        """Codes used in a step, since the last look."""
        flat = indices.flatten()
        self.counts.index_add_(0, flat, torch.ones_like(flat))

    def latents(self, moments: Tensor) -> dict[str, float]:
        """Statistics of each latent channel over moments (B, c or 2c, h, w) of images, and of the codebook's use.

        Mean and deviation of the posterior's mean (or of the pre-quantised latent), and of `kl` the deviation of its
        noise. Share of codes used and their perplexity since the last look, once enough vectors have been quantised.
        """
        posterior = Gaussian(moments) if self.kind == "kl" else None
        flat = (posterior.mean if posterior else moments).transpose(0, 1).flatten(1)  # (c, B h w)
        result = {f"latent_{c}_mean": float(m) for c, m in enumerate(flat.mean(1))}
        result |= {f"latent_{c}_deviation": float(d) for c, d in enumerate(flat.std(1))}
        if posterior:
            noise = posterior.variance.mean(dim=(0, 2, 3)).sqrt()
            result |= {f"latent_{c}_noise": float(d) for c, d in enumerate(noise)}
        if self.kind == "vq" and int(self.counts.sum()) >= FEWEST_DRAWS * self.codes:
            result |= {"codes_used": float((self.counts > 0).float().mean())}
            result |= {"perplexity": float(perplexity(self.counts))}
            self.counts.zero_()
        return result

    def reconstructed(self, psnr: float, before: bool) -> dict[str, float]:
        """What validation found, beside what it was before the discriminator's term began (dB).

        psnr: of reconstructions now. before: whether the term has not begun yet.
        """
        if before:
            self.psnr_before = psnr
            return {}
        return {} if self.psnr_before is None else {BEFORE: self.psnr_before, AFTER: psnr}

    def warnings(self, metrics: Mapping[str, float], step: int) -> list[str]:
        """Plain words about dead codes, collapsed channels, a heavy KL, a discriminator that won or lost."""
        warnings = []
        if metrics.get("codes_used", 1.0) < FEW_CODES:
            share = f"{metrics['codes_used']:.0%}"
            warnings.append(
                f"dead codes: only {share} of the {self.codes} codes are used; "
                "fewer codes or a higher codebook_weight help"
            )
        if flat := collapsed(metrics):
            remedy = "lower kl_weight or z_channels" if self.kind == "kl" else "fewer z_channels may do"
            warnings.append(f"collapsed channels: latent channel {', '.join(flat)} carries nothing; {remedy}")
        if metrics.get("discriminator_loss", 1.0) < WON:
            warnings.append(
                "the discriminator has won: it tells every reconstruction; lower discriminator_lr or channels"
            )
        if "logits_real" in metrics and metrics["logits_real"] - metrics["logits_fake"] < LOST:
            warnings.append("the discriminator has lost: it takes reconstructions for real; raise its lr or channels")
        if self._silent(metrics, step):
            warnings.append(
                "the discriminator tells nothing: its logits of real images and of reconstructions are the same, so "
                "its term only disturbs; more lead, another discriminator_lr or fewer layers help, or train without it"
            )
        if metrics.get(AFTER, 0.0) < metrics.get(BEFORE, 0.0) - WORSE:
            before, now = metrics[BEFORE], metrics[AFTER]
            warnings.append(
                f"reconstructions have {now:.1f} dB since the discriminator's start, and had {before:.1f} before; "
                "look at the previews, and lower its weight where they show a pattern"
            )
        return warnings

    def _silent(self, metrics: Mapping[str, float], step: int) -> bool:
        """Whether the discriminator's logits were the same for long while its term counted."""
        if metrics.get("adaptive_weight", 0.0) and "logits_real" in metrics:
            same = abs(metrics["logits_real"] - metrics["logits_fake"]) < SILENT
            self.silent_since = (self.silent_since or step) if same else None
        return self.silent_since is not None and step - self.silent_since >= SILENT_STEPS

    def state(self) -> dict[str, Any]:
        """Counts of codes and what is remembered of the discriminator, for a resume."""
        used = self.counts.nonzero().flatten()
        return {
            "codes": used.tolist(),
            "counts": self.counts[used].tolist(),
            "silent_since": self.silent_since,
            "psnr_before": self.psnr_before,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.silent_since, self.psnr_before = state.get("silent_since"), state.get("psnr_before")
        self.counts.zero_()
        if state["codes"]:
            device = self.counts.device
            self.counts[torch.tensor(state["codes"], device=device)] = torch.tensor(state["counts"], device=device)


def collapsed(metrics: Mapping[str, float]) -> list[str]:
    """Channels whose signal is lost: in the posterior's noise (of `kl`), or beside the widest channel."""
    deviations = {
        k.split("_")[1]: v for k, v in metrics.items() if k.startswith("latent_") and k.endswith("_deviation")
    }
    widest = max(deviations.values(), default=0.0)
    floors = {c: max(COLLAPSED * widest, DROWNED * metrics.get(f"latent_{c}_noise", 0.0)) for c in deviations}
    return [c for c, deviation in deviations.items() if deviation <= floors[c]]
