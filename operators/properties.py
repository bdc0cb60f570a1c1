"""What the .blend remembers: `scene.shotlock`, the next shot, and `strip.shotlock`, what a take was made with.

This is the scripting interface, and it stays. Nothing here knows whether a job is running: run-time state lives in
session.py and never touches the file. The preferences, which live outside the file, stand here too.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty

from ..engine import job
from . import compat

MODELS = tuple((name, name.capitalize(), words) for name, words in job.MODELS.items())
SETTINGS = ("prompt", "negative_prompt", "seed", "steps", "guidance", "control_strength", "model")
"""What a take remembers and Redo gives back, by the same names on the scene and on the strip."""


def _is_camera(_settings: "ShotlockScene", candidate: bpy.types.Object) -> bool:
    return candidate.type == "CAMERA"


def _own_range(settings: "ShotlockScene", other: str, scene_value: int) -> None:
    """Whoever sets one end of the range means it: the other end starts from the scene's."""
    if settings.use_scene_range:
        settings.use_scene_range = False
        if not settings.is_property_set(other):
            setattr(settings, other, scene_value)


def _start_set(settings: "ShotlockScene", _context: bpy.types.Context) -> None:
    _own_range(settings, "frame_end", cast(bpy.types.Scene, settings.id_data).frame_end)


def _end_set(settings: "ShotlockScene", _context: bpy.types.Context) -> None:
    _own_range(settings, "frame_start", cast(bpy.types.Scene, settings.id_data).frame_start)


def shared_settings() -> dict[str, Any]:
    """The annotations that the scene and the strip have in common."""
    return {
        "prompt": StringProperty(
            name="Prompt", description="What the shot should look like: style, materials, light, weather"
        ),
        "negative_prompt": StringProperty(name="Negative Prompt", description="What the shot should not look like"),
        "seed": IntProperty(
            name="Seed",
            description="The same seed, settings and scene give the same take; another seed gives another",
            min=0, max=job.MOST_SEED, options=set(),
        ),
        "steps": IntProperty(
            name="Steps", description="How often the model refines the frames: more is slower and cleaner",
            default=job.DEFAULT_STEPS, min=1, max=job.MOST_STEPS, soft_max=30, options=set(),
        ),
        "guidance": FloatProperty(
            name="Guidance",
            description="How hard the frames are pulled to the prompt and away from the negative prompt: 1 is as the "
                        "model was trained",
            default=1.0, min=0.0, max=job.MOST_GUIDANCE, soft_max=10.0, options=set(),
        ),
        "control_strength": FloatProperty(
            name="Control",
            description="How strictly the frames keep to the scene's own colours: 0 lets the model paint the surfaces "
                        "by itself",
            default=1.0, min=0.0, max=job.MOST_CONTROL, subtype="FACTOR", options=set(),
        ),
        "model": EnumProperty(
            name="Model", description="Which family of weights makes the frames", items=MODELS, options=set()
        ),
    }


def scene_settings() -> dict[str, Any]:
    return shared_settings() | {
        "camera": PointerProperty(
            name="Camera", type=bpy.types.Object, poll=_is_camera,
            description="The camera that films; empty: the scene's camera, with its markers obeyed",
        ),
        "use_scene_range": BoolProperty(
            name="Scene Range", description="Film the scene's frame range", default=True, options=set()
        ),
        "frame_start": IntProperty(
            name="Start", description="First frame of the shot, where it is not the scene's", default=1,
            update=_start_set, options=set(),
        ),
        "frame_end": IntProperty(
            name="End", description="Last frame of the shot, where it is not the scene's", default=250,
            update=_end_set, options=set(),
        ),
        "width": IntProperty(
            name="Width", default=job.DEFAULT_WIDTH, min=64, max=4096, soft_max=1920, subtype="PIXEL", options=set(),
            description="Width of the frames; the height follows from the scene's resolution. Left alone: "
                        f"{job.DEFAULT_WIDTH} for 16:9, and as many pixels in other shapes",
        ),
    }


def strip_settings() -> dict[str, Any]:
    return shared_settings() | {
        "job": StringProperty(
            name="Job", description="The take's folder: job.json, passes, frames and report", subtype="DIR_PATH",
            options=compat.relative_path_option(),
        ),
        "shot": StringProperty(name="Shot", description="The shot that this is a take of"),
        "take": IntProperty(name="Take", description="The take's number within its shot", min=0, options=set()),
    }


def object_settings() -> dict[str, Any]:
    return {
        "prompt": StringProperty(
            name="Prompt", maxlen=job.LONGEST_PROMPT,
            description="What this object should look like, whatever the shot's prompt says: its material and colour, "
                        "like white marble, rusty iron, or glowing blue",
        ),
    }


def preference_settings() -> dict[str, Any]:
    return {
        "engine_python": StringProperty(
            name="Engine Python", subtype="FILE_PATH", options=compat.relative_path_option(),
            description="The Python that runs the engine; empty: the one that Shotlock made or finds by itself",
        ),
        "takes_folder": StringProperty(
            name="Takes", subtype="DIR_PATH", options=compat.relative_path_option(),
            description="Where new takes go; empty: a folder called shots beside the .blend",
        ),
        "keep_passes": BoolProperty(
            name="Keep Passes", default=True,
            description="Keep depth, colours and the other passes after a take; they can be gigabytes for long shots",
        ),
    }


# What scripts read and write; register() puts the properties of the same names in the place of these annotations.

class ShotlockScene(bpy.types.PropertyGroup):
    """The next shot of this scene."""

    prompt: str
    negative_prompt: str
    seed: int
    steps: int
    guidance: float
    control_strength: float
    model: str
    camera: bpy.types.Object | None
    use_scene_range: bool
    frame_start: int
    frame_end: int
    width: int


class ShotlockStrip(bpy.types.PropertyGroup):
    """What the take on this strip was made with; an empty job: not a strip of ours."""

    prompt: str
    negative_prompt: str
    seed: int
    steps: int
    guidance: float
    control_strength: float
    model: str
    job: str
    shot: str
    take: int


class ShotlockObject(bpy.types.PropertyGroup):
    """What a shot is told of this object alone."""

    prompt: str


draw_preferences: Callable[["ShotlockPreferences", bpy.types.Context], None] | None = None
"""Set by the panels, which know how; nothing here knows them."""


class ShotlockPreferences(bpy.types.AddonPreferences):
    """Where the engine and the takes live on this machine."""

    bl_idname = __package__.rpartition(".")[0]
    engine_python: str
    takes_folder: str
    keep_passes: bool

    def draw(self, context: bpy.types.Context) -> None:
        if draw_preferences:
            draw_preferences(self, context)


def preferences() -> ShotlockPreferences | None:
    """None where the package was registered without being an enabled add-on, as tests and scripts do."""
    addon: bpy.types.Addon | None = bpy.context.preferences.addons.get(ShotlockPreferences.bl_idname)
    return cast(ShotlockPreferences, addon.preferences) if addon else None


def shot_of(scene: bpy.types.Scene) -> ShotlockScene:
    """`scene.shotlock`, with its type."""
    return scene.shotlock  # type: ignore[attr-defined]  # registered at run time


def of_object(thing: bpy.types.Object) -> ShotlockObject:
    """`object.shotlock`, with its type."""
    return thing.shotlock  # type: ignore[attr-defined]  # registered at run time


def copy_settings(source: Any, target: Any) -> None:
    for name in SETTINGS:
        setattr(target, name, getattr(source, name))


CLASSES: Mapping[type, Callable[[], dict[str, Any]]] = {
    ShotlockScene: scene_settings, ShotlockStrip: strip_settings, ShotlockObject: object_settings,
    ShotlockPreferences: preference_settings,
}


def register() -> None:
    for cls, settings in CLASSES.items():
        cls.__annotations__ = settings()
        bpy.utils.register_class(cls)
    bpy.types.Scene.shotlock = PointerProperty(  # type: ignore[attr-defined]  # made here
        name="Shotlock", description="The next shot of this scene", type=ShotlockScene
    )
    bpy.types.Object.shotlock = PointerProperty(  # type: ignore[attr-defined]  # made here
        name="Shotlock", description="What a shot is told of this object alone", type=ShotlockObject
    )
    compat.strip_type().shotlock = PointerProperty(  # type: ignore[attr-defined]  # made here
        name="Shotlock", description="What the take on this strip was made with", type=ShotlockStrip
    )


def unregister() -> None:
    """The annotations go too: callbacks that a class still holds at exit crash Blender 4.2 as a Python module."""
    del compat.strip_type().shotlock  # type: ignore[attr-defined]  # made above
    del bpy.types.Object.shotlock  # type: ignore[attr-defined]
    del bpy.types.Scene.shotlock  # type: ignore[attr-defined]
    for cls in reversed(list(CLASSES)):
        bpy.utils.unregister_class(cls)
        cls.__annotations__ = {}
