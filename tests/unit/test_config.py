"""If these fail, a recipe means something else than its author wrote, or its mistakes are told one at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, model_validator

from latentry import config
from latentry.config import text as reader
from latentry.errors import UsageError
from latentry.kinds import Kind, KindOptions, Options, choice


class Deep(Options):
    width: int = 3


class Linear(KindOptions):
    start: float = 1e-4
    steps: int = Field(1000, gt=0)


class Cosine(KindOptions):
    shift: float = 0.008
    deep: Deep = Deep()


TABLE = {"linear": Kind(Linear, lambda o: o), "cosine": Kind(Cosine, lambda o: o)}


class Net(Options):
    channels: int
    multipliers: list[int] = [1]
    heads: int | list[int] = 1


class Even(Options):
    """Its own check runs only when `width` and `inner` are right."""

    width: int = 2
    inner: Deep = Deep()

    @model_validator(mode="after")
    def _even(self) -> Even:
        if self.width % 2:
            raise ValueError(f"width {self.width} is odd")
        return self


class From(Options):
    from_: str = Field(alias="from")


class Tree(Options):
    name: str = "x"
    schedule: choice(TABLE, "schedules") = Linear(kind="linear")  # type: ignore[valid-type]
    net: Net | From = Net(channels=8)
    parts: dict[str, choice(TABLE, "parts")] = {}  # type: ignore[valid-type]
    prediction: Literal["epsilon", "sample"] = "epsilon"
    size: int | tuple[int, int] = 64
    inner: Net | None = None
    even: Even = Even()
    conditions: dict[str, choice(TABLE, "conditions")] | Literal["auto"] = {}  # type: ignore[valid-type]


def lines(text: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        config.validate(Tree, config.parse_yaml(text, "r.yaml"), "r.yaml")
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1.5E+3", 1500.0),
        ("-.5", -0.5),
        (".inf", float("inf")),
        ("0x10", 16),
        ("010", 10),
        ("1_000", 1000),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("~", None),
        ("", None),
        ("2020-01-01", "2020-01-01"),
        ("1:30", "1:30"),
        ("'1e-4'", "1e-4"),
        ("[1, a]", [1, "a"]),
    ],
)
def test_scalars_mean_what_people_expect(text, value):
    found = config.parse_value(text, "x")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2", 'line 4, column 3: key "c" stands twice'),
        ("a: [1", "line 1"),
        ("a: !!python/object/apply:os.system [x]", "line 1, column 4: tag"),
        ("a: !!binary aGk=", "tag"),
        ("a: &x [1]\nb: *x", "anchors and aliases"),
        ("- 1", "a mapping"),
        ("a: \x00", "special characters"),
        ("[" * 3000, "nested too deeply"),
        ("? [1]\n: 2", "key"),
        ("a: " + "9" * 6000, "digits"),
    ],
)
def test_bad_yaml_is_one_line_with_its_place(text, part):
    with pytest.raises(UsageError) as caught:
        config.parse_yaml(text, "r.yaml")
    said = str(caught.value)
    assert said.startswith("r.yaml: ")
    assert "\n" not in said
    assert part in said


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("name: größe".encode("latin-1"))
    for path, part in [(latin, "not UTF-8"), (tmp_path / "none.yaml", "No such file"), (tmp_path, "is a folder")]:
        with pytest.raises(UsageError, match=part) as caught:
            config.load_yaml(path)
        assert str(path) in str(caught.value)


def test_an_empty_file_and_a_byte_order_mark_are_fine(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("")
    assert config.load_yaml(path) == {}
    path.write_bytes(b"\xef\xbb\xbfname: a\n")
    assert config.load_yaml(path) == {"name": "a"}


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
trees = st.recursive(scalars, lambda t: st.lists(t, max_size=3) | st.dictionaries(st.text(max_size=8), t, max_size=3))


@given(st.dictionaries(st.text(max_size=8), trees, max_size=4))
def test_what_is_written_is_read_back(tree):
    """A run's recipe.yaml must be the recipe that ran: the word "1e-4" stays a word, the number a number."""
    assert config.parse_yaml(config.dump_yaml(tree), "x") == tree


def test_overrides_reach_inner_keys_and_leave_the_original():
    tree = {"a": {"b": 1, "c": 2}, "schedule": "cosine"}
    changed = config.override(tree, ["a.b=1e-3", "n.e.w=[1, 2]", "schedule.shift=0.1", "empty=", "text=a=b"])
    assert changed == {
        "a": {"b": 1e-3, "c": 2},
        "n": {"e": {"w": [1, 2]}},
        "schedule": {"kind": "cosine", "shift": 0.1},
        "empty": None,
        "text": "a=b",
    }
    assert tree == {"a": {"b": 1, "c": 2}, "schedule": "cosine"}
    assert config.override(tree, {"a.b": 5}) == {"a": {"b": 5, "c": 2}, "schedule": "cosine"}


def test_an_override_of_one_section_is_none_of_another_that_shared_its_values():
    shared = {"steps": 1}
    changed = config.override({"a": shared, "b": shared}, {"a.steps": 2})
    assert changed == {"a": {"steps": 2}, "b": {"steps": 1}}


@pytest.mark.parametrize("change", ["a.b", "=1", "a..b=1", "a.b.c=1", "l.0=1", "a=[1"])
def test_a_bad_override_is_named(change):
    with pytest.raises(UsageError, match="override") as caught:
        config.override({"a": {"b": 1}, "l": [1]}, [change])
    assert change.partition("=")[0] in str(caught.value)


def test_every_error_is_told_at_once_with_the_nearest_key():
    found = lines(
        """
        schedule: {kind: cosine, shfit: 1, deep: {widht: 3}}
        parts: {one: {kind: linaer}, two: {kind: linear, steps: -1, strat: 2}}
        inner: {channels: 1e-4, multiplers: [2]}
        prediction: epsiln
        size: abc
        nmae: b
        """
    )
    assert found[0] == "r.yaml: 10 errors"
    told = {line.strip().partition(": ")[0]: line for line in found[1:]}
    assert set(told) == {
        "schedule.shfit",
        "schedule.deep.widht",
        "parts.one",
        "parts.two.steps",
        "parts.two.strat",
        "inner.channels",
        "inner.multiplers",
        "prediction",
        "size",
        "nmae",
    }
    assert 'did you mean "shift"' in told["schedule.shfit"]
    assert "known: kind, shift, deep" in told["schedule.shfit"]
    assert 'did you mean "width"' in told["schedule.deep.widht"]
    assert 'did you mean "linear"' in told["parts.one"]
    assert "found -1; accepted: greater than 0" in told["parts.two.steps"]
    assert 'did you mean "start"' in told["parts.two.strat"]
    assert "found 0.0001; accepted: integer" in told["inner.channels"]
    assert 'did you mean "multipliers"' in told["inner.multiplers"]
    assert 'did you mean "epsilon"' in told["prediction"]
    assert 'found "abc"; accepted: integer or' in told["size"]
    assert 'did you mean "name"' in told["nmae"]


def test_of_several_classes_only_the_nearest_complains():
    assert lines("net: {channels: 3, heads: x}") == ['r.yaml: net.heads: found "x"; accepted: integer or list']
    (only,) = lines("net: {from: a, form: b}")
    assert only.startswith('r.yaml: net.form: unknown key (did you mean "from"?)')


def test_a_word_or_a_mapping_of_kinds():
    first, second = lines("conditions: {a: {kind: linear, stpes: 3}, b: cosin}")[1:]
    assert first.strip().startswith('conditions.a.stpes: unknown key (did you mean "steps"?)')
    assert second.strip().startswith('conditions.b: no conditions "cosin"')
    (only,) = lines("conditions: auot")
    assert "accepted: mapping or 'auto' (did you mean \"auto\"?)" in only


def test_the_check_of_a_class_is_heard_beside_other_errors():
    found = lines("size: abc\neven: {width: 3, inner: {widht: 1}}")[1:]
    assert [line.strip().partition(": ")[0] for line in found] == ["size", "even.inner.widht", "even"]
    assert found[2].strip() == "even: width 3 is odd"
    assert len(lines("even: {width: 3, inenr: {}}")) == 1


def test_a_missing_key_and_a_value_of_the_wrong_shape():
    assert lines("inner: {heads: 2}") == ["r.yaml: inner.channels: is missing; it has no default"]
    assert lines("inner: 3") == ["r.yaml: inner: found 3; accepted: mapping for Net"]
    assert "has no `kind`" in lines("schedule: {start: 3}")[0]


def test_what_is_right_passes():
    tree = config.validate(Tree, {"schedule": "cosine", "net": {"from": "a"}, "size": [64, 96]}, "r.yaml")
    assert isinstance(tree.schedule, Cosine)
    assert isinstance(tree.net, From)
    assert tree.size == (64, 96)


def test_the_schema_names_the_options_of_every_kind_and_its_references_lead_somewhere():
    schema = config.schema(Tree)
    text = json.dumps(schema)
    assert '"shift"' in text
    assert '"const": "cosine"' in text
    for reference in {part.split('"')[0] for part in text.split('"$ref": "')[1:]}:
        node = schema
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


PIECES = [
    *(
        "a",
        "- ",
        ": ",
        "b: 1",
        "{a: 1}",
        "[2, 3]",
        ", ",
        "]",
        "}",
        "'q'",
        '"\\n"',
        "#c",
        "\n",
        "\n  ",
        "|\n  x",
        "> y",
        "!!int 3",
    ),
    *(
        "&a",
        "*a",
        "?",
        "%",
        "@",
        "\t",
        "\r\n",
        "1e-4",
        "0x1f",
        "~",
        "é",
        "\u2028",
        "\x85",
        "\ufeff",
        "---\n",
        "...",
        "a:b",
        "12:30",
    ),
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join))
def test_the_quick_reader_takes_nothing_that_the_other_refuses_or_reads_otherwise(written: str) -> None:
    """Else a recipe would mean something else where PyYAML was built without libyaml."""

    def outcome() -> object:
        try:
            return repr(config.parse_value(written, "x"))
        except UsageError as error:
            return str(error)

    found = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_Quick", reader._Loader)
        assert outcome() == found


def test_loading_yaml_needs_no_torch():
    code = "import sys, latentry.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
