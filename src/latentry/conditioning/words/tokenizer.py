"""BERT-like tokenizers: trained on captions, or read from a vocabulary."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from latentry import text as outside
from latentry.errors import UsageError

# Its threads are of no use for one caption at a time, and it warns whenever loader workers are forked after them.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

PAD, UNKNOWN, START, END, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PADS = (PAD, "<pad>", "<|endoftext|>")


def train(captions: Iterable[str], size: int) -> Tokenizer:
    """A lower-case WordPiece tokenizer of at most `size` tokens, the same on every run for the same captions.

    The library's trainer numbers the letters inside words as its hash table yields them, which changes from run to
    run and decides ties between merges: here they are all named first, in order.
    """
    captions = [clean(caption) for caption in captions]
    tokenizer = _berts(models.WordPiece(unk_token=UNKNOWN))
    letters = {letter for caption in captions for letter in tokenizer.normalizer.normalize_str(caption)}
    letters = {letter for letter in letters if not letter.isspace()} | {chr(code) for code in range(33, 127)}
    letters -= {chr(code) for code in range(ord("A"), ord("Z") + 1)}
    first = [*SPECIAL, *sorted(letters), *("##" + letter for letter in sorted(letters))]
    if size < len(first):
        raise UsageError(
            f"conditioning text: vocabulary is {size}, but the letters of the captions alone need {len(first)}. "
            f"Set it to {2 * len(first)} or more."
        )
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=first, min_frequency=2, show_progress=False)
    tokenizer.train_from_iterator(captions, trainer)
    return from_vocabulary(tokenizer.get_vocab())


def train_words(captions: Iterable[str], size: int, base: Sequence[str] = SPECIAL) -> Tokenizer:
    """A lower-case tokenizer of whole words, the most frequent ones; every other word is the unknown token.

    base: tokens that it has in any case, by number; the special ones are among them.
    """
    if size <= len(SPECIAL):
        raise UsageError(
            f"conditioning text: vocabulary is {size}, which leaves no room for a word. "
            f"Set it to {len(SPECIAL) + 1} or more, best to the number of words."
        )
    tokenizer = _berts(models.WordLevel(unk_token=UNKNOWN))
    counts: Counter[str] = Counter()
    for caption in captions:
        text = tokenizer.normalizer.normalize_str(clean(caption))
        counts.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text))
    new = sorted(counts.keys() - set(base), key=lambda word: (-counts[word], word))
    tokenizer.model = models.WordLevel(
        {word: number for number, word in enumerate([*base, *new[: max(0, size - len(base))]])}, unk_token=UNKNOWN
    )
    return _complete(tokenizer)


def by_number(tokenizer: Tokenizer) -> list[str]:
    """The tokens of a vocabulary without gaps, in order."""
    vocabulary = tokenizer.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)


def from_vocabulary(vocabulary: dict[str, int]) -> Tokenizer:
    """The tokenizer of BERT's uncased models for a vocabulary that has its special tokens."""
    missing = [token for token in (PAD, UNKNOWN, START, END) if token not in vocabulary]
    if missing:
        raise UsageError(f"conditioning text: the vocabulary has no {', '.join(missing)}; a BERT vocabulary is needed.")
    tokenizer = _berts(models.WordPiece(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=100))
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return _complete(tokenizer)


def without_words(size: int) -> Tokenizer:
    """A stand-in for the vocabulary of bert-base-uncased: `size` tokens, the special ones where it has them, no words.

    It makes the empty prompt; `knows_words` tells it from a real one.
    """
    special = dict(zip((0, 100, 101, 102, 103), (PAD, UNKNOWN, START, END, MASK), strict=True))
    if size <= max(special):
        raise UsageError(f"conditioning text: a vocabulary of {size} cannot be BERT's; it has 104 tokens at least.")
    return from_vocabulary({special.get(number, f"[unused{number}]"): number for number in range(size)})


def knows_words(tokenizer: Tokenizer) -> bool:
    """Whether any token is more than a special or unused one: `[MASK]`, `[unused7]`, `<|endoftext|>`."""
    return any((token[:1], token[-1:]) not in (("[", "]"), ("<", ">")) for token in tokenizer.get_vocab())


def read(path: Path) -> Tokenizer:
    """A tokenizer from BERT's `vocab.txt` (one token a line) or a `tokenizer.json`, or of a folder with either."""
    path = next((path / name for name in ("vocab.txt", "tokenizer.json") if (path / name).is_file()), path)
    try:
        text = outside.read(path)
    except UsageError as error:
        raise UsageError(f"conditioning text: {error} Give a vocab.txt or tokenizer.json.") from None
    if path.suffix == ".json":
        return parse(text, str(path))
    return from_vocabulary({token: number for number, token in enumerate(text.splitlines())})


def parse(text: str, where: str) -> Tokenizer:
    """A tokenizer from the text of a `tokenizer.json`. where: its name for errors."""
    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # the library raises plain Exception
        raise UsageError(f"conditioning text: {where} is not a tokenizer.json: {error}. Give another one.") from error


def count_longer(tokenizer: Tokenizer, captions: Sequence[str], length: int) -> int:
    """How many captions have more than `length` tokens; the tokenizer must not cut yet."""
    return sum(len(tokenizer.encode(clean(caption)).ids) > length for caption in captions)


def clean(text: str) -> str:
    """The text with `?` for what is no Unicode, such as the bytes of a Latin-1 argument."""
    return text.encode("utf-8", "replace").decode()


def fix_length(tokenizer: Tokenizer, length: int) -> None:
    """Make every encoding exactly `length` tokens: longer ones are cut before the end token, shorter ones padded."""
    pad = next((token for token in PADS if tokenizer.token_to_id(token) is not None), None)
    if pad is None:
        raise UsageError(f"conditioning text: the tokenizer has no padding token; known: {', '.join(PADS)}.")
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=tokenizer.token_to_id(pad), pad_token=pad)


def _berts(model: models.Model) -> Tokenizer:
    """Texts taken apart as BERT's uncased models do."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _complete(tokenizer: Tokenizer) -> Tokenizer:
    """With the special tokens that its vocabulary has, and those around a text."""
    number = tokenizer.get_vocab()
    tokenizer.add_special_tokens([token for token in SPECIAL if token in number])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, number[START]), (END, number[END])]
    )
    return tokenizer
