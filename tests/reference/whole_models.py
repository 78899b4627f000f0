"""Published models as our assembled ones: first stage, denoiser and conditioners with the fixture's weights."""

from __future__ import annotations

from tokenizers import Tokenizer
from torch import Tensor, nn

from latentry import __version__
from latentry.checkpoints.compvis_first_stage import first_stage_arguments
from latentry.conditioning import Conditioner
from latentry.conditioning.class_label import ClassLabel, ClassLabelOptions
from latentry.conditioning.text import Text, TextOptions
from latentry.conditioning.tokenizer import fix_length, from_vocabulary
from latentry.models.autoencoder import Autoencoder
from latentry.models.config import AutoencoderOptions, DataFacts, DiffusionOptions, ModelConfig, UNetOptions
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.nn.text_encoder import TextTransformer
from latentry.pipeline import Pipeline
from tests.reference.first_stages import ours
from tests.reference.unets import Fixture

FIRST_STAGE = "first_stage_model."


def autoencoder(given: Fixture) -> Autoencoder:
    """The first stage with the scale of its latents."""
    params = given.params["first_stage_config"]["params"]
    a = first_stage_arguments(params)
    options = AutoencoderOptions(
        kind=a.kind,
        z_channels=a.z_channels,
        latent_channels=a.latent_channels,
        codes=a.codes or 1,
        **{key: a.encoder[key] for key in ("channels", "multipliers", "blocks", "attention", "middle_attention")},
    )
    model = Autoencoder(options, a.encoder["in_channels"])
    missing, unexpected = model.load_state_dict(ours(given.weights, FIRST_STAGE), strict=False)
    assert set(missing) == {"latent_scale", "latent_shift"}
    assert not unexpected
    model.latent_scale.fill_(float(given.weights.get("scale_factor", given.params.get("scale_factor", 1.0))))
    return model.eval()


def bert_tokenizer(size: int, length: int) -> Tokenizer:
    """A tokenizer with the special tokens of bert-base-uncased at their numbers, and no words."""
    special = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
    tokenizer = from_vocabulary({special.get(i, f"[unused{i}]"): i for i in range(size)})
    fix_length(tokenizer, length)
    return tokenizer


def conditioners(given: Fixture) -> dict[str, Conditioner]:
    """Our conditioner with the weights of the published stage; none if it is unconditional."""
    stage = given.condition_stage()
    if stage is None:
        return {}
    made: Conditioner
    if isinstance(stage, TextTransformer):
        params = given.params["cond_stage_config"]["params"]
        width, layers, size = params["n_embed"], params["n_layer"], stage.token.num_embeddings
        options = TextOptions(width=width, layers=layers, vocabulary=size)
        made = Text(options, bert_tokenizer(size, options.length))
        made.transformer.load_state_dict(stage.state_dict())
        return {"text": made}
    (weight,) = stage.parameters()
    classes, width = weight.shape
    made = ClassLabel(ClassLabelOptions(via="context", width=width, classes=classes, null=classes - 1))
    made.load_state_dict(stage.state_dict())
    return {"label": made}


def denoiser(given: Fixture, weights: str) -> LatentDiffusion:
    """The second stage with raw or averaged weights of the UNet."""
    told = conditioners(given)
    plain = {"transformer_depth": 0}  # what the network's own default is
    arguments = plain | {key: value for key, value in given.arguments.items() if key in UNetOptions.model_fields}
    params = given.params
    options = DiffusionOptions.model_validate(
        {
            "schedule": {
                "kind": "scaled_linear",
                "start": params["linear_start"],
                "end": params["linear_end"],
                "steps": params["timesteps"],
            },
            "unet": arguments,
            "conditioning": {name: conditioner.options for name, conditioner in told.items()},
        }
    )
    model = LatentDiffusion(options, params["channels"], told)
    model.unet.load_state_dict(given.unet(weights).state_dict())
    return model.eval()


def pipeline(given: Fixture, weights: str = "ema") -> Pipeline:
    """The whole published model."""
    first, second = autoencoder(given), denoiser(given, weights)
    size = given.params["image_size"] * first.factor
    config = ModelConfig.model_validate(
        {
            "name": given.folder.name,
            "version": __version__,
            "data": DataFacts(size=(size, size), channels=3),
            "autoencoder": first.options,
            "diffusion": second.options,
            "sample": {"levels": "published"},
        }
    )
    return Pipeline(config, first, second)


def told(given: Fixture, suffix: str = "") -> dict[str, Tensor]:
    """The fixture's conditions by our names; suffix "_uncond" for the published unconditional ones."""
    sources = {"text": "in.token_ids", "label": "in.class_label"}
    return {name: given.expected[key + suffix] for name, key in sources.items() if key in given.expected}


def norm(module: nn.Module) -> Tensor:
    """L2 norm over all gradients of a module."""
    from torch.nn.utils import get_total_norm

    return get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
