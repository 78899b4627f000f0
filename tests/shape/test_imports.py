"""If these fail, a layer leans on one above it: the mathematics on the training, the networks on the files."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from latentry.conditioning import CONDITIONERS

ROOT = Path(__file__).parents[2] / "src" / "latentry"
ROWS = [
    {"__main__"},
    {"cli"},
    {"bench", "serve", "study", "verify"},
    {"training"},
    {"evaluation"},
    {"pipeline"},
    {"checkpoints", "tasks"},
    {"models"},
    {"conditioning", "metrics"},
    {"nn", "diffusion", "data"},
    {"config", "kinds", "rng", "devices", "recipes", "windows"},
    {"bounds", "text", "safe_header", "timing"},
    {"errors", "interrupts"},
]
HEIGHT = {name: -row for row, names in enumerate(ROWS) for name in names}
FILES = sorted(ROOT.rglob("*.py"))


def part_of(path: Path) -> str:
    """The folder or module directly below the package that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of everything imported anywhere in a file, `from a import b` as `a.b`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield from ((node.lineno, f"{node.module}.{name.name}") for name in node.names)


def own_parts(path: Path) -> Iterator[tuple[int, str]]:
    for line, name in imported(path):
        root, _, rest = name.partition(".")
        if root == "latentry" and rest != "__version__":
            yield line, rest.split(".")[0]


def module(path: Path) -> str:
    """The name by which a file is imported."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(path): path for path in FILES}


def executed(node: ast.AST) -> Iterator[ast.AST]:
    """Everything below a node but what only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for other in child.orelse:
                yield from (other, *executed(other))
        else:
            yield from (child, *executed(child))


def files_imported(path: Path) -> set[str]:
    """The modules of the package that a file names in its imports, also in those inside functions."""
    names = set[str]()
    for node in executed(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            inside = {one.name: f"{node.module}.{one.name}" for one in node.names}
            names |= {full if full in MODULES else str(node.module) for full in inside.values()}
    return (names & MODULES.keys()) - {module(path)}


def circle_in(graph: Mapping[str, set[str]]) -> list[str]:
    """The modules of one circle, each imported by the one before it; empty where there is none."""
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_file_imports_itself_by_way_of_others():
    """Such files can be read, tested and moved only together, and run by the luck of which is imported first."""
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) in (["b", "c", "b"], ["c", "b", "c"])
    graph = {name: files_imported(path) for name, path in MODULES.items()}
    assert sum(map(len, graph.values())) > len(graph), "imports are not seen"
    assert not circle_in(graph)


def test_training_asks_conditions_what_they_are_not_what_they_are_called():
    """Else a new conditioner must be written into the files that train it."""
    compared = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"
        for path in FILES
        if part_of(path) == "training"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Compare | ast.MatchValue)
        for constant in ast.walk(node)
        if isinstance(constant, ast.Constant) and constant.value in CONDITIONERS
    ]
    assert not compared


def test_every_part_has_its_row():
    parts = {part_of(path) for path in FILES} - {"__init__"}
    assert parts <= HEIGHT.keys()


def test_imports_lead_down():
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {part_of(path)} imports {other}"
        for path in FILES
        if part_of(path) != "__init__"
        for line, other in own_parts(path)
        if other != part_of(path) and HEIGHT[other] >= HEIGHT[part_of(path)]
    ]
    assert not wrong


def test_the_package_itself_imports_nothing_at_once():
    """`import latentry` and `latentry --help` stay quick."""
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    at_once = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert all(isinstance(node, ast.ImportFrom) and node.module in ("__future__", "typing") for node in at_once)


def test_mathematics_and_data_know_no_layers():
    for path in FILES:
        if part_of(path) in ("diffusion", "data", "config", "rng", "kinds", "errors"):
            layers = [f"{path}:{line}" for line, name in imported(path) if name.startswith("torch.nn")]
            assert not layers


def test_only_the_command_line_prints_or_reads_arguments():
    for path in FILES:
        if part_of(path) in ("cli", "__main__"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
        assert not [f"{path}:{call.lineno}" for call in calls if getattr(call.func, "id", "") in ("print", "input")]
        assert not [f"{path}:{line}" for line, name in imported(path) if name in ("argparse", "typer", "sys.argv")]
