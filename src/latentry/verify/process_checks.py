"""The reference numbers of the diffusion process, the denoiser and its loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from latentry.checkpoints import model_folder
from latentry.checkpoints.compvis.training import diffusion_objective
from latentry.diffusion.objective import DenoisingLoss, Objective
from latentry.diffusion.prediction import PREDICTIONS
from latentry.diffusion.process import posterior_log_variance, posterior_mean, posterior_variance, q_sample
from latentry.diffusion.schedule import Schedule
from latentry.diffusion.weighting import elbo_weights
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.nn.attention import Signals
from latentry.nn.embedding import sinusoids
from latentry.training.loop.ema import EMA
from latentry.verify.fixture import Check, NotThere, Subject


def schedule(s: Subject) -> Schedule:
    return s.denoiser().schedule


def levels(s: Subject) -> tuple[Tensor, Tensor]:
    """alpha and sigma of the four times, (4, 1, 1, 1)."""
    alpha, sigma = schedule(s).at(s["in.t4"])
    return alpha.view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1)


def x0_from_eps(s: Subject) -> Tensor:
    return PREDICTIONS["epsilon"].x0(s["in.x_t4"], s["in.eps4"], *levels(s))


def predicted_mean(s: Subject) -> Tensor:
    """Of one ancestral step; models of pixels clip x0."""
    model, x_t = s.denoiser(), s["in.x_t4"]
    x0 = model.prediction.x0(x_t, model(x_t, s["in.t4"], s.condition("ema", twice=True)), *levels(s))
    if s.pipes["ema"].config.sample.clip:
        x0 = x0.clamp(-1, 1)
    return posterior_mean(model.schedule, x0, x_t, s["in.t4"])


def one_step(s: Subject) -> Tensor:
    t = s["in.t4"]
    deviation = (0.5 * posterior_log_variance(schedule(s))[t.cpu()]).exp().float().to(t.device) * (t > 0)
    return predicted_mean(s) + deviation.view(-1, 1, 1, 1) * s["in.p_noise"]


DDPM: dict[str, Check] = {
    "x0_from_eps": x0_from_eps,
    "posterior_mean": lambda s: posterior_mean(schedule(s), s["in.x0"], s["in.x_t4"], s["in.t4"]),
    "posterior_variance": lambda s: posterior_variance(schedule(s))[s["in.t4"].cpu()],
    "posterior_log_variance": lambda s: posterior_log_variance(schedule(s))[s["in.t4"].cpu()],
    "mean_from_eps": lambda s: posterior_mean(schedule(s), x0_from_eps(s), s["in.x_t4"], s["in.t4"]),
    "p_mean": predicted_mean,
    "p_sample": one_step,
}


def network(s: Subject, weights: str, case: str) -> Tensor:
    """The network's output: at one time, mixed times, of non-square or small inputs, or without conditions."""
    nothing = case.startswith("uncond_")
    case = case.removeprefix("uncond_")
    x = s[{"rect": "in.x_rect", "small": "in.x_small"}.get(case, "in.x_t")]
    t = torch.full((len(x),), int(case[1:])) if case[0] == "t" and case[1:].isdigit() else s["in.t_mixed"]
    return s.denoiser(weights)(x, t, s.condition(weights, nothing=nothing))


def probe(s: Subject, name: str) -> Tensor:
    """One module alone, on an input of tiny variance."""
    unet = s.denoiser("raw").unet
    if name == "time_embedding":
        return sinusoids(s["in.t4"], unet.channels)
    if name == "time_embed":
        return unet.embed_time(s["in.t_mixed"])
    module, x = s.module(f"out.probe.{name}"), s[f"in.probe.{name}"]
    return call(module, x, s)


def call(module: nn.Module, x: Tensor, s: Subject) -> Tensor:
    """A block of ours with whatever it needs besides x."""
    time = s.denoiser("raw").unet.embed_time(s["in.t_mixed"])
    needs = module.forward.__code__.co_varnames[1 : module.forward.__code__.co_argcount]
    context = s.condition("raw").context if "signals" in needs else None
    available = {"time": time, "signals": Signals(time, context, None, None, {})}
    result: Tensor = module(x, *(available[name] for name in needs[1:] if name in available))
    return result


def loss(s: Subject) -> DenoisingLoss:
    """Of raw weights at the fixture's times and noise, with the config's weights."""
    model = s.denoiser("raw")
    objective = Objective(diffusion_objective(s.params), model.schedule, model.options.prediction).to(s.device)
    x_t = q_sample(s["in.x0"], s["in.noise"], *schedule(s).at(s["in.t4"]))
    out = model(x_t, s["in.t4"], s.condition("raw", twice=True))
    target = model.prediction.target(s["in.x0"], s["in.noise"], *levels(s))
    return objective(out, target, s["in.t4"], s.once(log_variance))


def log_variance(s: Subject) -> Tensor:
    """The learned one of the model, or the config's, (T,); a parameter, so that its gradient is there to compare."""
    objective = Objective(diffusion_objective(s.params), schedule(s), s.denoiser().options.prediction)
    kept = model_folder.read(s.model).tensors.get("objective", {})
    return nn.Parameter(kept.get("log_variance", objective.initial_log_variance()).to(s.device))


def gamma(s: Subject) -> Tensor:
    """The simple loss as the learned log-variance weighs it."""
    lv = s.once(log_variance)[s["in.t4"]]
    return (s.once(loss).simple / lv.exp() + lv).mean()


LOSSES: dict[str, Check] = {
    "total": lambda s: s.once(loss).total,
    "loss": lambda s: s.once(loss).total,
    "loss_simple": lambda s: s.once(loss).simple.mean(),
    "loss_vlb": lambda s: s.once(loss).elbo.mean(),
    "loss_gamma": gamma,
    "per_sample": lambda s: s.once(loss).simple,
    "logvar": lambda s: s.once(log_variance).mean(),
}


@torch.enable_grad()
def differentiated(s: Subject) -> LatentDiffusion:
    """The model with raw weights, each with its gradient of the total loss, as the log-variance has its own."""
    model = s.denoiser("raw")
    model.zero_grad()
    s.once(log_variance).grad = None
    loss(s).total.backward()
    return model


def gradient(s: Subject, name: str) -> Tensor:
    """Of the total loss with respect to a published parameter, or the norm over a part."""
    model = s.once(differentiated)
    if name in ("model_norm", "cond_stage_norm"):
        part: nn.Module = model.unet if name == "model_norm" else model.conditioners
        return get_total_norm([p.grad for p in part.parameters() if p.grad is not None])
    if name == "logvar":
        if not diffusion_objective(s.params).learn_log_variance:
            raise NotThere("the config does not learn a log-variance")
        learned = s.once(log_variance).grad
        assert learned is not None
        return learned
    location = s.locations.kept.get(name)
    if location is None:
        raise NotThere("no parameter of that name")
    weight = dict(s.owner(location.group).named_parameters())[location.name]
    return torch.zeros_like(weight) if weight.grad is None else weight.grad  # of a query of one key, say


def ema_update(s: Subject, name: str) -> Tensor:
    """A moving average after one more update towards the raw weights."""
    trained = s.pipes["ema"].config.trained
    raw = dict(s.denoiser("raw").unet.named_parameters())
    ema = EMA(raw, 0.9999)
    ema.load({**dict(s.denoiser("ema").unet.state_dict()), "updates": torch.tensor(trained.get("ema_updates", 0))})
    ema.update()
    if name == "num_updates":
        return ema.updates
    return ema.shadow[s.locations.averaged[f"model_ema.{name}"].name]


def condition(s: Subject, *, nothing: bool) -> Tensor:
    """The one part of the condition."""
    (part,) = s.condition("raw", nothing=nothing).parts().values()
    return part


CHECKS: dict[str, Check] = {
    r"cond": lambda s: condition(s, nothing=False),
    r"uncond": lambda s: condition(s, nothing=True),
    r"q_sample": lambda s: q_sample(s["in.x0"], s["in.noise"], *schedule(s).at(s["in.t4"])),
    r"ddpm\.(\w+)": lambda s, name: DDPM[name](s),
    r"lvlb_weights": lambda s: elbo_weights(schedule(s), s.denoiser().options.prediction),
    r"eps\.(raw|ema)\.(\w+)": network,
    r"probe\.(\w+)": probe,
    r"loss\.(\w+)": lambda s, name: LOSSES[name](s),
    r"grad\.(.+)": gradient,
    r"ema_update\.(.+)": ema_update,
}
"""Pattern of a tensor's name behind `out.` -> what gives it."""
