"""The models that can be chosen, as the menu and the panels see them: the bundled one, and what the registry of this
machine names. Asked at every redraw, so the disk is looked at now and then only. Fetches nothing, changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bpy.app.translations import pgettext_iface as iface_
from bpy.app.translations import pgettext_n as n_
from bpy.app.translations import pgettext_rpt as rpt_

from ..engine import job, looks, official, registry
from . import memory

CONTROL, KNOWN, FIRST, LAST, REFERENCES, START, LORAS, SPAN, SHIFT, SPEED, DRESS = (
    "control", "known", "first", "last", "references", "start", "loras", "span", "shift", "speed", "dress",
)  # fmt: skip
"""What a model may be told beside a prompt: the scene, known pixels of any frame, of the first and of the last one,
pictures of subjects, base colours to begin with, LoRAs, between which steps it is told, how long it stays with much
noise, what may be given up for speed, and whether bare objects are dressed."""

OF_CONTROLS: Mapping[str, str] = {  # what `inspect` calls the inputs of a checkpoint
    "control video": CONTROL, "camera": CONTROL, "known pixels": KNOWN, "first frame": FIRST, "last frame": LAST,
    "reference images": REFERENCES, "reference image": REFERENCES,
}  # fmt: skip
EVERY_WAN = frozenset({START, LORAS, SHIFT, SPEED})  # needs no input of its own
ALL = frozenset({CONTROL, KNOWN, FIRST, LAST, REFERENCES, SPAN}) | EVERY_WAN
LITE = frozenset({CONTROL, KNOWN, FIRST, LAST, REFERENCES, DRESS})
LITE_RECIPE = official.Recipe(job.DEFAULT_STEPS, 1.0, 1.0, fps=24)

LISTED = (  # of official.MODELS, which the engine reads too
    n_("depth, known pixels, first and last frame, reference pictures"), n_("camera, first frame"),
    n_("depth, first frame, a reference picture"), n_("first frame; no depth and no camera"),
    n_("nothing but the prompt"),
)  # fmt: skip
IN_WORDS: Mapping[str, str] = {
    "control video": n_("depth"), "camera": n_("camera"), "known pixels": n_("known pixels"),
    "first frame": n_("first frame"), "last frame": n_("last frame"), "reference images": n_("reference pictures"),
    "reference image": n_("a reference picture"),
}  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """One entry of the menu."""

    name: str
    title: str
    told: str  # what it can be told, in words; empty where only its files know
    able: frozenset[str]  # the same, for the panel: what it does not know it offers, and the engine refuses by name
    recipe: official.Recipe | None  # None where only its files tell
    missing: tuple[str, ...] = ()  # files that are not there any more
    is_lite: bool = False  # the bundled model's family: it needs no forecast and enlarges what it samples


@dataclass(frozen=True)
class Shelf:
    models: Mapping[str, Choice]
    loras: Mapping[str, registry.Lora]
    problem: str = ""  # why the registry cannot be read


def shelf() -> Shelf:
    """What this machine has. For panels: asked at every redraw."""
    place = registry.place()
    return memory.look(("models", place), lambda: _read(place))


def _read(place: Any) -> Shelf:
    models = {name: _bundled(name, words) for name, words in job.MODELS.items()}
    try:
        found = registry.read(place)
    except registry.BadRegistry as error:
        return Shelf(models, {}, str(error))
    models |= {name: _adapted(look) for name, look in looks.found(found).items()}
    return Shelf(models | {name: _choice(entry) for name, entry in found.models.items()}, dict(found.loras))


def _bundled(name: str, words: str) -> Choice:
    return Choice(name, name.capitalize(), words, LITE, LITE_RECIPE, is_lite=True)


def _adapted(look: looks.Look) -> Choice:
    return Choice(look.name, look.title, own_words(look), LITE, LITE_RECIPE, look.missing, is_lite=True)


def own_words(look: looks.Look) -> str:
    """What it can be told that other models cannot."""
    return iface_("its own word, {}").format(" or ".join(look.words))


def _choice(entry: registry.Entry) -> Choice:
    controls = entry.facts.get("controls")
    able = ALL if not isinstance(controls, list) else able_of(controls)
    words = entry.told or (in_words(controls) if isinstance(controls, list) else "")
    return Choice(entry.name, entry.title or entry.name, words, able, entry.recipe, tuple(entry.missing))


def able_of(controls: list[Any]) -> frozenset[str]:
    """What the panel offers for a checkpoint with these inputs."""
    found = {OF_CONTROLS[name] for name in controls if name in OF_CONTROLS}
    return frozenset(found | ({SPAN} if CONTROL in found else set())) | EVERY_WAN


def in_words(controls: list[Any]) -> str:
    found = [iface_(IN_WORDS[name]) for name in controls if name in IN_WORDS]
    return ", ".join(found) or iface_("nothing but the prompt")


def choice(name: str) -> Choice | None:
    """None where this machine has no such model."""
    return shelf().models.get(name)


def able(name: str, what: str) -> bool:
    """Whether the panel offers that for a model; for one that is gone it offers all, so that nothing is lost to see."""
    found = choice(name)
    return found is None or what in found.able


def is_lite(name: str) -> bool:
    """Whether it is the bundled model, or one that an artist made of it."""
    found = choice(name)
    return found is not None and found.is_lite


def title(name: str) -> str:
    """For the menu; one that is gone is named all the same."""
    found = choice(name)
    return found.title if found else iface_("{} (not on this machine)").format(name)


def lack(name: str) -> str:
    """One sentence why that model cannot be used; empty where it can."""
    here = shelf()
    if name in here.models:
        missing = here.models[name].missing
        return rpt_("{} of the model {} is not there any more: fetch or import it again in the preferences, or choose "
                    "another model").format(missing[0], here.models[name].title) if missing else ""
    if here.problem:
        return here.problem
    return rpt_('The model "{}" is not on this machine: fetch or import it in the preferences, or choose another in '
                "the Shotlock tab").format(name)


def no_lead(name: str) -> str:
    """One sentence where a model can be told neither depth nor camera; empty else."""
    if able(name, CONTROL):
        return ""
    return rpt_("{} can be told neither depth nor camera: its frames will not follow the shot").format(title(name))


def recipe(name: str, loras: Any = ()) -> official.Recipe | None:
    """How that model is sampled where the artist says nothing; a LoRA that was taught to need other steps decides."""
    here = shelf()
    own = [here.loras[lora].recipe for lora, strength in loras if lora in here.loras and strength]
    few = next((found for found in own if found), None)
    found = here.models.get(name)
    return few or (found.recipe if found else None)
