"""Wrong changes of the training equation, by name: (old text, new text), or alternatives of it.

Old text is short and stands once below src.
"""

from __future__ import annotations

Change = tuple[tuple[str, str], ...]


def within(text: str, old: str, new: str) -> Change:
    """`old` becomes `new` inside of a longer text, which says which place is meant."""
    assert old in text
    return ((text, text.replace(old, new)),)


AVERAGED = "self.ema.applied() if self.ema else "
SECOND_STEP = "self.updater.step(step, norm)\n            "
FIRST_STEP = 'self.updater.step(step, metrics["gradient_norm"])\n            '
UPDATE = "if self.ema:\n                self.ema.update()"
VELOCITY = "return spread(alpha, x0) * eps - spread(sigma, x0) * x0"
BACKWARD = "\n            (terms.loss * share).backward()"
RATE = "self.lr * rate_factor(step, self.training)"

NULL = "conditioner.null(len(keep[name]), values[name])"
WHERE = f"where(keep[name], kept, {NULL})"

LATENTS: dict[str, Change] = {
    "latents not scaled": (("view(-1, 1, 1)) * self.latent_scale", "view(-1, 1, 1))"),),
    "latents divided by the scale": (("view(-1, 1, 1)) * self.latent_scale", "view(-1, 1, 1)) / self.latent_scale"),),
    "latents scaled twice": (("view(-1, 1, 1)) * self.latent_scale", "view(-1, 1, 1)) * self.latent_scale**2"),),
    "shift of latents ignored": (("(moments, noise) - self.latent_shift.view(-1, 1, 1)", "(moments, noise)"),),
    "second stage trains on posterior means": (("posterior.mean if noise is None", "posterior.mean if True"),),
    "variance for deviation in the posterior": (("self.mean + self.deviation", "self.mean + self.variance"),),
    "half the posterior's noise": (("self.deviation * noise", "self.deviation * 0.5 * noise"),),
    "latents of vq quantised": (
        ('!= "kl":\n            return moments', '!= "kl":\n            return self.quantise(moments).z'),
    ),
}
NOISE: dict[str, Change] = {
    "halved noise": (
        ("alpha * z + sigma * noise", "alpha * z + sigma * 0.5 * noise"),
        ("x0 + spread(sigma, x0) * eps", "x0 + spread(sigma, x0) * 0.5 * eps"),
    ),
    "alpha and sigma swapped": (
        ("alpha * z + sigma * noise", "sigma * z + alpha * noise"),
        ("spread(alpha, x0) * x0 + spread(sigma, x0) * eps", "spread(sigma, x0) * x0 + spread(alpha, x0) * eps"),
    ),
    "sigma without its root": (("self.abar.sqrt(), (1 - self.abar).sqrt()", "self.abar.sqrt(), 1 - self.abar"),),
    "betas of plain linear spacing": within(
        "_spaced(options.start**0.5, options.end**0.5, options.steps) ** 2", "**0.5", ""
    ),
    "network at the time after": (("x, t, context=cond.context", "x, t + 1, context=cond.context"),),
}
LOSS: dict[str, Change] = {
    "eps the target of velocity": ((VELOCITY, "return eps"),),
    "velocity with the other sign": ((VELOCITY, VELOCITY.replace("return ", "return -(") + ")"),),
    "eps the target of sample": (("-> Tensor:\n    return x0\n", "-> Tensor:\n    return eps\n"),),
    "x0 the target of epsilon": (("-> Tensor:\n    return eps\n", "-> Tensor:\n    return x0\n"),),
    "loss without the weights of times": (("self.weights[t] * (error", "(error"),),
    "loss without the bound": ((" + self.options.elbo_weight * elbo.mean()", ""),),
    "simple weight ignored": (("self.options.simple_weight * simple", "simple"),),
    "bound without its weights": (("self.elbo_weights[t] * error", "error"),),
    "weight of the bound infinite at t = 0": (("torch.cat([weights[1:2], weights[1:]])", "weights"),),
    "log-variance ignored": (("(error / log_var.exp() + log_var)", "error"),),
    "log-variance without its own term": (("(error / log_var.exp() + log_var)", "(error / log_var.exp())"),),
    "l1 and l2 swapped in the second stage": within('difference.abs() if loss == "l1"', "l1", "l2"),
    "error summed over a latent": ((".flatten(1).mean(1)", ".flatten(1).sum(1)"),),
}
CONDITIONS: dict[str, Change] = {
    "conditions never dropped": ((WHERE, "kept"),),
    "conditions always dropped": ((WHERE, NULL),),
    "training does not ask for dropping": (("example, step, drop=True", "example, step, drop=False"),),
    "only the first condition dropped": ((WHERE, f"{WHERE} if len(conds) == 0 else kept"),),
    "conditions only dropped together": (
        ("draws.chances, strict=True", "draws.chances[:1].expand_as(draws.chances), strict=True"),
    ),
    "kept where they should be dropped": (("(chance >= self.drop[name])", "(chance < self.drop[name])"),),
    "drop_all ignored": (("(chance >= self.drop[name]) & all_kept", "(chance >= self.drop[name])"),),
    "conditions dropped in validation": (("drop: bool = False", "drop: bool = True"),),
}
AVERAGES: dict[str, Change] = {
    "raw weights in the second stage's validation": within(
        AVERAGED + "nullcontext():\n            for split", AVERAGED, ""
    ),
    "raw weights in the second stage's preview": within(
        AVERAGED + "nullcontext():\n                self.previewer", AVERAGED, ""
    ),
    "raw weights in the first stage's validation": within(
        AVERAGED + "nullcontext():\n            for first", AVERAGED, ""
    ),
    "raw weights in the first stage's preview": within(AVERAGED + "nullcontext():\n            again", AVERAGED, ""),
    "average before the second stage's step": ((SECOND_STEP + UPDATE, UPDATE + "\n            " + SECOND_STEP),),
    "second stage averaged twice": within(SECOND_STEP + UPDATE, UPDATE, UPDATE + "\n                self.ema.update()"),
    "average before the first stage's step": ((FIRST_STEP + UPDATE, UPDATE + "\n            " + FIRST_STEP),),
    "first stage averaged twice": within(FIRST_STEP + UPDATE, UPDATE, UPDATE + "\n                self.ema.update()"),
    "average without its warm-up": within(
        "d = min(self.decay, (1 + self.updates) / (10 + self.updates))",
        "min(self.decay, (1 + self.updates) / (10 + self.updates))",
        "self.decay",
    ),
    "average with the shares swapped": (("self.weights.values()], 1 - d)", "self.weights.values()], d)"),),
}
UPDATES: dict[str, Change] = {
    "parts of the second stage summed": (("(loss * share).backward()", "loss.backward()"),),
    "parts of the first stage summed": within("latent, step)" + BACKWARD, "(terms.loss * share)", "terms.loss"),
    "parts of the discriminator summed": within("fake, step)" + BACKWARD, "(terms.loss * share)", "terms.loss"),
    "rate without warm-up and decay": ((RATE, "self.lr"),),
    "rate of the step after": within(RATE, "step", "step + 1"),
    "decay as if there were no warm-up": within(
        "(step - training.warmup) / max(1, training.steps - training.warmup)", " - training.warmup", ""
    ),
    "gradients not clipped": (("if clip is not None and norm > clip:", "if False:"),),
    "gradients kept from step to step": (("self.optimiser.zero_grad(set_to_none=True)", "_ = 0"),),
    "discriminator at the autoencoder's rate": (("self.training.discriminator_lr or ", ""),),
}
FIRST_STAGE: dict[str, Change] = {
    "hinge with the other sign": (
        ("F.relu(1.0 - real).mean() + F.relu(1.0 + fake)", "F.relu(1.0 + real).mean() + F.relu(1.0 - fake)"),
    ),
    "cross-entropy with the other sign": (
        ("F.softplus(-real).mean() + F.softplus(fake)", "F.softplus(real).mean() + F.softplus(-fake)"),
    ),
    "discriminator's loss not halved": (("0.5 * (F.relu", "(F.relu"),),
    "autoencoder helps the discriminator": (("return -self.discriminator(", "return self.discriminator("),),
    "adaptive weight of 1": (("d.weight * adaptive_weight(nll, adversarial, last_layer)", "nll.new_tensor(1.0)"),),
    "adaptive weight upside down": (("(of_nll / (of_adversarial + FLOOR))", "(of_adversarial / (of_nll + FLOOR))"),),
    "weight of the adversarial term ignored": (("d.weight * adaptive_weight(", "adaptive_weight("),),
    "factor of the adversarial term ignored": (("weight * factor * adversarial", "weight * adversarial"),),
    "factor of the discriminator's loss ignored": within("factor * DISCRIMINATOR_LOSSES", "factor * ", ""),
    "adversarial term a step late": (("step >= d.start", "step > d.start"),),
    "kl weight ignored": (("self.options.kl_weight * kl", "kl"),),
    "kl not shared out under a mean": (("* (self._values(x) / x.shape[1:].numel())", ""),),
    "kl without the mean's square": (("(self.mean.square() + self.variance", "(self.variance"),),
    "codebook weight ignored": (("self.options.codebook_weight * loss", "loss"),),
    "codebook's terms swapped": (("commitment + self.beta * codebook", "self.beta * commitment + codebook"),),
    "no gradient through the codes": (("z + (code - z).detach()", "code"),),
    "perceptual term ignored": (("pixel + o.perceptual.weight * perceptual", "pixel"),),
    "log-variance of the first stage ignored": (("(error / self.log_variance.exp() + self.log_variance)", "error"),),
    "mean for the sum over an image": (("return x.shape[1:].numel() if self.sums else 1", "return 1"),),
    "l1 and l2 swapped in the first stage": (
        ('{"l1": F.l1_loss, "l2": F.mse_loss}', '{"l2": F.l1_loss, "l1": F.mse_loss}'),
    ),
    "first stage decodes posterior means": (("z = latent.sample(noise)", "z = latent.mean"),),
    "discriminator sees the autoencoder's own draw": (('step, "posterior again")', 'step, "posterior")'),),
    "discriminator judged in eval mode": (("self.objective.train()", "self.objective.eval()"),),
}
MUTATIONS: dict[str, Change] = {**LATENTS, **NOISE, **LOSS, **CONDITIONS, **AVERAGES, **UPDATES, **FIRST_STAGE}
