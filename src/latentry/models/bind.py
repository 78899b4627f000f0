"""From a model and its conditions to `Denoisers`: x0 under each condition in one network call."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from latentry.conditioning import Cond, batch
from latentry.diffusion.contracts import Denoisers
from latentry.diffusion.schedule import CLEAN, Level
from latentry.models.latent_diffusion import LatentDiffusion


def bind(model: LatentDiffusion, conds: Sequence[Cond], levels: Sequence[Level], *, bf16: bool = False) -> Denoisers:
    """Predict x0 of the same x under each of `conds`.

    Cross-attention keys and values are computed once, time embeddings of all levels at once; the network may run in
    bf16, everything around it is fp32. levels: every level the solver will visit.
    """
    unet, device = model.unet, model.device()
    joined = batch(conds)
    times = sorted({level.t for level in levels if level != CLEAN})

    def autocast() -> torch.autocast | nullcontext[None]:
        return torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()

    with torch.no_grad(), autocast():
        table = unet.embed_time(torch.tensor(times, dtype=torch.float32, device=device))
        context_kv = None if joined.context is None else unet.project_context(joined.context)
    embeddings = dict(zip(times, table, strict=True))

    def denoisers(x: Tensor, level: Level) -> tuple[Tensor, ...]:
        n = len(conds)
        repeated = torch.cat([x] * n) if n > 1 else x  # (n B, c, h, w)
        with autocast():
            out = unet(
                repeated.float(),
                torch.full((repeated.shape[0],), level.t, device=device),
                context=joined.context,
                context_mask=joined.context_mask,
                concat=joined.concat,
                vector=joined.vector,
                time_embedding=embeddings[level.t].expand(repeated.shape[0], -1),
                context_kv=context_kv,
            )
        outputs = out.to(x.dtype).chunk(n)
        return tuple(model.prediction.x0(x, o, level.alpha, level.sigma) for o in outputs)

    return denoisers
