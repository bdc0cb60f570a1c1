"""Text to umT5's token ids, in plain Python: clean, normalise, split at spaces, the likeliest pieces (Viterbi), bytes.

The unigram language model of Kudo (2018): a text is cut where the sum of its pieces' log probabilities is largest.
Where the vocabulary comes from, `vocabulary.py` knows. Standard library only.

What the official cleaning does and this does not: ftfy's repair of text that was decoded wrongly, and its removal of
terminal escapes. Straight quotes, entities, NFC and white space are as there.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .config import TEXT_LENGTH

SPACE = "▁"  # stands for a space within pieces
UNKNOWN_PENALTY = 10.0  # an unknown character is this much less likely than the least likely piece
QUOTES = str.maketrans(
    {**dict.fromkeys("\u02bc\u2018\u2019\u201a\u201b", "'"), **dict.fromkeys("\u201c\u201d\u201e\u201f", '"')}
)


@dataclass(frozen=True)
class Added:
    """A token that is found in the text as it stands, before the model sees it."""

    content: str
    id: int
    normalized: bool = False  # looked for after normalisation
    lstrip: bool = False  # takes the white space before it along
    rstrip: bool = False


@dataclass(frozen=True)
class Vocabulary:
    pieces: Mapping[str, tuple[int, float]]  # piece -> id, log probability
    unknown: int
    end: int
    lowest: float  # log probability of the least likely piece
    size: int  # one more than the largest id
    bytes: tuple[int, ...] = ()  # ids of the 256 bytes, or none
    added: tuple[Added, ...] = ()

    @property
    def longest(self) -> int:
        return max(map(len, self.pieces), default=1)


class Tokenizer:
    """`normalise` a text -> a text; `split` that -> parts that no piece goes beyond, spaces already replaced."""

    def __init__(
        self, vocabulary: Vocabulary, normalise: Callable[[str], str], split: Callable[[str, bool], list[str]]
    ) -> None:
        self.vocabulary, self.normalise, self.split = vocabulary, normalise, split
        self._longest = vocabulary.longest
        self._plain = pattern([a for a in vocabulary.added if not a.normalized])
        self._normalized = pattern([a for a in vocabulary.added if a.normalized])
        self._added = {a.content: a.id for a in vocabulary.added}

    def prompt(self, text: str) -> list[int]:
        """A prompt's ids with the end, at most 512 of them: what the text encoder takes."""
        return [*self.ids(clean(text))[: TEXT_LENGTH - 1], self.vocabulary.end]

    def ids(self, text: str) -> list[int]:
        """The ids of a text as it stands, without an end."""
        out: list[int] = []
        first = True
        for part, added in pieces_between(text, self._plain):
            if added:
                out.append(self._added[added])
            elif part:  # a text whose first character is normalised away does not begin it
                out += self._normal_ids(self.normalise(part), first and bool(self.normalise(part[0])))
            first = False
        return out

    def _normal_ids(self, text: str, first: bool) -> list[int]:
        out: list[int] = []
        for part, added in pieces_between(text, self._normalized):
            if added:
                out.append(self._added[added])
            elif part:
                out += [id for word in self.split(part, first) for id in self._word_ids(word)]
            first = False
        return out

    def _word_ids(self, word: str) -> Iterator[int]:
        v = self.vocabulary
        for piece in likeliest(word, v.pieces, self._longest, v.lowest - UNKNOWN_PENALTY):
            if piece in v.pieces:
                yield v.pieces[piece][0]
            elif v.bytes:
                yield from (v.bytes[byte] for byte in piece.encode())
            else:
                yield v.unknown


def pattern(added: Sequence[Added]) -> re.Pattern[str] | None:
    """Finds added tokens, the longest first."""
    if not added:
        return None
    ordered = sorted(added, key=lambda a: -len(a.content))
    forms = [
        (r"\s*" if a.lstrip else "") + f"(?P<t{i}>{re.escape(a.content)})" + (r"\s*" if a.rstrip else "")
        for i, a in enumerate(ordered)
    ]
    return re.compile("|".join(forms))


def pieces_between(text: str, found: re.Pattern[str] | None) -> Iterator[tuple[str, str]]:
    """The text between added tokens, and those: (text, "") and ("", content)."""
    at = 0
    for match in found.finditer(text) if found else ():
        yield text[at : match.start()], ""
        yield "", match[match.lastgroup or 0]
        at = match.end()
    yield text[at:], ""


def likeliest(text: str, pieces: Mapping[str, tuple[int, float]], longest: int, unknown: float) -> list[str]:
    """The pieces whose log probabilities have the largest sum; characters that are in none are joined into runs."""
    best: list[tuple[float, int, bool]] = [(0.0, 0, False)] + [(-math.inf, 0, False)] * len(text)  # sum, start, unknown
    for start in range(len(text)):
        so_far = best[start][0]
        for end in range(start + 1, min(start + longest, len(text)) + 1):
            found = pieces.get(text[start:end])
            if found and so_far + found[1] > best[end][0]:
                best[end] = (so_far + found[1], start, False)
        if text[start] not in pieces and so_far + unknown > best[start + 1][0]:
            best[start + 1] = (so_far + unknown, start, True)
    return backwards(text, best)


def backwards(text: str, best: Sequence[tuple[float, int, bool]]) -> list[str]:
    out: list[str] = []
    end, before_unknown = len(text), False
    while end > 0:
        _, start, unknown = best[end]
        if unknown and before_unknown:
            out[-1] = text[start:end] + out[-1]
        else:
            out.append(text[start:end])
        end, before_unknown = start, unknown
    return out[::-1]


def clean(text: str) -> str:
    """As the checkpoints' prompts were cleaned: entities resolved twice, straight quotes, NFC, single spaces."""
    text = unicodedata.normalize("NFC", html.unescape(html.unescape(text)).translate(QUOTES))
    return re.sub(r"\s+", " ", text).strip()
