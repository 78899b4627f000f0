"""One published model as its many copies are passed round: halved, pruned, renamed, wrapped, in parts.

If these fail, a checkpoint that the world holds is refused, or opened as another model than the one it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

import latentry as lt
from latentry.checkpoints.compvis.config import translate
from latentry.checkpoints.compvis.locations import locations
from latentry.checkpoints.compvis.write import schedule_tables
from latentry.checkpoints.model_folder import ModelFolder
from latentry.diffusion.schedule import build_schedule
from latentry.errors import LatentryError, UsageError
from latentry.pipeline.foreign import import_model
from tests.e2e.test_foreign_kinds import CROSS, ENCODERS, checkpoint, tree
from tests.unit.conditioning.small_clip import clip_text

State = dict[str, Tensor]


def silent(_: str) -> None:
    return None


@pytest.fixture(scope="module")
def kl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A latent diffusion model with KL first stage, averages, counters and the schedule's tables."""
    return checkpoint("unconditional kl", tmp_path_factory.mktemp("kl") / "in")


def state_of(path: Path) -> State:
    content: dict[str, State] = torch.load(path, weights_only=True)
    return content["state_dict"]


def saved(state: State, source: Path, folder: Path, name: str = "model.safetensors") -> Path:
    """The state as a bare safetensors file, or inside a Lightning dict, with the config of `source` beside it."""
    folder.mkdir(exist_ok=True)
    shutil.copy(source.with_name("config.yaml"), folder)
    if name.endswith(".ckpt"):
        torch.save({"state_dict": state}, folder / name)
    else:
        metadata = {"format": "pt", "modelspec.title": "halved"}
        save_file({k: t.clone().contiguous() for k, t in state.items()}, folder / name, metadata)
    return folder / name


def opened(path: Path, **how: Any) -> ModelFolder:
    return import_model(path, report=silent, **how)


def same_weights(first: ModelFolder, second: ModelFolder, groups: tuple[str, ...] = ("unet", "autoencoder")) -> None:
    for group in groups:
        assert first.tensors[group].keys() == second.tensors[group].keys()
        for name, tensor in first.tensors[group].items():
            assert torch.equal(tensor, second.tensors[group][name].to(tensor.dtype)), name


def floats(state: State, change: Callable[[Tensor], Tensor]) -> State:
    return {k: change(t) if t.is_floating_point() else t for k, t in state.items()}


HALVED: dict[str, Callable[[Tensor], Tensor]] = {
    "fp16": lambda t: t.half(),
    "bf16": lambda t: t.bfloat16(),
    "fp8": lambda t: t.to(torch.float8_e4m3fn),
    "fp16, widened again": lambda t: t.half().float(),
    "bf16, widened again": lambda t: t.bfloat16().float(),
    "fp64": lambda t: t.double(),
    "off by a last bit": lambda t: torch.nextafter(t, torch.zeros_like(t)),
}


@pytest.mark.parametrize("name", HALVED)
@pytest.mark.parametrize("schedule", ["linear", "sqrt_linear", "cosine", "sqrt"])
def test_rounding_a_file_does_not_change_its_schedule(schedule: str, name: str, kl: Path, tmp_path: Path) -> None:
    """Else every level of noise is another than the model was trained with, or the file is refused."""
    content = yaml.safe_load(kl.with_name("config.yaml").read_text())
    content["model"]["params"] |= {"beta_schedule": schedule}
    if schedule == "sqrt":
        content["model"]["params"] |= {"linear_start": 1e-6, "linear_end": 1e-3}
    named = translate(content, "x").config.diffusion
    assert named is not None
    tables = schedule_tables(build_schedule(named.schedule))
    path = saved(floats(state_of(kl) | tables, HALVED[name]), kl, tmp_path)
    path.with_name("config.yaml").write_text(yaml.safe_dump(content))
    found = opened(path).config.diffusion
    assert found is not None
    assert found.schedule == named.schedule


def test_betas_alone_say_the_schedule_too(kl: Path, tmp_path: Path) -> None:
    state = {k: t for k, t in state_of(kl).items() if not k.startswith(("alphas", "sqrt_", "log_", "posterior"))}
    whole = opened(kl).config.diffusion
    for number, betas in enumerate((state["betas"], state["betas"].half())):
        path = saved(state | {"betas": betas}, kl, tmp_path / str(number))
        assert opened(path).config.diffusion == whole
    other = torch.linspace(1e-4, 2e-2, 1000)
    found = opened(saved(state | {"betas": other}, kl, tmp_path / "other")).config.diffusion
    assert found is not None
    assert found.schedule.kind == "table"
    torch.testing.assert_close(build_schedule(found.schedule).betas.float(), other, rtol=1e-3, atol=0)


def test_a_rounded_table_of_another_formula_is_refused_and_a_full_one_kept(kl: Path, tmp_path: Path) -> None:
    """Three digits of another schedule are no schedule; in full precision they are the file's own."""
    tables = schedule_tables(build_schedule("linear"))
    for number, kind in enumerate((torch.float16, torch.bfloat16)):
        path = saved(floats(state_of(kl) | tables, lambda t, kind=kind: t.to(kind)), kl, tmp_path / str(number))  # type: ignore[misc]
        with pytest.raises(LatentryError, match=r"alphas_cumprod in b?float16 is .* at time \d+, where the config's"):
            opened(path)
    found = opened(saved(state_of(kl) | tables, kl, tmp_path / "full")).config.diffusion
    assert found is not None
    made = build_schedule(found.schedule)
    assert torch.equal(made.abar.float(), tables["alphas_cumprod"])
    exact = build_schedule("linear")
    torch.testing.assert_close(made.exact.abar, exact.abar, rtol=1e-6, atol=0)
    torch.testing.assert_close(1 - made.exact.abar[:3], 1 - exact.abar[:3], rtol=1e-6, atol=0)  # not of rounded abar


def test_a_rounded_scale_is_the_configs(kl: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(kl.with_name("config.yaml").read_text())
    content["model"]["params"] |= {"scale_by_std": False, "scale_factor": 0.18215}
    state = floats(state_of(kl) | {"scale_factor": torch.tensor(0.18215)}, lambda t: t.half())
    path = saved(state, kl, tmp_path)
    path.with_name("config.yaml").write_text(yaml.safe_dump(content))
    assert float(opened(path).tensors["autoencoder"]["latent_scale"]) == pytest.approx(0.18215, rel=1e-7)


def test_counters_of_averages_that_were_pruned_stop_nothing(kl: Path, tmp_path: Path) -> None:
    state = {k: t for k, t in state_of(kl).items() if not k.startswith("model_ema.diffusion")}
    found = opened(saved(state, kl, tmp_path))
    same_weights(opened(kl, weights="raw"), found)
    assert "ema_updates" not in found.config.trained
    assert lt.load(tmp_path / "model.safetensors", device="cpu").denoiser is not None
    with pytest.raises(UsageError, match="no averaged weights"):
        opened(tmp_path / "model.safetensors", weights="ema")


def test_averages_alone_are_the_model(kl: Path, tmp_path: Path) -> None:
    state = {k: t for k, t in state_of(kl).items() if not k.startswith("model.diffusion_model")}
    path = saved(state, kl, tmp_path)
    same_weights(opened(kl, weights="ema"), opened(path))
    assert "unet_raw" not in opened(path).tensors
    with pytest.raises(UsageError, match="averaged weights alone"):
        opened(path, weights="raw")


def renamed(state: State, change: Callable[[str], str]) -> State:
    return {change(name): tensor for name, tensor in state.items()}


def of_diffusers(name: str) -> str:
    for ours, theirs in ((".q.", ".to_q."), (".k.", ".to_k."), (".v.", ".to_v."), (".proj_out.", ".to_out.0.")):
        name = name.replace(f"mid.attn_1{ours}", f"mid.attn_1{theirs}")
    return name


WRAPPED: dict[str, Callable[[State], State]] = {
    "data parallel": lambda s: renamed(s, lambda n: f"module.{n}"),
    "compiled": lambda s: renamed(s, lambda n: n.replace("diffusion_model.", "diffusion_model._orig_mod.")),
    "linear attention of the first stage": lambda s: {
        n: t[:, :, 0, 0] if ".attn_1." in n and t.ndim == 4 else t for n, t in s.items()
    },
    "names of the first stage's attention": lambda s: renamed(s, of_diffusers),
    "no tables": lambda s: {n: t for n, t in s.items() if "." in n or n == "scale_factor"},
    "parts of others": lambda s: s | {"lora_te_text_model.alpha": torch.ones(()), "control_model.x": torch.ones(2)},
}


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
@pytest.mark.parametrize("name", WRAPPED)
def test_other_names_and_shapes_of_the_same_weights(name: str, suffix: str, kl: Path, tmp_path: Path) -> None:
    said: list[str] = []
    path = saved(WRAPPED[name](state_of(kl)), kl, tmp_path, f"model{suffix}")
    same_weights(opened(kl), import_model(path, report=said.append))
    assert ("lora_te_text_model.alpha" in " ".join(said)) == (name == "parts of others")


PREFIXES = ("", "first_stage_model.", "vae.")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_first_stage_by_itself(prefix: str, kl: Path, tmp_path: Path) -> None:
    """With the config of the whole model or its own, its names with and without what stood before them there."""
    whole = opened(kl)
    state = {
        prefix + n.removeprefix("first_stage_model."): t
        for n, t in state_of(kl).items()
        if n.startswith("first_stage_model.")
    }
    content = yaml.safe_load(kl.with_name("config.yaml").read_text())
    content["model"]["params"] |= {"scale_by_std": False, "scale_factor": 0.3}
    path = saved(state, kl, tmp_path)
    path.with_name("config.yaml").write_text(yaml.safe_dump(content))
    said: list[str] = []
    found = import_model(path, report=said.append)
    assert found.config.diffusion is None
    assert float(found.tensors["autoencoder"]["latent_scale"]) == pytest.approx(0.3)
    assert any("holds no denoiser" in line for line in said)
    for name, tensor in whole.tensors["autoencoder"].items():
        assert name == "latent_scale" or torch.equal(tensor, found.tensors["autoencoder"][name])
    alone = {"model": content["model"]["params"]["first_stage_config"]}
    path.with_name("config.yaml").write_text(yaml.safe_dump(alone))
    assert import_model(path, report=silent).tensors["autoencoder"].keys() == whole.tensors["autoencoder"].keys()


def test_the_first_stage_of_a_whole_file_by_its_own_config(kl: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(kl.with_name("config.yaml").read_text())
    (tmp_path / "first.yaml").write_text(yaml.safe_dump({"model": content["model"]["params"]["first_stage_config"]}))
    found = opened(kl, config=tmp_path / "first.yaml")
    weights = opened(kl).tensors["autoencoder"]
    assert all(torch.equal(weights[n], t) for n, t in found.tensors["autoencoder"].items() if n != "latent_scale")


@pytest.fixture(scope="module")
def stable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion 1 in small: KL, cross-attention to CLIP, as its first files were."""
    folder = tmp_path_factory.mktemp("stable")
    clip = {"target": f"{ENCODERS}.FrozenCLIPEmbedder"}
    content = tree(
        clip, {**CROSS, "context_dim": 16, "use_checkpoint": True, "legacy": False}, "AutoencoderKL",
        conditioning_key="crossattn", scale_factor=0.18215, use_ema=False, monitor="val/loss_simple_ema",
        cond_stage_trainable=False, first_stage_key="jpg", cond_stage_key="txt", num_timesteps_cond=1, log_every_t=200,
    )  # fmt: skip
    plain = translate(content, "stable").config.model_dump(mode="json", exclude_none=True)
    plain["diffusion"]["conditioning"]["text"] |= {"width": 16, "layers": 2, "heads": 2}
    (folder / "config.yaml").write_text(yaml.safe_dump({**content, "latentry": plain}))
    found = locations(translate({**content, "latentry": plain}, "stable").config, {"clip_tokenizer.json": words()})
    draw = torch.Generator().manual_seed(0)
    state = {key: 0.2 * torch.randn(place.shape, generator=draw) for key, place in found.kept.items()}
    diffusion = translate(content, "stable").config.diffusion
    assert diffusion is not None
    state |= schedule_tables(build_schedule(diffusion.schedule))
    state["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    torch.save({"state_dict": state, "global_step": 470000}, folder / "model.ckpt")
    return folder / "model.ckpt"


def words() -> str:
    return clip_text()


OLD, NEW = "cond_stage_model.transformer.text_model.", "cond_stage_model.transformer."
STABLE: dict[str, Callable[[State], State]] = {
    "as it was": lambda s: s,
    "as transformers 5 names it": lambda s: renamed(s, lambda n: n.replace(OLD, NEW)),
    "no positions": lambda s: {n: t for n, t in s.items() if "position_ids" not in n},
    "positions halved too": lambda s: {n: t.half() for n, t in s.items()},
    "linear at the ends of its transformers": lambda s: {
        n: t[:, :, 0, 0] if ".proj_in.weight" in n or ".proj_out.weight" in n else t for n, t in s.items()
    },
    "counters left": lambda s: s | {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(7)},
}


@pytest.mark.parametrize("name", STABLE)
def test_stable_diffusion_in_its_copies(name: str, stable: Path, tmp_path: Path, monkeypatch: Any) -> None:
    from latentry.conditioning.words import clip_tokenizer

    # Of the published vocabulary nothing is here; this one's size is that of the small text encoder.
    made = clip_tokenizer.parts(words(), "small")
    monkeypatch.setattr(clip_tokenizer, "TOKENS", len(made[0]))
    monkeypatch.setattr(
        clip_tokenizer, "without_words", lambda length: clip_tokenizer.clip_tokenizer(made[0], made[1], length, made[2])
    )
    source = opened(stable)
    found = opened(saved(STABLE[name](state_of(stable)), stable, tmp_path))
    assert found.config.diffusion == source.config.diffusion
    groups = ("unet", "autoencoder", "conditioning")
    if "halved" not in name:
        same_weights(source, found, groups)
    assert {g: t.keys() for g, t in found.tensors.items()} == {g: t.keys() for g, t in source.tensors.items()}
