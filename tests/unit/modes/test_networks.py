"""Networks in every mode compute what they compute in the plain one; weights stay what they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentry.devices import autocast, prepacks
from latentry.models.modes import PLAIN, Mode
from latentry.models.modes.applying import forget_others
from latentry.models.modes.compiling import no_compiler
from latentry.models.modes.mode import mode_of
from latentry.models.modes.packed import READY, Packed, PackedConv, PackedLinear, expect_any_rows
from latentry.models.modes.regions import compile_regions, regions
from latentry.nn.unet import UNet

CPU = torch.device("cpu")
EAGER = [Mode(), Mode(channels_last=True), Mode(frozen=True), Mode(channels_last=True, frozen=True)]


def unet() -> UNet:
    torch.manual_seed(0)
    shape = {"channels": 16, "multipliers": (1, 2), "blocks": 1, "attention": (1, 2), "heads": 2, "norm_groups": 4}
    made = UNet(in_channels=3, out_channels=3, transformer_depth=1, context_channels=8, scale_shift=True, **shape)  # type: ignore[arg-type]
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.1)
    return made.eval()


def called(network: UNet, batch: int = 2, size: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    x, context = (torch.randn(shape, generator=generator) for shape in ((batch, 3, size, size), (batch, 5, 8)))
    result: Tensor = network(x, torch.full((batch,), 40.0), context=context)
    return result


@torch.no_grad()
@pytest.mark.parametrize("mode", EAGER, ids=str)
def test_fp32_modes_agree_to_rounding(mode: Mode) -> None:
    """Of any batch and size, also after each other: a kernel packed for one must serve the next."""
    network = unet()
    for batch, size in ((2, 8), (1, 8), (3, 4), (2, 8)):
        PLAIN.apply(network)
        plain = called(network, batch, size)
        mode.apply(network)
        assert mode_of(network) == mode
        assert torch.allclose(called(network, batch, size), plain, atol=2e-5)


@torch.no_grad()
@pytest.mark.skipif(not prepacks(CPU), reason="this processor's kernels take weights as they are")
def test_a_network_that_expects_any_rows_is_packed_once_for_several(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server's batches change at nearly every step: packing anew each time took longer than an image's own step."""
    network, packed = unet(), list[int]()
    plain = {batch: called(network, batch) for batch in (3, 2, 5, 1)}
    expect_any_rows(network)
    Mode(channels_last=True, frozen=True).apply(network)
    for kind in (PackedConv, PackedLinear):
        real = kind.packed
        monkeypatch.setattr(kind, "packed", lambda self, x, real=real: (packed.append(len(x)), real(self, x))[1])  # type: ignore[func-returns-value]
    for batch, wanted in plain.items():
        assert torch.allclose(called(network, batch), wanted, atol=2e-5)
    assert set(packed) == {3, 1}


@torch.no_grad()
def test_steps_of_cuda_graphs_begin_with_a_call_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a call: a mark between two blocks would free what the way up still needs, none would let graphs pile up."""
    seen: list[str] = []

    def compiled(block: Callable[..., Tensor], **_: object) -> Callable[..., Tensor]:
        return lambda *given: [seen.append("block"), block(*given)][1]  # type: ignore[func-returns-value, return-value]

    monkeypatch.setattr(torch, "compile", compiled)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: seen.append("step"))
    network = unet()
    plain = called(network)
    compile_regions(network, "graphs", torch.device("cuda"), lambda _: None)
    assert all(torch.allclose(called(network), plain, atol=1e-6) for _ in range(2))
    a_call = ["step", *["block"] * len(list(regions(network)))]
    assert len(a_call) > 4
    assert seen == [*a_call, *a_call]


@torch.no_grad()
def test_bf16_weights_kept_or_rounded_at_each_step_are_the_same_weights() -> None:
    """Frozen bf16 may differ from bf16 by bf16's rounding alone: 8 bits, of values about 1."""
    network = unet()
    plain = called(network)
    found = []
    for mode in (Mode("bf16"), Mode("bf16", channels_last=True, frozen=True)):
        mode.apply(network)
        with autocast(CPU, "bf16"):
            found.append(called(network).float())
    scale = plain.abs().max()
    assert all((one - plain).abs().max() < 0.05 * scale for one in found)
    assert (found[0] - found[1]).abs().max() < 0.03 * scale


def dilated(layer: nn.Conv2d, x: Tensor) -> Tensor:
    return F.conv2d(x, layer.weight, layer.bias, dilation=2, groups=3)


@pytest.mark.parametrize(
    ("layer", "shape", "by_torch"),
    [
        (nn.Conv2d(5, 7, 3, stride=2, padding=1), (2, 5, 9, 6), lambda m, x: F.conv2d(x, m.weight, m.bias, 2, 1)),
        (nn.Conv2d(6, 6, 3, dilation=2, groups=3), (1, 6, 9, 9), dilated),
        (nn.Conv2d(6, 4, 1, bias=False), (1, 6, 5, 5), lambda m, x: F.conv2d(x, m.weight)),
        (nn.Linear(5, 3), (4, 5), lambda m, x: x @ m.weight.T + m.bias),
        (nn.Linear(5, 3, bias=False), (2, 3, 4, 5), lambda m, x: x @ m.weight.T),
    ],
)  # fmt: skip
@torch.no_grad()
def test_a_packed_layer_is_its_textbook_form(
    layer: nn.Module, shape: tuple[int, ...], by_torch: Callable[[nn.Module, Tensor], Tensor]
) -> None:
    """Stride, padding, dilation, groups, a missing bias: each must reach the kernel, and a strided input too."""
    x = torch.randn(*shape[:-1], 2 * shape[-1])[..., ::2]
    Mode(channels_last=len(shape) == 4, frozen=True).apply(layer)
    assert torch.allclose(layer(x), by_torch(layer, x), atol=1e-5)


@torch.no_grad()
def test_changed_weights_are_packed_again() -> None:
    """Training on, loading or averaging weights would otherwise go unnoticed: pictures of an old network."""
    layer = nn.Linear(4, 4)
    Mode(frozen=True).apply(layer)
    x, before = torch.randn(2, 4), {name: one.clone() for name, one in layer.state_dict().items()}
    layer(x)
    layer.weight.mul_(2)
    assert torch.allclose(layer(x), F.linear(x, layer.weight, layer.bias), atol=1e-6)
    layer.bias.add_(1)
    assert torch.allclose(layer(x), F.linear(x, layer.weight, layer.bias), atol=1e-6)
    layer.load_state_dict(before, assign=True)
    assert torch.allclose(layer(x), F.linear(x, before["weight"], before["bias"]), atol=1e-6)


def test_gradients_pass_a_network_in_any_mode() -> None:
    """Guidance by images and classifiers differentiates through the network: without gradients it would do nothing."""
    network, wanted = unet(), None
    for mode in EAGER:
        mode.apply(network)
        network.zero_grad()
        called(network).square().sum().backward()
        gradient = network.conv_in.weight.grad
        assert gradient is not None
        wanted = gradient.clone() if wanted is None else wanted
        assert torch.allclose(gradient, wanted, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_the_plain_mode_is_bit_for_bit_what_it_was_before_others() -> None:
    """Pictures drawn in the plain mode are drawn again to the bit, whatever was drawn between."""
    network = unet()
    plain, names = called(network), list(network.state_dict())
    Mode(channels_last=True, frozen=True).apply(network)
    called(network)
    PLAIN.apply(network)
    assert called(network).equal(plain)
    assert list(network.state_dict()) == names
    forget_others(network)
    kept = [one for module in network.modules() for one in module.__dict__.get(READY, {}).values()]
    assert not kept
    assert not any(isinstance(one, Packed) for m in network.modules() for one in m.__dict__.values())


@torch.no_grad()
def test_without_a_compiler_it_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, and the plain result; no traceback after the picture was asked for."""
    from latentry.models.modes import regions

    monkeypatch.setattr(regions, "no_compiler", lambda _: "no working C++ compiler")
    network, told = unet(), list[str]()
    plain = called(network)
    Mode(compile=True).apply(network, told.append)
    assert called(network).equal(plain)
    assert told == ["mode: not compiled, runs as it is (no working C++ compiler)"]


@pytest.mark.soak
@pytest.mark.skipif(bool(no_compiler(CPU)), reason="no C++ compiler")
@torch.no_grad()
def test_compiled_blocks_agree_to_rounding() -> None:
    """Compiled, and compiled around prepacked layers; edits of attention are not compiled over."""
    network = unet()
    plain = called(network)
    for mode in (Mode(compile=True), Mode(channels_last=True, compile=True, frozen=True)):
        mode.apply(network)
        assert torch.allclose(called(network), plain, atol=2e-5)
