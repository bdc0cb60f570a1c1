"""Reads umT5's vocabulary: `tokenizer.json`, `spiece.model`, or its bytes in a checkpoint. Standard library only.

Two files say the same thing in two ways, and each is followed as its own library follows it: `tokenizer.json` as
`tokenizers` does, steps and quirks included; `spiece.model` as SentencePiece does. Both may carry a charsmap: a trie of
character sequences, each with what it becomes (NFKC and more, compiled).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
import sys
import unicodedata
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .tokenizer import SPACE, Added, Tokenizer, Vocabulary

MOST_BYTES = 64 * 2**20  # of a vocabulary; umT5's has 17 MB as JSON
END = "</s>"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]

MALFORMED = (ValueError, KeyError, TypeError, IndexError, AttributeError, StopIteration, struct.error, RecursionError)

Text = Callable[[str], str]


class BadVocabulary(ValueError):
    """A vocabulary that can't be read. One sentence, with the file's name."""


def read(path: Path) -> Tokenizer:
    """The tokenizer of `tokenizer.json` or `spiece.model`, or of a folder that holds one of them, the former first."""
    if path.is_dir():
        found = [path / name for name in ("tokenizer.json", "spiece.model") if (path / name).exists()]
        if not found:
            raise BadVocabulary(f"no tokenizer.json and no spiece.model in {path}: get them with the text encoder")
        path = found[0]
    if path.stat().st_size > MOST_BYTES:
        raise BadVocabulary(f"{path.name} has {path.stat().st_size} bytes: at most {MOST_BYTES} are read")
    data = path.read_bytes()
    try:
        return parse(data)
    except MALFORMED as error:
        raise BadVocabulary(
            f"{path.name} is no unigram vocabulary ({error}): get the text encoder's own again"
        ) from error


def parse(data: bytes) -> Tokenizer:
    """Either file's bytes. Raises ValueError and its like for others."""
    return from_json(json.loads(data)) if data.lstrip().startswith(b"{") else from_model(data)


# ---------------------------------------------------------------- charsmap


class Charsmap:
    """A double-array trie (Aoe 1989, in darts-clone's units) over UTF-8 bytes, and the texts its leaves point at."""

    def __init__(self, data: bytes) -> None:
        (size,) = struct.unpack_from("<I", data)
        if size % 4 or 4 + size > len(data):
            raise ValueError(f"a charsmap of {len(data)} bytes whose trie has {size}")
        self.units = array("I", data[4 : 4 + size])
        if sys.byteorder == "big":
            self.units.byteswap()
        self.texts = data[4 + size :]

    def prefixes(self, key: bytes) -> Iterator[tuple[int, str]]:
        """What the trie knows that `key` begins with, the shortest first: length in bytes, what it becomes."""
        at = offset(self.units[0]) if self.units else 0
        for length, byte in enumerate(key, 1):
            at ^= byte
            if not byte or at >= len(self.units):
                return
            unit = self.units[at]
            if unit & 0x800000FF != byte:
                return
            at ^= offset(unit)
            if unit >> 8 & 1:
                start = self.units[at] & 0x7FFFFFFF
                yield length, self.texts[start : self.texts.index(0, start)].decode()


def offset(unit: int) -> int:
    return unit >> 10 << ((unit & 1 << 9) >> 6)


def longest_first(charsmap: Charsmap, text: str) -> str:
    """As SentencePiece: at each place the longest sequence that is known."""
    data, out, at = text.encode(), [], 0
    while at < len(data):
        found = list(charsmap.prefixes(data[at : at + 64]))
        if found:
            length, becomes = found[-1]
        else:
            length = 1 + sum(byte & 0xC0 == 0x80 for byte in data[at + 1 : at + 4][: width(data[at]) - 1])
            becomes = data[at : at + length].decode()
        out.append(becomes)
        at += length
    return "".join(out)


def width(byte: int) -> int:
    """Bytes of a UTF-8 character that begins with this one."""
    return 1 if byte < 0xC0 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4


def shortest_first(charsmap: Charsmap, text: str) -> str:
    """As `tokenizers`: a short cluster as a whole becomes what its shortest known beginning becomes, else each of its
    characters does. So a mark after a letter that is known is lost: the checkpoints' prompts were read like that."""
    out = []
    for cluster in clusters(text):
        data = cluster.encode()
        found = next(charsmap.prefixes(data), None) if len(data) < 6 else None
        if found:
            out.append(found[1])
        else:
            each = ((c, next(charsmap.prefixes(c.encode()), None)) for c in cluster)
            out.append("".join(c if known is None else known[1] for c, known in each))
    return "".join(out)


def clusters(text: str) -> Iterator[str]:
    """What is seen as one character (Unicode annex 29), as far as five bytes can hold it: a letter and its marks."""
    cluster = ""
    for c in text:
        if cluster and not joined(cluster[-1], c):
            yield cluster
            cluster = ""
        cluster += c
    if cluster:
        yield cluster


PREPENDED = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2"  # marks of numbers and verses
JOINERS, VOWELS = "\u200c\u200d", "\u0e33\u0eb3"


def joined(before: str, c: str) -> bool:
    """Whether two neighbours belong to one cluster. Nothing joins a control character, but a line feed its return."""
    if control(before) or control(c):
        return before == "\r" and c == "\n"
    marks = unicodedata.category(c) in ("Mn", "Me", "Mc") or "\U0001f3fb" <= c <= "\U0001f3ff"  # the latter: skin tones
    return marks or c in JOINERS + VOWELS or before in PREPENDED


def control(c: str) -> bool:
    return unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs") and c not in JOINERS + PREPENDED


# ---------------------------------------------------------------- tokenizer.json


def from_json(value: Mapping[str, Any]) -> Tokenizer:
    model = value["model"]
    if model.get("type", "Unigram") != "Unigram":
        raise ValueError(f"a {model['type']} model where a Unigram model is expected")
    entries = [(str(piece), float(score)) for piece, score in model["vocab"]]
    pieces = {piece: (id, score) for id, (piece, score) in enumerate(entries)}
    added = tuple(
        Added(a["content"], int(a["id"]), bool(a["normalized"]), bool(a["lstrip"]), bool(a["rstrip"]))
        for a in value.get("added_tokens") or ()
    )
    by_bytes = model.get("byte_fallback") and all(byte in pieces for byte in BYTES)
    end = next((a.id for a in added if a.content == END), None)
    vocabulary = Vocabulary(
        pieces=pieces,
        unknown=int(model["unk_id"]),
        end=pieces[END][0] if end is None else end,
        lowest=min(score for _, score in entries),
        size=1 + max([len(entries) - 1, *(a.id for a in added)]),
        bytes=tuple(pieces[byte][0] for byte in BYTES) if by_bytes else (),
        added=added,
    )
    return Tokenizer(vocabulary, normaliser(value.get("normalizer")), splitter(value.get("pre_tokenizer")))


UNICODE_FORMS: Mapping[str, Text] = {
    "NFC": partial(unicodedata.normalize, "NFC"),
    "NFD": partial(unicodedata.normalize, "NFD"),
    "NFKC": partial(unicodedata.normalize, "NFKC"),
    "NFKD": partial(unicodedata.normalize, "NFKD"),
}


def normaliser(spec: Mapping[str, Any] | None) -> Text:
    """A step of `normalizer`, by its type."""
    kind = spec["type"] if spec else ""
    if not spec:
        return str
    if kind == "Sequence":
        return chained([normaliser(step) for step in spec["normalizers"]])
    if kind == "Precompiled":
        data = decoded(spec["precompiled_charsmap"])
        return partial(shortest_first, Charsmap(data)) if data else str
    if kind in UNICODE_FORMS:
        return UNICODE_FORMS[kind]
    if kind == "Nmt":
        return nmt
    if kind == "Replace":
        return partial(compiled(spec["pattern"]).sub, spec["content"].replace("\\", r"\\"))
    if kind == "Strip":
        return partial(stripped, left=spec["strip_left"], right=spec["strip_right"])
    if kind == "Lowercase":
        return str.lower
    if kind == "Prepend":
        return lambda text: spec["prepend"] + text if text else text
    raise ValueError(f"its normalizer has a step {kind!r} that is not known here")


def chained(steps: list[Text]) -> Text:
    def all_of(text: str) -> str:
        for step in steps:
            text = step(text)
        return text

    return all_of


def decoded(text: str | None) -> bytes:
    try:
        return base64.b64decode(text or "", validate=True)
    except binascii.Error as error:
        raise ValueError("its charsmap is not base64") from error


def compiled(spec: Mapping[str, str]) -> re.Pattern[str]:
    return re.compile(spec["Regex"] if "Regex" in spec else re.escape(spec["String"]))


def stripped(text: str, left: bool, right: bool) -> str:
    text = text.lstrip() if left else text
    return text.rstrip() if right else text


NMT_GONE = dict.fromkeys([*range(0x01, 0x09), 0x0B, *range(0x0E, 0x20), 0x7F, 0x8F, 0x9F])
NMT_SPACES = [0x09, 0x0A, 0x0C, 0x0D, 0x1680, *range(0x200B, 0x2010), 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD]
NMT: dict[int, str | None] = {**NMT_GONE, **dict.fromkeys(NMT_SPACES, " ")}


def nmt(text: str) -> str:
    return text.translate(NMT)


def splitter(spec: Mapping[str, Any] | None) -> Callable[[str, bool], list[str]]:
    """A step of `pre_tokenizer`, by its type."""
    kind = spec["type"] if spec else ""
    if not spec:
        return lambda text, first: [text]
    if kind == "Sequence":
        return in_turn([splitter(step) for step in spec["pretokenizers"]])
    if kind == "WhitespaceSplit":
        return lambda text, first: [part for part in re.split(WHITE, text) if part]
    if kind == "Metaspace":
        scheme = spec.get("prepend_scheme") or ("always" if spec.get("add_prefix_space", True) else "never")
        return partial(metaspace, mark=spec["replacement"], scheme=scheme, split=spec.get("split", True))
    raise ValueError(f"its pre_tokenizer has a step {kind!r} that is not known here")


WHITE = r"[^\S\x1c-\x1f]+"  # Unicode's White_Space, which Python's \s goes beyond


def in_turn(steps: list[Callable[[str, bool], list[str]]]) -> Callable[[str, bool], list[str]]:
    def split(text: str, first: bool) -> list[str]:
        parts = [(text, first)]
        for step in steps:
            parts = [
                (part, first and i == 0 and whole.startswith(part))
                for whole, first in parts
                for i, part in enumerate(step(whole, first))
            ]
        return [part for part, _ in parts]

    return split


def metaspace(text: str, first: bool, mark: str, scheme: str, split: bool) -> list[str]:
    """Spaces become marks; one is put in front; with `split` each mark begins a part."""
    text = text.replace(" ", mark)
    if (scheme == "always" or (scheme == "first" and first)) and not text.startswith(mark):
        text = mark + text
    return [part for part in re.split(f"(?={re.escape(mark)})", text) if part] if split else [text]


# ---------------------------------------------------------------- spiece.model

UNIGRAM = 1  # of TrainerSpec.model_type
NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)  # of SentencePiece.type
MANY = 1 << 20  # pieces


def from_model(data: bytes) -> Tokenizer:
    """A ModelProto of SentencePiece: 1 pieces, 2 how it was trained, 3 how it normalises."""
    entries: list[tuple[str, float, int]] = []
    trained: dict[int, Any] = {}
    normal: dict[int, Any] = {}
    for number, value in fields(data):
        if number == 1:
            piece = dict(fields(value))
            entries.append((piece[1].decode(), as_float(piece.get(2, b"\0\0\0\0")), piece.get(3, NORMAL)))
        elif number == 2:
            trained = dict(fields(value))
        elif number == 3:
            normal = dict(fields(value))
        if len(entries) > MANY:
            raise ValueError(f"more than {MANY} pieces")
    if not trained or not normal:
        raise ValueError("it does not say how it was trained or how it normalises, so it was cut off")
    if trained.get(3, UNIGRAM) != UNIGRAM:
        raise ValueError(f"SentencePiece model of type {trained[3]} where a unigram model is expected")
    return Tokenizer(pieces_of(entries, trained), partial(sentencepiece, Normal.of(normal, entries)), as_one)


def pieces_of(entries: list[tuple[str, float, int]], trained: Mapping[int, Any]) -> Vocabulary:
    scores = [score for _, score, kind in entries if kind == NORMAL]
    most = max(scores)
    pieces = {
        piece: (id, len(piece) * most - 0.1 if kind == USER else score)
        for id, (piece, score, kind) in enumerate(entries)
        if kind in (NORMAL, USER)
    }
    ids = {piece: id for id, (piece, _, kind) in enumerate(entries) if kind == BYTE}
    end = signed(trained.get(42, 2))
    if not 0 <= end < len(entries):
        raise ValueError(f"its end is token {end} of {len(entries)}")
    return Vocabulary(
        pieces=pieces,
        unknown=next(id for id, (_, _, kind) in enumerate(entries) if kind == UNKNOWN),
        end=end,
        lowest=min(scores),
        size=len(entries),
        bytes=tuple(ids[byte] for byte in BYTES) if trained.get(35) and len(ids) == len(BYTES) else (),
    )


@dataclass(frozen=True)
class Normal:
    """NormalizerSpec."""

    charsmap: Charsmap | None
    in_front: bool  # a space before the text
    single: bool  # spaces at the ends go, runs become one
    user: re.Pattern[str] | None  # pieces that are kept as they stand

    @staticmethod
    def of(spec: Mapping[int, Any], entries: list[tuple[str, float, int]]) -> Normal:
        user = sorted((re.escape(piece) for piece, _, kind in entries if kind == USER), key=len, reverse=True)
        charsmap = Charsmap(spec[2]) if spec.get(2) else None
        return Normal(
            charsmap, bool(spec.get(3, 1)), bool(spec.get(4, 1)), re.compile("|".join(user)) if user else None
        )


def sentencepiece(normal: Normal, text: str) -> str:
    """As its normaliser: the charsmap but for user-defined pieces, then spaces, then marks for spaces."""
    parts = re.split(f"({normal.user.pattern})", text) if normal.user else [text]
    text = "".join(
        part if i % 2 or normal.charsmap is None else longest_first(normal.charsmap, part)
        for i, part in enumerate(parts)
    )
    if normal.single:
        text = re.sub(" +", " ", text).strip(" ")
    if text and normal.in_front:
        text = " " + text
    return text.replace(" ", SPACE)


def as_one(text: str, _: bool) -> list[str]:
    return [text] if text else []


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of one protocol-buffer message: number, and an int, or the bytes of what has a length or a width."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
            yield key >> 3, value
            continue
        if kind == 2:
            length, at = varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"byte {at} begins no field")
        if at + length > len(data):
            raise ValueError(f"a field of {length} bytes at byte {at} of {len(data)}")
        yield key >> 3, data[at : at + length]
        at += length


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, the low ones first -> it, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise ValueError(f"byte {at} ends no number")


def signed(value: int) -> int:
    """An int32 as protocol buffers write it: below 0 as 64 bits."""
    return value - (1 << 64) if value >> 63 else value


def as_float(data: bytes) -> float:
    return struct.unpack("<f", data)[0]
