"""Which things of the scene a prompt speaks of, and what it says of them: "a red lighthouse", "the fountain is gold".

The scene knows what its objects are called, so nothing is guessed: a noun of the prompt that is in an object's name
means that object, and the words beside it are its own. Standard library; knows no model.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .words import COLOUR_WORDS, MATERIALS, stem, words

MOST = 16  # things that a prompt may speak of
SHORTEST = 3  # letters of a name's word that means anything
JOINS = frozenset("and &".split())
LINKS = frozenset("is are of in from made built painted covered".split())  # "the cart is red", "a fountain of gold"
GLOWS = frozenset("glow luminous shin neon illuminat light lit radiant burn fiery".split())  # stems
SEASONS = {  # what a season does to foliage: every tree takes one of these, the same at every take
    "autumn": ("orange", "yellow", "red", "brown"), "autumnal": ("orange", "yellow", "red", "brown"),
    "blossom": ("pink", "white"), "blossoms": ("pink", "white"), "blossoming": ("pink", "white"),
}  # fmt: skip
FOLIAGE = "tree leaf leaves foliage bush hedge shrub ivy vine canopy oak birch maple beech linden elm chestnut willow"
BARE_WOOD = "trunk bark stump log stem"
GENERIC = frozenset("the and mesh object obj geo low high left right top bottom part main new copy root".split())


@dataclass(frozen=True)
class Thing:
    """Some objects of the scene and what the prompt says of them alone."""

    objects: frozenset[int]  # values of the index pass
    words: str
    noun: str = ""  # as the prompt has it; empty: the object's own prompt

    @property
    def glows(self) -> bool:
        return any(stem(w) in GLOWS for w in words(self.words))

    @property
    def material(self) -> str:
        """The row of MATERIALS of which the words hold the most; none."""
        own = {stem(w) for w in words(self.words)} - colours()
        held = {row: [len(own & {stem(w) for w in words(p)}) for p in phrases] for row, phrases in MATERIALS.items()}
        best = max(held, key=lambda row: max(held[row]))
        return best if max(held[best]) else "none"

    @property
    def dye(self) -> str:
        """The first colour that is named, letter by letter: the stems of green and grey are the same; none."""
        rows = {w: row for row, names in COLOUR_WORDS.items() for w in names}
        return next((rows[w] for w in words(self.words) if w in rows), "none")


@lru_cache(1)
def colours() -> frozenset[str]:
    return frozenset(stem(w) for names in COLOUR_WORDS.values() for w in names)


@lru_cache(1)
def qualities() -> frozenset[str]:
    """Stems of words that say what a surface is: colours, materials, light."""
    phrases = [p for table in (COLOUR_WORDS, MATERIALS) for row in table.values() for p in row]
    return frozenset(stem(w) for phrase in phrases for w in words(phrase) if w not in LINKS) | GLOWS


def noun(word: str) -> str:
    """One key for a noun and its plural: house, houses."""
    return stem(word).rstrip("e")


def name_words(name: str) -> list[str]:
    """The words of an object's name: "CartWheel_L.001" has cart and wheel."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    found = [w.lower() for w in re.findall(r"[^\W\d_]+", spaced)]
    return [w for w in found if len(w) >= SHORTEST and w not in GENERIC]


def called(objects: Iterable[Mapping[str, Any]]) -> dict[str, frozenset[int]]:
    """A noun's key → the objects whose names, or whose groups' names, hold it."""
    out: dict[str, set[int]] = {}
    for entry in objects:
        groups = entry.get("groups")
        names = [str(entry.get("name", "")), *(map(str, groups) if isinstance(groups, list | tuple) else ())]
        for word in {noun(w) for name in names for w in name_words(name)}:
            out.setdefault(word, set()).add(int(entry["index"]))
    return {word: frozenset(found) for word, found in out.items()}


def things(prompt: str, objects: Sequence[Mapping[str, Any]]) -> tuple[list[Thing], str]:
    """What is said of single things, and the prompt without it. An object's own prompt goes over the shot's."""
    own = [Thing(frozenset([int(o["index"])]), o["prompt"].strip()) for o in objects
           if isinstance(o.get("prompt"), str) and o["prompt"].strip()]  # fmt: skip
    tokens, names = re.findall(r"[\w'&-]+|[,.;:!?]", prompt.lower()), called(objects)
    said, used = [], set()
    for i, token in enumerate(tokens):
        meant = names.get(noun(token))
        following = tokens[i + 1] if i + 1 < len(tokens) else ""
        of_the_next = _is_quality(token) and (_is_quality(following) or noun(following) in names)  # a wooden house
        if meant is None or i in used or of_the_next:
            continue
        spans = [*before(tokens, i), *after(tokens, i)]
        spans = [j for j in spans if j not in used]
        found = [tokens[j] for j in spans if _is_quality(tokens[j])]
        if found:
            said.append(Thing(meant, " ".join(found), token))
            used |= set(spans)
    rest = " ".join(token for i, token in enumerate(tokens) if i not in used and token not in SEASONS)
    return [*own, *said, *in_season(tokens, objects)][:MOST], re.sub(r"\s+([,.;:!?])", r"\1", rest)


def in_season(tokens: Sequence[str], objects: Sequence[Mapping[str, Any]]) -> list[Thing]:
    """What the season that is named makes of all foliage; what is said of a thing itself stands before it."""
    season = next((token for token in tokens if token in SEASONS), "")
    if not season:
        return []
    green, bare = ({noun(w) for w in listed.split()} for listed in (FOLIAGE, BARE_WOOD))
    turned: dict[str, set[int]] = {}
    for entry in objects:
        name = str(entry.get("name", ""))
        called = {noun(w) for w in name_words(name)}
        if called & green and not called & bare:
            colour = SEASONS[season][zlib.crc32(name.encode()) % len(SEASONS[season])]
            turned.setdefault(colour, set()).add(int(entry["index"]))
    return [Thing(frozenset(found), colour, season) for colour, found in sorted(turned.items())]


def _is_quality(token: str) -> bool:
    return token not in LINKS and stem(token) in qualities()


def before(tokens: list[str], at: int) -> list[int]:
    """Places of the words right before a noun that are its own: "red and white", "old wooden"."""
    out, i = [], at - 1
    while i >= 0 and (_is_quality(tokens[i]) or (tokens[i] in JOINS and i > 0 and _is_quality(tokens[i - 1]))):
        out.append(i)
        i -= 1
    return out[::-1]


def after(tokens: list[str], at: int) -> list[int]:
    """Places of what is said of a noun behind it: "is made of gold"."""
    i = at + 1
    while i < len(tokens) and tokens[i] in LINKS:
        i += 1
    first = i
    while at + 1 < first and i < len(tokens) and _is_quality(tokens[i]):
        i += 1
    return list(range(at + 1, i)) if i > first else []
