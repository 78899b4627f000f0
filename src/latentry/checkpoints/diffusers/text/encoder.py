"""What a text encoder of diffusers' pipelines is to the rest: its config, weights and tokenizer, both ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from latentry.kinds import KindOptions

Tensors = Mapping[str, Tensor]


class Encoder(NamedTuple):
    """One kind of text encoder.

    library, name: as a pipeline's index says them, and the same of its tokenizer. folder: its own. file: of our
    tokenizer. config: (our options, rows of the token table) to config.json; `options` is the reverse, with the
    file's name for errors. to_theirs, to_ours: weights. network: ours, of (options, rows), to check weights against.
    tokenizer_files: the `tokenizer` folder's files, text or JSON, from our tokenizer's text; `read_tokenizer` is the
    reverse. extras: further keys of config.json from our tokenizer's text.
    """

    library: str
    name: str
    tokenizer: tuple[str, str]
    folder: str
    file: str
    config: Callable[[Any, int], dict[str, Any]]
    options: Callable[[Mapping[str, Any], str], tuple[KindOptions, int]]
    to_theirs: Callable[[Tensors], dict[str, Tensor]]
    to_ours: Callable[[Tensors], dict[str, Tensor]]
    network: Callable[[Any, int], nn.Module]
    tokenizer_files: Callable[[str], dict[str, Any]]
    read_tokenizer: Callable[[Path, Any], str]
    extras: Callable[[str], dict[str, Any]] = lambda text: {}
