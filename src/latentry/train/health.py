"""Is the first stage well? Codebook use, latent statistics, discriminator balance, and words for what goes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

COLLAPSED = 0.01


class Health:
    """Statistics of one training. kind: `kl` or `vq`; codes: size of the codebook."""

    def __init__(self, kind: str, codes: int) -> None:
        self.kind, self.codes = kind, codes
        self.counts = torch.zeros(codes if kind == "vq" else 0, dtype=torch.int64)

    def count(self, indices: Tensor) -> None:
        """Codes used in a step, since the last look."""
        self.counts += torch.bincount(indices.flatten().cpu(), minlength=self.codes)

    def latents(self, moments: Tensor) -> dict[str, float]:
        """Mean and deviation of each latent channel over held-out images; codebook use since the last look."""
        means = moments.chunk(2, dim=1)[0] if self.kind == "kl" else moments
        flat = means.transpose(0, 1).flatten(1)
        result = {f"latent_{c}_mean": float(m) for c, m in enumerate(flat.mean(1))}
        result |= {f"latent_{c}_deviation": float(d) for c, d in enumerate(flat.std(1))}
        if self.kind == "vq" and int(self.counts.sum()):
            share = self.counts / self.counts.sum()
            entropy = -(share * share.clamp(min=1e-12).log()).sum()
            result |= {"codes_used": float((self.counts > 0).float().mean()), "perplexity": float(entropy.exp())}
            self.counts.zero_()
        return result

    def warnings(self, metrics: Mapping[str, float], step: int) -> list[str]:
        """Plain words about dead codes, collapsed channels, a heavy KL, a discriminator that won or lost."""
        found = []
        if metrics.get("codes_used", 1.0) < 0.5:
            share = f"{metrics['codes_used']:.0%}"
            found.append(
                f"dead codes: only {share} of the {self.codes} codes are used; "
                "fewer codes or a higher codebook_weight help"
            )
        deviations = {k: v for k, v in metrics.items() if k.startswith("latent_") and k.endswith("_deviation")}
        flat = [k.split("_")[1] for k, v in deviations.items() if v < COLLAPSED * max(deviations.values())]
        if flat:
            found.append(
                f"collapsed channels: latent channel {', '.join(flat)} carries nothing; lower kl_weight or z_channels"
            )
        if "logits_real" in metrics:
            gap = metrics["logits_real"] - metrics["logits_fake"]
            if metrics["logits_real"] > 1 and metrics["logits_fake"] < -1 and gap > 4:
                found.append(
                    "the discriminator has won: it tells every reconstruction; lower discriminator.weight or its lr"
                )
            if gap < -1:
                found.append("the discriminator has lost: it takes reconstructions for real; raise its lr or channels")
        return found

    def state(self) -> dict[str, Any]:
        """Counts of codes, for a resume."""
        used = self.counts.nonzero().flatten()
        return {"codes": used.tolist(), "counts": self.counts[used].tolist()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.counts.zero_()
        if state["codes"]:
            self.counts[torch.tensor(state["codes"])] = torch.tensor(state["counts"])
