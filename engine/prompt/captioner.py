"""A scene's facts → its caption: lens, things, materials, light and camera move, in the words that a person would use.

Everything is read off `scene` of job.json, so nothing in it is guessed. It never says what hour or weather it is: what
light there is, is the scene's to know and a prompt's to change. Standard library and numpy; no model, no Blender.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from . import words

MOST_THINGS, MOST_MATERIALS = 5, 4
LEAST = 0.002  # of the pictures: what is smaller is not told
WIDE, LONG = 24.0, 60.0  # mm on 36 mm film
LOW, HIGH = 20.0, 50.0  # degrees of the sun above the horizon
NAMELESS = frozenset(  # what programs call things that nobody has named
    "cube plane sphere uvsphere icosphere cylinder cone torus grid circle mesh object empty suzanne curve bezier text "
    "group collection material default none dots landscape low high poly lod model geometry lambert phong shader mat "
    "obj instance root scene node part".split()
)
LIGHTNESS = ("dark ", "light ")  # of a colour's name: in a prompt they would say how much light there is


def caption(scene: Mapping[str, Any], move: str, c2w: np.ndarray, shares: Mapping[str, float] | None = None) -> str:
    """One line. `move`: what kind of path the camera was sent along, "own" where it is the artist's; c2w (F,4,4).

    `shares`: of the pictures, by the names of the objects that are in them. Without it, the scene's own order holds.
    """
    shown = prominent(scene.get("objects", ()), shares)
    things = names(shown, MOST_THINGS)
    parts = [f"{lens(scene)} of {', '.join(things)}" if things else lens(scene)]
    made_of = materials(material for thing in shown for material in thing.get("materials", ()))
    parts += [", ".join(made_of)] if made_of else []
    return "; ".join([*parts, light(scene, c2w), camera(scene, move)])


# ---------------------------------------------------------------- things


def prominent(things: Iterable[Mapping[str, Any]], shares: Mapping[str, float] | None) -> list[Mapping[str, Any]]:
    """Those that are seen, the largest first; all of them where no name is known, as of what is instanced."""
    if not shares or not any(thing.get("name") in shares for thing in things):
        return list(things)
    seen = [thing for thing in things if shares.get(str(thing.get("name")), 0) >= LEAST]
    return sorted(seen, key=lambda thing: -shares[str(thing["name"])])


def names(things: Iterable[Mapping[str, Any]], most: int) -> list[str]:
    """What the first of them are called, each kind once."""
    found = dict.fromkeys(plain(str(thing.get("name", ""))) for thing in things)
    return [name for name in found if name][:most]


def plain(name: str) -> str:
    """ "Lamp_post.003" → "lamp post"; empty where the name says nothing, or would tell the light."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    said = [word for word in re.findall(r"[^\W\d_]+", spaced.lower()) if len(word) > 1 and word not in NAMELESS]
    text = " ".join(said)
    return "" if words.tells_light(text) else text


def materials(found: Iterable[Mapping[str, Any]]) -> list[str]:
    """By their names; one that has none by its colour and finish."""
    told = dict.fromkeys(plain(str(m.get("name", ""))) or described(m) for m in found)
    return [text for text in told if text][:MOST_MATERIALS]


def described(material: Mapping[str, Any]) -> str:
    finish = material.get("finish")
    shown = finish if finish in ("metal", "glass", "glossy") else ""
    return " ".join(word for word in (colour(material.get("colour")), shown) if word)


def colour(name: Any) -> str:
    text = str(name or "")
    for word in LIGHTNESS:
        text = text.removeprefix(word)
    return text


# ---------------------------------------------------------------- light and camera


def light(scene: Mapping[str, Any], c2w: np.ndarray) -> str:
    """Where the sun stands, what lamps there are, what colour the sky has."""
    sun = scene.get("sun")
    lamps = [lamp for lamp in scene.get("lights", ()) if lamp.get("type") != "sun" and lamp.get("energy", 0) > 0]
    told = [sun_words(sun["direction"], c2w)] if sun else []
    if lamps:
        of = "a lamp" if len(lamps) == 1 else f"{len(lamps)} lamps"
        told.append(f"{of}, {colour(lamps[0].get('colour'))}")
    sky = scene.get("world") or {}
    if sky.get("colour") and sky.get("strength", 0) > 0 and sky["colour"] != "black":
        told.append(f"sky of {colour(sky['colour'])}")  # "blue sky" would be an hour of the day
    return ", ".join(told) or "no lamps"


def sun_words(direction: Iterable[float], c2w: np.ndarray) -> str:
    """Seen from the middle of the path."""
    x, y, z = (float(value) for value in direction)
    height = math.degrees(math.atan2(z, math.hypot(x, y)))
    if height <= 0:
        return "sun below the horizon"
    right, ahead = c2w[len(c2w) // 2, :3, 0], c2w[len(c2w) // 2, :3, 2]
    side = math.degrees(math.atan2(float(np.dot((x, y, z), right)), float(np.dot((x, y, z), ahead))))
    across = "on the right" if side > 0 else "on the left"
    where = "ahead" if abs(side) < 45 else "behind" if abs(side) > 135 else across
    return f"{'low' if height < LOW else 'high' if height > HIGH else 'half high'} sun {where}"


def lens(scene: Mapping[str, Any]) -> str:
    path = scene.get("path") or [{}]
    short, long = path[0].get("lens_mm", (35.0, 35.0))
    kind = "wide shot" if long <= WIDE else "close view" if short >= LONG else "shot"
    return f"{kind} at {short:.0f} mm" if long - short < 1 else f"{kind} at {short:.0f} to {long:.0f} mm"


def camera(scene: Mapping[str, Any], move: str) -> str:
    """The path's own words, after the kind that they alone would not show."""
    told = ", then ".join(str(part.get("move", "static")) for part in scene.get("path") or [{}])
    return f"hand-held, {told}" if move == "hand-held" and "hand-held" not in told else f"camera {told}"
