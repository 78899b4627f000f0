"""What hypothesis draws from: values that options are wrongly given, and texts around them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NUMBERS = [0, -1, 1, 2, 3, 10**9, 10**11, 2**63, 10**30, 10**400, 1e-300, 1e300, 0.5, -0.0, True]
WORDS = [
    "", " ", "auto", "none", "null", "kl", "ddim", "cosine", "x" * 5000, "9" * 5000, "-9", "--5", "1e400", "nan",
    ".inf", "a\nb", "a\tb", "\u202e", "\ufeff", "caf\udce9", "\ud800", "ddim:eta=1", "ddim:", "{", "[", "!!bool x",
    "&a", "*a", "16x16", "0x0", "1000000x1", "../../etc/passwd", "/dev/zero", "~", "é" * 200, "😀",
]  # fmt: skip

scalars = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(WORDS),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.sampled_from(["kind", "steps", "a", ""]) | st.text(max_size=5), inner, max_size=4),
    ),
    max_leaves=12,
)
words = st.one_of(st.sampled_from(WORDS), st.sampled_from(NUMBERS).map(str), st.text(max_size=20)).filter(
    lambda word: "\0" not in word  # no shell can hand it over
)
