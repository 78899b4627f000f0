"""One tiny experiment for all tests of this folder, and its unbroken run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.e2e.tiny import Tiny


@pytest.fixture(scope="session")
def _experiment(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tiny, Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tiny")
    tiny = Tiny(folder)
    tiny.train(folder / "unbroken")
    return tiny, folder / "unbroken"


@pytest.fixture
def tiny(_experiment: tuple[Tiny, Path]) -> Tiny:
    """The experiment, with nothing said yet."""
    _experiment[0].said.clear()
    return _experiment[0]


@pytest.fixture
def unbroken(_experiment: tuple[Tiny, Path]) -> Path:
    """A run that nobody disturbed; not to be written to."""
    return _experiment[1]
