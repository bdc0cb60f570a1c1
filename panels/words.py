"""How sentences, times and progress are written on a panel. Knows layouts and the region's width; of a job only what
it tells of itself."""

import re
import textwrap

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..operators import session

CHARACTER = 6.4         # pixels of an average character at the default interface scale
FIGURE = r"(?<=\d) (?=(?:%|[a-zA-Z]{1,3}\b))"      # the space between a number and its unit
UNBROKEN = "\u00a0"     # a space at which textwrap does not break
MARGIN = 62             # pixels that a panel, its icon and its borders take


def sentence(layout: bpy.types.UILayout, context: bpy.types.Context, text: str, icon: str = "NONE") -> None:
    """A sentence, translated already, on as many lines as the region needs; labels do not wrap by themselves."""
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(lines(text, characters(context))):
        column.label(text=line, translate=False, icon=icon if number == 0 else blank(icon))  # type: ignore[arg-type]  # any icon


def lines(text: str, width: int) -> list[str]:
    """Broken between figures, never inside one: "0.6 %" stays together, and no line ends in the dot before the next."""
    whole = re.sub(FIGURE, UNBROKEN, text).replace(" · ", f"{UNBROKEN}· ")
    broken = textwrap.wrap(whole, width) or [""]
    return [line.replace(UNBROKEN, " ").removesuffix(" ·") for line in broken]


def capital(text: str) -> str:
    """The engine speaks in clauses; on a panel a sentence begins."""
    return text[:1].upper() + text[1:]


def blank(icon: str) -> str:
    return "NONE" if icon == "NONE" else "BLANK1"


def characters(context: bpy.types.Context) -> int:
    scale = context.preferences.system.ui_scale
    width = context.region.width if context.region else 300
    return max(20, int((width / scale - MARGIN) / CHARACTER))


def frames(filmed: int, length: int) -> str:
    """How many pictures a shot has, and of how many frames, where a frame step leaves some out."""
    if not filmed:
        return ""
    return iface_("{} frames").format(filmed) if filmed == length else iface_("{} of {} frames").format(filmed, length)


def time_left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    whole = max(1, round(seconds))
    return iface_("{} s left").format(whole) if whole < 90 else iface_("{} min left").format(round(whole / 60))


def progress(job: session.Job) -> str:
    """"42 % · Sampling 3/8 · 40 s left": the whole job's share first, then its phase and how long that still takes."""
    phase = f"{iface_(job.phase)} {job.step}/{job.steps}" if job.steps else iface_(job.phase)
    parts = (f"{100 * job.progress:.0f} %" if job.progress else "", phase, time_left(job.eta))
    return " · ".join(part for part in parts if part)
