"""Which colour space a strip needs so that the scene's view gives back the colours that were generated. It measures
nothing at run time and never changes a view: what it knows was measured by tests/blender/test_takes.py.

The frames are sRGB pictures. The sequencer takes them to scene light by the strip's colour space, and the view takes
them back; both cancel only where the colour space is the view's exact inverse.
"""

from typing import Any, NamedTuple

import bpy
from bpy.app.translations import pgettext_n as n_
from bpy.app.translations import pgettext_rpt as rpt_

from . import compat


class Inverse(NamedTuple):
    space: str
    exact: bool


INVERSES = {
    "Standard": Inverse("sRGB", True),
    "Filmic": Inverse("Filmic sRGB", True),         # but for pure primaries, which Filmic never shows
    "AgX": Inverse("AgX Base sRGB", False),         # greys and soft colours return, strong ones come out duller
    "Filmic Log": Inverse("Filmic Log", True),
    "Khronos PBR Neutral": Inverse("Khronos PBR Neutral sRGB", False),
    "ACES 1.3": Inverse("ACES 1.3 sRGB", False),
    "ACES 2.0": Inverse("ACES 2.0 sRGB", True),
    "Raw": Inverse("Non-Color", False),
}
PLAIN = Inverse("sRGB", False)
NEUTRAL_LOOKS = ("None", "")


def inverse(scene: bpy.types.Scene) -> Inverse:
    """The colour space that undoes the scene's view, and whether it does so exactly."""
    found = INVERSES.get(scene.view_settings.view_transform, PLAIN)
    return found if not adjustments(scene) else Inverse(found.space, False)


def adjustments(scene: bpy.types.Scene) -> list[str]:
    """What else in the scene's colour management changes the picture, as an artist calls it."""
    view = scene.view_settings
    checks = {
        n_("look"): view.look not in NEUTRAL_LOOKS,
        n_("exposure"): abs(view.exposure) > 1e-6,
        n_("gamma"): abs(view.gamma - 1.0) > 1e-6,
        n_("curves"): view.use_curve_mapping,
        n_("white balance"): getattr(view, "use_white_balance", False),
        n_("display"): view.view_transform != "Standard" and scene.display_settings.display_device != "sRGB",
    }
    return [name for name, changed in checks.items() if changed]


def apply(strip: Any, scene: bpy.types.Scene) -> Inverse:
    """Sets the strip's colour space for the scene's view as it is now."""
    wanted = inverse(scene)
    if _lacks(strip, wanted.space):
        wanted = PLAIN
    strip.colorspace_settings.name = wanted.space
    return wanted


def match(strips: list[Any], scene: bpy.types.Scene) -> bool:
    """Whether these strips have the colour space that the view asks for."""
    wanted = inverse(scene).space
    have = {strip.colorspace_settings.name: strip for strip in strips}
    return all(name == wanted or (name == PLAIN.space and _lacks(strip, wanted)) for name, strip in have.items())


def _lacks(strip: Any, space: str) -> bool:
    return space not in compat.colour_spaces(strip)


_kept: set[tuple] = set()
"""Scenes in the state in which the artist left their view, knowing what it does to takes. Of this session."""


def notice(scene: bpy.types.Scene) -> str:
    """A few words of the complaint, until the artist chose to leave the view as it is. The rest is on the button."""
    if inverse(scene).exact or _state(scene) in _kept:
        return ""
    if adjustments(scene):
        return rpt_("View settings change takes' colours")
    view = scene.view_settings.view_transform
    return rpt_("{} changes takes' colours").format(view)


def keep(scene: bpy.types.Scene) -> None:
    _kept.add(_state(scene))


def forget() -> None:
    _kept.clear()


def _state(scene: bpy.types.Scene) -> tuple:
    return scene.session_uid, scene.view_settings.view_transform, *adjustments(scene)


def complaint(scene: bpy.types.Scene) -> str:
    """One sentence where the strips' colours do not come back as generated; empty where they do."""
    if inverse(scene).exact:
        return ""
    changed = adjustments(scene)
    if changed:
        return rpt_("The view's settings change the colours of takes ({}); a plain Standard view shows them as "
                    "generated, and renders of the 3D view change with it").format(", ".join(map(rpt_, changed)))
    view = scene.view_settings.view_transform
    if view == "AgX":
        return rpt_("AgX dulls the strong colours of takes; a Standard view shows them as generated, and renders of "
                    "the 3D view change with it")
    return rpt_("The view {} changes the colours of takes; a Standard view shows them as generated, and renders of the "
                "3D view change with it").format(view)


def show_as_generated(scene: bpy.types.Scene) -> None:
    """The view that shows strips as they are. Only ever called because the artist asked for it."""
    view = scene.view_settings
    view.view_transform = "Standard"  # type: ignore[assignment]  # the stubs were made without a colour configuration
    view.look = "None"  # type: ignore[assignment]
    view.exposure, view.gamma, view.use_curve_mapping = 0.0, 1.0, False
    compat.set_where_known(view, use_white_balance=False)
