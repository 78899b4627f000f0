"""If these fail, what docs/serve.md tells people to type does not work."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, blocks
from tests.unit.serve.live import MODELS, Live, live

PAGE = ROOT / "docs" / "serve.md"


@pytest.fixture(scope="module")
def server():
    with live({"emoji": MODELS["small"]}) as running:
        running.engine.models.aliases["gpt-image-1"] = "emoji"
        yield running


def here(block: str, server: Live) -> str:
    return block.replace("http://127.0.0.1:8420", server.url)


def test_the_curl_example_gets_two_images(server, tmp_path: Path):
    (block,) = [block for block in blocks(PAGE, "sh") if block.startswith("curl")]
    subprocess.run(["sh", "-ec", here(block, server)], cwd=tmp_path, check=True)
    assert [image["seed"] for image in json.loads((tmp_path / "answer.json").read_text())["data"]] == [7, 8]


def test_the_python_example_draws_edits_and_streams(server, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (block,) = blocks(PAGE, "python")
    exec(compile(here(block, server), str(PAGE), "exec"), {})
    told = capsys.readouterr().out.splitlines()
    kinds = [line.split()[0] for line in told]
    assert kinds == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert (tmp_path / "apple.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(shutil.which("node") is None, reason="no node here")
def test_the_javascript_example_gets_a_picture(server):
    (block,) = blocks(PAGE, "js")
    script = here(block, server) + "\nconsole.log(picture.slice(0, 30));"
    command = ["node", "--input-type=module", "-e", script]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.startswith("data:image/png;base64,iVBOR")


def test_every_endpoint_is_told_and_there(server):
    """The page's table against the server's own description, both ways."""
    page = PAGE.read_text(encoding="utf-8")
    for path in server_paths(server):
        stem = path.replace("{name}", "NAME").replace("{id}", "ID").replace("{index}", "N")
        assert stem in page or stem.startswith("/v1/tasks/"), path


def server_paths(server: Live) -> list[str]:
    with server.http() as client:
        return list(client.get("/openapi.json").json()["paths"])
