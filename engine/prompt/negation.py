"""What a prompt says is not to be: "a village, no snow", "without fog or rain". Standard library only; no pixels."""

from __future__ import annotations

import re

NO = frozenset("no not without never none sans minus isn't aren't don't except".split())
NOTHING_BUT = re.compile(r"\b(nothing but|not only|no more than|no less than)\b", re.I)  # say something that is
FREE = re.compile(r"\b([\w']+)-free\b", re.I)  # snow-free
ENDS = re.compile(r"[,.;:!?\n]|\b(?:but|with|just|only|instead|under|while|at)\b", re.I)


def split(prompt: str) -> tuple[str, str]:
    """What the prompt asks for, and what it asks to be without: from a word of refusal to the end of its clause."""
    rest = NOTHING_BUT.sub("", prompt)
    asked, avoided, rest = [], FREE.findall(rest), FREE.sub("", rest)
    while found := _refusal(rest):
        asked.append(rest[: found.start()])
        rest = rest[found.end() :]
        end = ENDS.search(rest)
        avoided.append(rest[: end.start()] if end else rest)
        rest = rest[end.start() :] if end else ""
    return _joined([*asked, rest]), _joined(avoided)


def _refusal(text: str) -> re.Match[str] | None:
    return next((m for m in re.finditer(r"[\w']+", text) if m.group().lower() in NO), None)


def _joined(parts: list[str]) -> str:
    text = re.sub(r"\s+", " ", " ".join(part.strip() for part in parts if part.strip()))
    return re.sub(r"(?:\s*,)+\s*(?=[,.;]|$)", "", re.sub(r"\s+([,.;:!?])", r"\1", text)).strip(" ,.;:")
