"""If these fail, every command waits for libraries that it does not need."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from latentry.tasks import TASKS

MODELS = Path(__file__).parents[3] / "models"
HEAVY = ["torch", "pydantic", "numpy", "yaml", "PIL", "tensorboard", "tokenizers"]


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom latentry.cli import run\n"
        "code = run(['--help'])\n"
        f"print([name for name in {HEAVY} if name in sys.modules], code)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[] 0"


def test_the_options_of_tasks_need_no_networks():
    """`latentry sample --help`, and a mistyped option, come before torch could be imported."""
    code = (
        "import sys\nfrom latentry.cli import run\nfrom latentry.tasks import TASKS\n"
        "codes = [run([entry.command, '--help']) for entry in TASKS.values()]\n"
        "codes.append(run(['sample', 'm', '--size', 'x', '--out', 'o']))\n"
        "print([name for name in ['torch', 'numpy', 'PIL'] if name in sys.modules], codes)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == f"[] {[0] * len(TASKS) + [2]}"


@pytest.mark.alone
def test_help_is_there_within_half_a_second():
    def seconds() -> float:
        begin = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "latentry", "--help"], capture_output=True, text=True, check=True)
        assert "train" in done.stdout
        return time.perf_counter() - begin

    assert min(seconds() for _ in range(5)) < 0.5


def test_the_package_is_imported_at_once_and_torch_when_used():
    code = "import sys, latentry; assert 'torch' not in sys.modules; latentry.load; assert 'torch' in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(not MODELS.is_dir(), reason="the shipped models are not in this checkout")
def test_a_model_opens_and_draws_without_a_compiler():
    """torch's takes longer to import than a model of ours takes to draw."""
    code = (
        "import sys, latentry as lt\n"
        f"for model in {[str(MODELS / name) for name in ('emoji', 'shapes')]}:\n"
        "    lt.load(model).sample(n=1, steps=1)\n"
        "print([name for name in ('torch._dynamo', 'torch._inductor', 'sympy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
