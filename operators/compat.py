"""The only file that knows Blender versions: one function per thing that 4.2 to 5.2 do differently. Decides nothing."""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import bpy

# What the type checker's stubs say, where they are narrower than Blender

Outcome = set[Literal["RUNNING_MODAL", "CANCELLED", "FINISHED", "PASS_THROUGH", "INTERFACE"]]
"""What an operator returns."""

if TYPE_CHECKING:  # a mix-in is no class of Blender's, but only lives in one
    PanelPart = bpy.types.Panel
    OperatorPart = bpy.types.Operator
else:
    PanelPart = OperatorPart = object


# The sequencer

def strip_type() -> type:
    """The class that every strip is: `Strip` from 4.4 on, `Sequence` before."""
    return getattr(bpy.types, "Strip", None) or bpy.types.Sequence


def strips(scene: bpy.types.Scene) -> Any:
    """The scene's top-level strips; an empty tuple where it has no sequencer yet."""
    editor = scene.sequence_editor
    if editor is None:
        return ()
    return editor.strips if hasattr(editor, "strips") else editor.sequences


def all_strips(scene: bpy.types.Scene) -> Any:
    """Every strip of the scene, those inside meta strips too."""
    editor = scene.sequence_editor
    if editor is None:
        return ()
    return editor.strips_all if hasattr(editor, "strips_all") else editor.sequences_all


def strip_range(strip: Any) -> tuple[int, int]:
    """First frame, and the frame after the last; 5.2 warns about the old names."""
    if hasattr(strip, "left_handle"):
        return int(strip.left_handle), int(strip.right_handle)
    return int(strip.frame_final_start), int(strip.frame_final_end)


def add_image_strip(scene: bpy.types.Scene, name: str, files: Sequence[str], channel: int, start: int) -> Any:
    """An image strip of `files` (the first one a whole path, `//` allowed; the others names beside it)."""
    if scene.sequence_editor is None:
        scene.sequence_editor_create()
    strip = strips(scene).new_image(
        name=name, filepath=files[0], channel=channel, frame_start=start, fit_method="FIT"
    )
    for file in files[1:]:
        strip.elements.append(file)
    return strip


def set_where_known(owner: Any, **values: Any) -> None:
    """Settings that some of 4.2 to 5.2 lack: where there is none, there is nothing to set."""
    for name, value in values.items():
        if hasattr(owner, name):
            setattr(owner, name, value)


def select_only(scene: bpy.types.Scene, strip: Any) -> None:
    for other in strips(scene):
        other.select = other == strip
    scene.sequence_editor.active_strip = strip


def active_strip(context: bpy.types.Context) -> Any | None:
    """The active strip of the scene that the sequencer shows."""
    scene = sequencer_scene(context)
    editor = scene.sequence_editor if scene else None
    return editor.active_strip if editor else None


def sequencer_scene(context: bpy.types.Context) -> bpy.types.Scene | None:
    """The scene whose strips the sequencer shows: the workspace's own from 5.0 on, where it may be None."""
    return getattr(context, "sequencer_scene", None) or context.scene


def show_in_sequencer(scene: bpy.types.Scene) -> None:
    """From 5.0 on a sequencer stays empty until its workspace names a scene; one that was chosen is left alone."""
    for screen_owner in bpy.data.workspaces:
        if hasattr(screen_owner, "sequencer_scene") and screen_owner.sequencer_scene is None:
            screen_owner.sequencer_scene = scene


def sequencer_is_empty(context: bpy.types.Context) -> bool:
    """Whether the sequencer shows nothing at all because its workspace names no scene (5.0 on)."""
    return getattr(context.workspace, "sequencer_scene", context.scene) is None


def shows_sequencer(screen: bpy.types.Screen) -> bool:
    return any(area.type == "SEQUENCE_EDITOR" for area in screen.areas)


def editing_workspace(scene: bpy.types.Scene) -> bpy.types.WorkSpace | None:
    """A workspace of this file with a sequencer that shows the scene's strips, or could; Video Editing if it is one."""
    found = [place for place in bpy.data.workspaces if any(map(shows_sequencer, place.screens))
             and getattr(place, "sequencer_scene", scene) in (scene, None)]
    return next((place for place in found if place.name.startswith("Video Editing")), found[0] if found else None)


def colour_spaces(strip: Any) -> list[str]:
    """The names that the strip's colour space may have; they differ between versions."""
    return [item.identifier for item in strip.colorspace_settings.bl_rna.properties["name"].enum_items]


# Rendering

RENDER_PASSES = {"index": ("IndexOB", "Object Index"), "diffuse": ("DiffCol", "Diffuse Color"),
                 "glossy": ("GlossCol", "Glossy Color"), "transmission": ("TransCol", "Transmission Color"),
                 "emission": ("Emit", "Emission"), "ao": ("AO", "Ambient Occlusion"),
                 "smooth": ("Shotlock smooth",)}  # 4.x, 5.x; others kept theirs


def render_pass(passes: Any, name: str) -> Any:
    """One pass of a render layer by the name that this project gives it."""
    names = RENDER_PASSES.get(name, (name.capitalize(),))
    return next((found for found in passes if found.name in names), None)


def as_png(settings: Any) -> None:
    """8-bit RGB; from 5.0 on the kind of medium is said first."""
    set_where_known(settings, media_type="IMAGE")
    settings.file_format = "PNG"
    settings.color_mode, settings.color_depth = "RGB", "8"


def display_name(settings: Any) -> str:
    """What this Blender calls an sRGB screen."""
    names = [item.identifier for item in settings.bl_rna.properties["display_device"].enum_items]
    return "sRGB" if "sRGB" in names else settings.display_device


# Windows and undo

def in_window() -> Any:
    """A context with a window, which timers do not have; operators that need one run inside it."""
    windows = bpy.context.window_manager.windows
    if bpy.context.window is None and len(windows):
        return bpy.context.temp_override(window=windows[0])
    return contextlib.nullcontext()


def push_undo(message: str) -> None:
    """One named step, from a timer and from a script alike."""
    with in_window():
        if bpy.ops.ed.undo_push.poll():
            bpy.ops.ed.undo_push(message=message)


# Animation and shaders

def fcurves(owner: Any) -> list[Any]:
    """The F-curves of the action that a data-block plays: in its slot's channels where actions have slots (4.4 on)."""
    data = owner.animation_data
    if data is None or data.action is None:
        return []
    if not hasattr(data, "action_slot"):
        return list(data.action.fcurves)
    strips = [strip for layer in data.action.layers for strip in layer.strips]
    bags = [strip.channelbag(data.action_slot) for strip in strips if data.action_slot]
    return [curve for bag in bags if bag for curve in bag.fcurves]


def shader_tree(owner: Any) -> Any | None:
    """The nodes of a material or world; None where it is told not to use them, which 5.0 no longer knows."""
    return owner.node_tree if bpy.app.version >= (5, 0) or owner.use_nodes else None


# Properties

def relative_path_option() -> set[Any]:
    """From 4.5 on a path property has to say that it takes `//`; before, the word is unknown."""
    return {"PATH_SUPPORTS_BLEND_RELATIVE"} if bpy.app.version >= (4, 5) else set()
