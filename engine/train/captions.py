"""Briefs: what a training scene is about, in words (the caption) and in numbers (the look). Knows no pixels.

A brief's words are drawn from many synonyms; its numbers follow from the same draw, so that the text encoder can learn
what light, weather, season and grade a word asks for. Words that are left out mean their plainest case: clear, noon, no style.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..models import materials
from ..models.shading import LOOK
from ..prompt.words import (
    COLOUR_WORDS,
    COLOURS,
    DRIVING,
    FIGURES,
    FILLERS,
    LIGHTS,
    MADE_OF,
    MATERIALS,
    PLACES,
    STYLES,
    TIMES,
    VEHICLES,
    WEATHERS,
)  # fmt: skip


@dataclass(frozen=True)
class Brief:
    time: str = "noon"
    weather: str = "clear"
    place: str = "village"
    material: str = "plaster"  # of the scene itself, never said
    paint: str = ""  # the material that the words ask for
    paint_colour: str = ""
    lights: str = "none"
    style: str = "none"
    figure: str = ""  # colour of a walking figure's coat
    vehicle: str = ""  # row of VEHICLES
    vehicle_colour: str = ""


def _pick(rng: np.random.Generator, options: list[str]) -> str:
    return options[rng.integers(len(options))]


STRANGE = (  # words that say nothing about light or material: the look has to stay as it is
    "calm quiet lonely epic mysterious gentle slow fast strange hidden forgotten magical peaceful busy crowded empty elegant "
    "knight dragon castle church bakery market bridge tower train car truck bicycle horse dog cat bird wolf fish robot alien "
    "spaceship soldier child children woman man girl boy king queen wizard dancer musician crowd traveller driver pilot "
    "chair table lamp bookshelf sofa clock piano guitar violin painting mirror carpet curtain vase flower rose tulip apple "
    "bread coffee tea cup bottle plate book letter map key door gate fence wall roof chimney balcony staircase fountain "
    "statue bench path square corner courtyard station airport shop restaurant school library museum hospital factory mill "
    "lighthouse island ship sail anchor rope crate barrel wheel engine machine pipe wire antenna satellite planet comet "
    "walking running riding flying waiting standing sitting dancing fighting sleeping looking turning floating falling "
    "medieval victorian futuristic ancient modern baroque gothic japanese italian french nordic african tropical western "
    "story drama comedy adventure journey dream memory secret hope fear love war peace home world kingdom empire city's "
    "detailed sharp focus depth composition perspective symmetrical minimal dramatic realistic cinematic award winning "
    "octane unreal render artstation trending 8k hdr high resolution professional photography masterful intricate "
    "tiny huge enormous little great long short wide narrow round square curved broken repaired abandoned occupied "
    "ball globe plant pot pillow shelf armchair hydrant signpost cart wagon lantern-bearer well harp drum flag banner".split()
)
DRIVEN = 0.25  # share of the briefs with a vehicle
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _strange(rng: np.random.Generator) -> str:
    """A word that decides nothing; one in five was never written before."""
    if rng.random() < 0.8:
        return _pick(rng, list(STRANGE))
    return "".join(rng.choice(list(LETTERS), int(rng.integers(3, 10))))


OWN_MATERIALS = ("brick", "plaster", "stone", "wood", "glass", "paint")  # that the scene maker builds with


def draw(rng: np.random.Generator, balanced: bool = False, **fixed: str) -> Brief:
    """A brief with balanced rarities: nights, storms and lights are as common as noon. `balanced`: styles too."""
    plain, bare = (0.4, 0.5) if balanced else (0.62, 0.62)
    values = dict(
        time=str(rng.choice(list(TIMES), p=[0.3, 0.17, 0.2, 0.1, 0.1, 0.13])),
        weather=str(rng.choice(list(WEATHERS), p=[0.48, 0.13, 0.12, 0.1, 0.17])),
        place=_pick(rng, list(PLACES)),
        material=_pick(rng, list(OWN_MATERIALS)),
        paint="" if rng.random() < bare else _pick(rng, list(MATERIALS)),
        lights=str(rng.choice(list(LIGHTS), p=[0.5, 0.25, 0.25])),
        style=str(rng.choice(list(STYLES), p=[plain] + [(1 - plain) / (len(STYLES) - 1)] * (len(STYLES) - 1))),
        figure=_pick(rng, list(COLOURS)) if rng.random() < 0.5 else "",
    )
    coloured = values["paint"] and rng.random() < (1.0 if values["paint"] == "paint" else 0.45)
    values["paint_colour"] = _pick(rng, list(COLOURS)) if coloured else ""
    if rng.random() < DRIVEN:
        values |= {"vehicle": _pick(rng, list(VEHICLES)), "vehicle_colour": _pick(rng, list(COLOURS))}
    return Brief(**{**values, **fixed})


def caption(brief: Brief, rng: np.random.Generator) -> str:
    """Words for a brief, in any order; noon, clear and the place are often left out. A third say only what is special."""
    terse = rng.random() < 0.35
    said = [_pick(rng, PLACES[brief.place])] if rng.random() < (0.3 if terse else 0.7) else []
    if brief.paint:
        said.append(_pick(rng, ["{}"] if terse else MADE_OF).format(_material_words(brief, rng)))
    if brief.time != "noon" or rng.random() < (0.1 if terse else 0.5):
        said.append(_pick(rng, TIMES[brief.time]))
    said += [_pick(rng, WEATHERS[brief.weather]), _pick(rng, LIGHTS[brief.lights]), _pick(rng, STYLES[brief.style])]
    if brief.figure and rng.random() < (0.1 if terse else 0.4):
        said.append(_pick(rng, FIGURES).format(_pick(rng, COLOUR_WORDS[brief.figure])))
    if brief.vehicle and rng.random() < (0.2 if terse else 0.5):
        colour, kind = _pick(rng, COLOUR_WORDS[brief.vehicle_colour]), _pick(rng, VEHICLES[brief.vehicle])
        said.append(_pick(rng, DRIVING).format(f"{colour} {kind}"))
    said = [s for s in said if s]
    for _ in range(int(rng.integers(1, 5)) if rng.random() < 0.5 else 0):
        said.insert(int(rng.integers(len(said) + 1)), _strange(rng))
    if rng.random() < 0.5:
        rng.shuffle(said)
    text = (", " if rng.random() < 0.6 else " ").join(said)
    return text if terse else f"{_pick(rng, FILLERS)} {text}".strip()


def _material_words(brief: Brief, rng: np.random.Generator) -> str:
    named = _pick(rng, MATERIALS[brief.paint])
    if not brief.paint_colour:
        return named
    own = [w for w in MATERIALS[brief.paint] if not any(c in w for c in COLOUR_WORDS)]
    return f"{_pick(rng, COLOUR_WORDS[brief.paint_colour])} {_pick(rng, own)}"


SURE = 5.0  # score of the right class

# zenith, horizon, sun colour, height of the sun, exposure
LIGHT = {
    "noon": ((0.13, 0.30, 0.72), (0.62, 0.75, 0.92), (2.9, 2.75, 2.5), (0.75, 1.2), 0.62),
    "sunset": ((0.16, 0.19, 0.42), (1.15, 0.50, 0.18), (3.1, 1.35, 0.45), (0.1, 0.3), 0.95),
    "night": ((0.006, 0.010, 0.030), (0.020, 0.032, 0.065), (0.08, 0.11, 0.21), (0.5, 1.0), 2.2),
    "dawn": ((0.28, 0.32, 0.55), (0.98, 0.62, 0.56), (1.7, 1.05, 0.9), (0.12, 0.35), 0.95),
    "dusk": ((0.045, 0.075, 0.20), (0.22, 0.17, 0.26), (0.16, 0.13, 0.2), (0.05, 0.2), 1.3),
    "overcast": ((0.42, 0.45, 0.50), (0.62, 0.64, 0.66), (0.35, 0.36, 0.38), (0.6, 1.2), 0.8),
}  # fmt: skip
STYLE_GRADES = {  # contrast (log), saturation, tint (log, rgb)
    "none": (0, 0, (0, 0, 0)), "black and white": (0.1, -1, (0, 0, 0)), "sepia": (0, -1, (0.08, -0.06, -0.3)),
    "noir": (0.5, -1, (-0.15, -0.15, -0.15)), "vivid": (0.15, 0.5, (0, 0, 0)), "pastel": (-0.4, -0.35, (0.1, 0.1, 0.1)),
    "warm": (0, 0, (0.12, 0.0, -0.18)), "cold": (0, -0.2, (-0.2, -0.03, 0.1)), "dark": (0.15, -0.1, (-0.4, -0.4, -0.38)),
    "bright": (-0.15, 0, (0.1, 0.1, 0.1)), "watercolour": (-0.15, 0.1, (0.08, 0.07, 0.05)), "pencil": (0.1, -0.3, (0, 0, 0)),
    "cartoon": (0.1, 0.35, (0.03, 0.03, 0.03)), "blueprint": (0, -0.5, (0, 0, 0)), "neon": (0.25, 0.35, (-0.5, -0.6, -0.3)),
}  # fmt: skip


def _asked(brief: Brief) -> dict[str, np.ndarray]:
    """Which material, dye and hand the brief asks for, as scores."""
    said = {"material": brief.paint, "dye": brief.paint_colour, "hand": brief.style}
    tables = {"material": list(materials.MATERIALS), "dye": list(materials.DYES), "hand": list(materials.HANDS)}
    return {
        kind: np.array([SURE * float(name == (said[kind] if said[kind] in rows else "none")) for name in rows])
        for kind, rows in tables.items()
    }


def _weathered(
    brief: Brief, zenith: np.ndarray, horizon: np.ndarray, sun: np.ndarray, rng: np.random.Generator
) -> dict:
    """What weather does to sky, sun and air."""
    out = dict(snow=0.0, wet=0.0, fog_density=0.02, cloud=0.3, glow=0.6)
    grey = lambda c, s: c + s * (c.mean() - c)  # noqa: E731 - two uses, one line
    if brief.weather == "storm":
        zenith, horizon, sun = grey(zenith, 0.7) * 0.3, grey(horizon, 0.6) * 0.38, sun * 0.12
        out.update(fog_density=0.09, cloud=0.9, glow=0.1, wet=0.5)
    elif brief.weather == "rain":
        zenith, horizon, sun = grey(zenith, 0.6) * 0.6, grey(horizon, 0.6) * 0.6, sun * 0.2
        out.update(fog_density=0.10, cloud=0.7, glow=0.1, wet=0.9)
    elif brief.weather == "fog":
        zenith, horizon, sun = grey(horizon, 0.6) * 0.9, grey(horizon, 0.6), sun * 0.25
        out.update(fog_density=rng.uniform(0.22, 0.6), cloud=0.1, glow=0.2)
    elif brief.weather == "snow":
        zenith, horizon, sun = zenith, grey(horizon, 0.5), sun * 0.7
        zenith, horizon, sun = zenith * 0.8, horizon * 0.8, sun * 0.75  # film is exposed for the snow
        out.update(fog_density=0.10, snow=0.95, cloud=0.5, glow=0.4)
    if brief.time == "overcast":
        out.update(cloud=0.8, glow=0.1)
    return dict(out, zenith=zenith, horizon=horizon, sun=sun)


def look(brief: Brief, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The brief's look in the shader's own units (models/shading.py LOOK), with the spread that films of one brief have."""
    zenith, horizon, sun, height, exposure = LIGHT[brief.time]
    w = _weathered(brief, np.array(zenith), np.array(horizon), np.array(sun), rng)
    spread = lambda n, s: np.exp(rng.normal(0, s, n))  # noqa: E731
    exposure = exposure * float(spread(1, 0.12)[0])
    zenith, horizon, sun = (w[k] * spread(3, 0.05) * exposure for k in ("zenith", "horizon", "sun"))
    above = zenith * 0.7 + horizon * 0.5
    above = above + 0.35 * (above.mean() - above)
    night, dusk = brief.time == "night", brief.time in ("dusk", "dawn", "sunset")
    if brief.place == "room":  # indoors daylight is what came in through windows; the sun does not reach
        above, sun = (above * 0.5 + 0.12 * above.mean()) * 1.2, sun * 0.8
    ground = horizon * 0.2 + 0.25 * above * (0.6 if brief.place == "room" else 0.25)
    contrast, saturation, tint = STYLE_GRADES[brief.style]
    strength = {"none": 0.15, "windows": 0.4, "lanterns": 1.0}[brief.lights] * (1.0 if night else 0.6 if dusk else 0.12)
    lit = (0.75 if brief.lights == "windows" else 0.25 if night else 0.05) * (1.0 if night or dusk else 0.5)
    if brief.place == "room" and (night or brief.lights != "none"):
        strength = max(strength, 0.6)
    return {
        "sky_light": above, "ground_light": ground, "sun": sun, "fog": horizon * 0.85 + zenith * 0.15, "zenith": zenith, "horizon": horizon,
        "window": np.array([1.6, 1.0, 0.42]) * spread(3, 0.1) * (1.3 if night else 0.9),
        "fog_density": np.array([w["fog_density"]]) * spread(1, 0.15), "lamp": np.array([strength]) * spread(1, 0.1),
        "height": np.array([rng.uniform(*height)]), "snow": np.array([w["snow"]]), "wet": np.array([w["wet"]]),
        "glow": np.array([w["glow"]]), "lit": np.array([lit]), "cloud": np.array([w["cloud"]]),
        "contrast": np.array([contrast + rng.normal(0, 0.05)]), "saturation": np.array([max(-1, saturation + rng.normal(0, 0.03))]),
        "tint": np.array(tint) + rng.normal(0, 0.02, 3), **_asked(brief),
    }  # fmt: skip


def raw(values: dict[str, np.ndarray]) -> np.ndarray:
    """A look in the shader's units -> the network's raw numbers (LOOK_WIDTH,), the inverse of `shading.unpack`."""
    out = []
    for name, (_, kind) in LOOK.items():
        v = np.asarray(values[name], np.float64)
        if kind == "log":
            v = np.log(np.clip(v, math.exp(-7), math.exp(3)))
        elif kind == "share":
            v = np.clip(v, 0.02, 0.98)
            v = np.log(v / (1 - v))
        out.append(v)
    return np.concatenate(out).astype(np.float32)
