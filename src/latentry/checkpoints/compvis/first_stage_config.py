"""The published configs of first stages, read as arguments of our networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from latentry.errors import UsageError

READ = {
    "double_z", "z_channels", "resolution", "in_channels", "out_ch", "ch", "ch_mult", "num_res_blocks",
    "attn_resolutions", "dropout", "attn_type",
}  # fmt: skip

LARGEST_WEIGHT = 1e4
"""What the published adaptive weight is clamped to."""


class FirstStageArguments(NamedTuple):
    """encoder, decoder: keyword arguments of `Encoder` and `Decoder`. latent_channels: of the latent diffusion sees.

    codes: size of the codebook, None for a KL first stage. factor: image size over latent size.
    """

    encoder: dict[str, Any]
    decoder: dict[str, Any]
    z_channels: int
    latent_channels: int
    codes: int | None
    factor: int

    @property
    def kind(self) -> Literal["kl", "vq"]:
        return "kl" if self.codes is None else "vq"


def first_stage_arguments(params: Mapping[str, Any]) -> FirstStageArguments:
    """Arguments of the networks that a published first stage config describes.

    params: `params` of the config's first stage: `embed_dim`, `ddconfig`, for VQ `n_embed`. `attn_resolutions` there
    are sizes of feature maps for images of `resolution`; ours are downsample factors. Raises `UsageError` on a
    key or value that the published models do not use.
    """
    config = params["ddconfig"]
    unknown = sorted(set(config) - READ)
    if unknown:
        raise UsageError(f"first stage config: ddconfig has {', '.join(unknown)}; known: {', '.join(sorted(READ))}.")
    kind = config.get("attn_type", "vanilla")
    if kind not in ("vanilla", "none"):
        raise UsageError(f'first stage config: attn_type is "{kind}"; known: vanilla, none.')
    multipliers = list(config["ch_mult"])
    sizes = [config["resolution"] // 2**level for level in range(len(multipliers))]
    attention = [2**level for level, size in enumerate(sizes) if size in config["attn_resolutions"]]
    shared = {
        "channels": config["ch"],
        "multipliers": multipliers,
        "blocks": config["num_res_blocks"],
        "attention": attention if kind == "vanilla" else [],
        "middle_attention": kind == "vanilla",
        "dropout": config.get("dropout", 0.0),
    }
    z = config["z_channels"]
    moments = 2 * z if config.get("double_z", True) else z
    return FirstStageArguments(
        encoder={"in_channels": config["in_channels"], "out_channels": moments, **shared},
        decoder={"in_channels": z, "out_channels": config["out_ch"], **shared},
        z_channels=z,
        latent_channels=params["embed_dim"],
        codes=params.get("n_embed"),
        factor=2 ** (len(multipliers) - 1),
    )


def objective_arguments(loss: Mapping[str, Any]) -> dict[str, Any]:
    """A published `lossconfig` in the words of our first stage's objective.

    loss: `params` of the lossconfig of either published loss class, whose defaults differ from ours and are filled in.
    `pixelloss_weight` and `disc_conditional` are accepted there and do nothing.
    """
    perceptual = loss.get("perceptual_weight", 1.0)
    return {
        "pixel": "l1",
        "perceptual": {"net": "vgg16", "weight": perceptual} if perceptual else "none",
        "kl_weight": loss.get("kl_weight", 1.0),
        "codebook_weight": loss.get("codebook_weight", 1.0),
        "log_variance_init": loss.get("logvar_init", 0.0),
        "discriminator": {
            "loss": loss.get("disc_loss", "hinge"),
            "start": loss["disc_start"],
            "lead": 0,
            "ramp": 0,
            "max_weight": LARGEST_WEIGHT,
            "weight": loss.get("disc_weight", 1.0),
            "factor": loss.get("disc_factor", 1.0),
            "channels": loss.get("disc_ndf", 64),
            "layers": loss.get("disc_num_layers", 3),
        },
    }
