"""What the .blend remembers: `scene.shotlock`, the next shot, and `strip.shotlock`, what a take was made with.

This is the scripting interface, and it stays. Nothing here knows whether a job is running: run-time state lives in
session.py and never touches the file. The preferences, which live outside the file, stand here too.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from ..engine import job
from . import compat, memory, shelf

SPEED: Mapping[str, tuple[str, Any]] = {  # setting → key of job.json's `speed`, and what it says where it is a switch
    "speed_compile": ("compile", True), "speed_guidance_until": ("guidance_until", None),
    "speed_cache": ("cache", None), "speed_products": ("products", "fp8"), "speed_decode": ("decode", "bf16"),
}
SETTINGS = ("model", "prompt", "negative_prompt", "seed", "steps", "guidance", "shift", "use_recipe",
            "control_strength", "control_start", "control_end", "denoise", "dress", *SPEED, "use_speed")
"""What a take remembers and Redo gives back, by the same names on the scene and on the strip. In this order: who sets
steps or guidance means them, so that what says whether they are meant comes after."""


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


def _model_set(settings: "ShotlockScene", _context: bpy.types.Context) -> None:
    """Another model is sampled in its own way until the artist says otherwise, and then from there."""
    recipe = shelf.recipe(settings.model)
    settings.use_recipe = False
    if recipe:
        settings.steps, settings.guidance = recipe.steps, recipe.guidance
    settings.use_recipe = True


def _steps_set(settings: "ShotlockScene", _context: bpy.types.Context) -> None:
    """Whoever sets steps, guidance or shift means them."""
    if settings.use_recipe:
        settings.use_recipe = False


def _own_set(_own: "ShotlockObject", _context: bpy.types.Context) -> None:
    """Panels list the objects that have a prompt of their own."""
    memory.forget()


def speed_values(settings: Any) -> tuple[tuple[str, Any], ...]:
    """What may be given up for speed, as job.json says it; settings that were given by hand may say nothing."""
    if not getattr(settings, "use_speed", False):
        return ()
    asked = {key: getattr(settings, name) for name, (key, _) in SPEED.items()}
    words = {key: word for key, word in SPEED.values() if word is not None}
    return tuple((key, words.get(key, float(value))) for key, value in asked.items() if value)


def speed_settings(speed: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that say what a job's `speed` says."""
    told = {name: speed.get(key) for name, (key, _) in SPEED.items()}
    found = {name: bool(value) if SPEED[name][1] else float(value or 0) for name, value in told.items()}
    return found | {"use_speed": any(found.values())} if speed else {"use_speed": False}


def lora_values(settings: Any) -> tuple[tuple[str, float], ...]:
    """Names and strengths of a scene's LoRAs; settings that were given by hand may have none."""
    return tuple((entry.name, float(entry.strength)) for entry in getattr(settings, "loras", ()))


def shared_settings(scene: bool = False) -> dict[str, Any]:
    """The annotations that the scene and the strip have in common; on a strip nothing follows from a change."""

    def when(update: Callable) -> dict[str, Any]:
        return {"update": update} if scene else {}

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
            default=job.DEFAULT_STEPS, min=1, max=job.MOST_STEPS, soft_max=50, options=set(), **when(_steps_set),
        ),
        "guidance": FloatProperty(
            name="Guidance",
            description="How hard the frames are pulled to the prompt and away from the negative prompt: 1 is as the "
                        "model was trained",
            default=1.0, min=0.0, max=job.MOST_GUIDANCE, soft_max=10.0, options=set(), **when(_steps_set),
        ),
        "shift": FloatProperty(
            name="Shift",
            description="How long sampling stays with much noise, where composition is decided: more is steadier, less "
                        "gives finer details. 0 is the model's own",
            default=0.0, min=0.0, max=job.MOST_SHIFT, soft_max=20.0, options=set(), **when(_steps_set),
        ),
        "use_recipe": BoolProperty(
            name="Model's Own Steps", default=True, options=set(),
            description="As many steps and as much guidance as the model was trained for",
        ),
        **speed_properties(),
        "control_strength": FloatProperty(
            name="Control",
            description="How strictly the frames keep to what the scene tells the model: its colours, depth or camera. "
                        "0 lets the model go its own way",
            default=1.0, min=0.0, max=job.MOST_CONTROL, subtype="FACTOR", options=set(),
        ),
        "dress": BoolProperty(
            name="Dress Bare Objects", default=True, options=set(),
            description="Objects without a material of their own get one that suits their name, their shape and the "
                        "prompt",
        ),
        "control_start": FloatProperty(
            name="Control Start", description="Share of the steps after which the model is told the scene",
            default=0.0, min=0.0, max=1.0, subtype="FACTOR", options=set(),
        ),
        "control_end": FloatProperty(
            name="Control End",
            description="Share of the steps after which the model is left alone: less than 1 lets it finish details "
                        "by itself",
            default=1.0, min=0.0, max=1.0, subtype="FACTOR", options=set(),
        ),
        "denoise": FloatProperty(
            name="Noise to Start",
            description="1 begins with noise alone; less begins with the scene's own colours under so much noise, and "
                        "keeps more of them",
            default=1.0, min=job.LEAST_NOISE, max=1.0, subtype="FACTOR", options=set(),
        ),
        "model": StringProperty(
            name="Model", description="Which model makes the frames, by its name in the registry of models",
            default=next(iter(job.MODELS)), options=set(), **when(_model_set),
        ),
    }


def speed_properties() -> dict[str, Any]:
    """Each costs something or may: its tooltip says what."""
    return {
        "use_speed": BoolProperty(
            name="Give Up for Speed", default=False, options=set(),
            description="Make the frames faster than the model was trained to be used; the take's report says what "
                        "was given up, and how much that changed where it can be measured",
        ),
        "speed_compile": BoolProperty(
            name="Compile Blocks", default=True, options=set(),
            description="The first step takes longer and all others less; frames stay the same but for rounding. Needs "
                        "a compiler, and says so where there is none",
        ),
        "speed_guidance_until": FloatProperty(
            name="Guidance Down To", default=0.3, min=0.0, max=1.0, subtype="FACTOR", options=set(),
            description="With less noise than this there is no guidance, which halves the time of those steps and "
                        "changes fine details. 0 guides to the end",
        ),
        "speed_cache": FloatProperty(
            name="Leave Blocks Out", default=0.08, min=0.0, soft_max=0.3, max=10.0, options=set(),
            description="Blocks of the model are left out where the first of them changes less than this from step to "
                        "step: more is faster and further from the full result. 0 leaves none out. Shots of one "
                        "window only",
        ),
        "speed_products": BoolProperty(
            name="Products in 8 Bits", default=False, options=set(),
            description="The blocks multiply in 8 bits: faster on cards that can, and details change",
        ),
        "speed_decode": BoolProperty(
            name="Decoding in 16 Bits", default=True, options=set(),
            description="On a card, pictures are decoded in 16 bits where they differ from those in 32 by 1 of 255 or "
                        "less",
        ),
    }


PLACES = (
    ("FIRST", "First Frame", "The picture is the shot's first frame, wherever it starts"),
    ("LAST", "Last Frame", "The picture is the shot's last frame, wherever it ends"),
    ("FRAME", "Frame", "The picture is that frame of the scene"),
)


def known_settings() -> dict[str, Any]:
    return {
        "place": EnumProperty(name="Place", description="Which frame it is", items=PLACES, options=set()),
        "frame": IntProperty(
            name="Frame", description="The scene frame that it is, where it is neither the first nor the last",
            options=set(),
        ),
        "picture": picture_setting("A picture of that frame, as a take's frames are"),
    }


def picture_setting(words: str) -> Any:
    return StringProperty(
        name="Picture", description=words, subtype="FILE_PATH", options=compat.relative_path_option()
    )


def reference_settings() -> dict[str, Any]:
    return {"picture": picture_setting("A picture of a subject that should look like that")}


def lora_settings() -> dict[str, Any]:
    return {
        "strength": FloatProperty(
            name="Strength", description="How much of the LoRA is added: 1 as it was trained, 0 none", default=1.0,
            min=-job.MOST_STRENGTH, max=job.MOST_STRENGTH, soft_min=0.0, soft_max=1.5, options=set(),
        ),
    }


def scene_settings() -> dict[str, Any]:
    return shared_settings(scene=True) | {
        "known": CollectionProperty(
            name="Known Frames", type=ShotlockKnown, description="Frames of the shot that are there already"
        ),
        "references": CollectionProperty(
            name="References", type=ShotlockReference, description="Pictures of subjects that the model is shown"
        ),
        "loras": CollectionProperty(
            name="LoRAs", type=ShotlockLora, description="Small changes to the model, by their names in the registry"
        ),
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
            name="Prompt", maxlen=job.LONGEST_PROMPT, update=_own_set,
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
        "models_server": StringProperty(
            name="Server",
            description="Where models are fetched from: a server with the same paths as Hugging Face's. Empty: Hugging "
                        "Face's own",
        ),
    }


# What scripts read and write; register() puts the properties of the same names in the place of these annotations.

class ShotlockKnown(bpy.types.PropertyGroup):
    """A frame of the shot that is there already."""

    place: str
    frame: int
    picture: str


class ShotlockReference(bpy.types.PropertyGroup):
    """A picture of a subject."""

    picture: str


class ShotlockLora(bpy.types.PropertyGroup):
    """A LoRA, by the `name` that every group has."""

    strength: float


class ShotlockScene(bpy.types.PropertyGroup):
    """The next shot of this scene."""

    prompt: str
    negative_prompt: str
    seed: int
    steps: int
    guidance: float
    shift: float
    use_recipe: bool
    control_strength: float
    dress: bool
    control_start: float
    control_end: float
    denoise: float
    use_speed: bool
    speed_compile: bool
    speed_guidance_until: float
    speed_cache: float
    speed_products: bool
    speed_decode: bool
    model: str
    known: Any
    references: Any
    loras: Any
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
    shift: float
    use_recipe: bool
    control_strength: float
    dress: bool
    control_start: float
    control_end: float
    denoise: float
    use_speed: bool
    speed_compile: bool
    speed_guidance_until: float
    speed_cache: float
    speed_products: bool
    speed_decode: bool
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
    models_server: str

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
    ShotlockKnown: known_settings, ShotlockReference: reference_settings, ShotlockLora: lora_settings,
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
