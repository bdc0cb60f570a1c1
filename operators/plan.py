"""Scene → `Plan`: every decision of a shot, frozen into plain values, or one sentence why there is no shot.

Reads the scene as it stands and changes nothing, not even the frame. Knows a job's limits; nothing of passes, files or
the engine's work.

What is decided here:
- Range: the scene's, or the shot's own; every `frame_step`th frame of it is filmed, as Blender renders. The preview
  range is for playing back, Blender's own renders don't obey it, and neither does a shot.
- Cameras: the shot's camera if it names one, else the scene's with its markers.
- View layer: the one that is named; else the first that is enabled for rendering.
- Picture: the whole frame, whatever the render border. Its shape in pixels is that of the scene's resolution, so
  that with non-square pixels the strip still fills the canvas unsqueezed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from functools import partial
from typing import Any

import bpy
from bpy.app import translations
from bpy.app.translations import pgettext_n as n_
from bpy.app.translations import pgettext_rpt as rpt_

from ..engine import job, windows
from . import shelf
from .cameras import Refusal, cameras_at, is_mirrored, render_size, shear
from .properties import SPEED, lora_values, of_object, speed_values

__all__ = ("Plan", "Refusal", "plan", "size_and_crop")

DEFAULT_PIXELS = job.DEFAULT_WIDTH * job.DEFAULT_HEIGHT  # other shapes than 16:9 get as many in all
MIN_SIDE, MAX_SIDE = 32, 4096  # pixels of the crop
RATE_PRECISION = 20_000  # denominators: keeps 24000/1001, and a strange fps_base to a nanosecond a frame
MOST_DECISIONS = 100  # scenes that are remembered
SHEAR = 0.1  # degrees: from here on a rigid camera visibly differs from Blender's

LENS_TYPES = {"ORTHO": n_("orthographic"), "PANO": n_("panoramic"), "CUSTOM": n_("custom (its lens is a script)")}


@dataclass(frozen=True)
class Plan:
    """One shot, decided. Everything in it is a name, a number or a tuple of them."""

    scene: str
    view_layer: str
    cameras: tuple[str, ...]  # per frame: the camera object's name
    frames: tuple[int, ...]  # scene frame numbers
    last: int  # where the range ends: a frame step may pass over it
    size: tuple[int, int]  # W, H that are captured and generated
    crop: tuple[int, int, int, int]  # x, y, w, h: the artist's frame inside `size`
    fps: tuple[int, int]  # numerator, denominator
    cuts: tuple[int, ...]  # indices of frames at which a camera starts
    prompt: str
    negative_prompt: str
    seed: int
    steps: int | None  # None, here and below: as the model was trained
    guidance: float | None
    control_strength: float
    model: str
    pixel_aspect: tuple[float, float]
    control_start: float = 0.0
    control_end: float = 1.0
    denoise: float = 1.0
    dress: bool = True
    shift: float | None = None
    speed: tuple[tuple[str, Any], ...] = ()  # what may be given up for speed, as job.json says it
    known: tuple[tuple[int, str], ...] = ()  # index in the shot, the picture's path
    references: tuple[str, ...] = ()  # paths of pictures
    loras: tuple[tuple[str, float], ...] = ()  # name, strength
    things: tuple[tuple[str, str], ...] = ()  # objects that have a prompt of their own: name, prompt
    notes: tuple[str, ...] = ()  # sentences for the artist: what is filmed otherwise than they may expect

    @property
    def seconds(self) -> float:
        return (self.last + 1 - self.frames[0]) * self.fps[1] / self.fps[0]

    @property
    def shot(self) -> str:
        return shot_name(self.scene, self.cameras)

    def to_dict(self) -> dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Plan:
        known = {field.name for field in fields(cls)}
        if set(values) != known:
            wrong = ", ".join(sorted(set(values) ^ known))
            raise ValueError(f"a plan with other fields than this version's ({wrong}): plan the shot again")
        return cls(**{key: _frozen(value) for key, value in values.items()})


def _frozen(value: Any) -> Any:
    return tuple(_frozen(part) for part in value) if isinstance(value, list | tuple) else value


def plan(scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer | str | None = None, settings: Any = None) -> Plan:
    """Decides the shot, or raises `Refusal`. `settings` has the attributes of `scene.shotlock`."""
    settings = scene.shotlock if settings is None else settings  # type: ignore[attr-defined]
    frames, last = _frames(scene, settings)
    cameras = _cameras(scene, settings, frames)
    _refuse_stereo(scene)
    size, crop = _picture(scene, settings)
    layer = _view_layer(scene, view_layer)
    return Plan(
        scene=scene.name, view_layer=layer, cameras=tuple(c.name for c in cameras), frames=frames,
        last=last, size=size, crop=crop, fps=frame_rate(scene), cuts=_cuts(cameras),
        prompt=_prompt(settings), negative_prompt=settings.negative_prompt.strip(), seed=int(settings.seed),
        steps=_meant(settings, "steps"), guidance=_meant(settings, "guidance"),
        control_strength=_control(settings), model=_model(settings),
        pixel_aspect=(scene.render.pixel_aspect_x, scene.render.pixel_aspect_y),
        **_told(settings, frames), things=_things(scene), notes=(*_notes(scene, cameras, layer), *_unled(settings)))


def _meant(settings: Any, name: str) -> Any:
    """Steps or guidance that the artist asks for; None where the model's own are meant. Settings that were given by
    hand mean what they say."""
    if not hasattr(settings, "use_recipe"):
        return getattr(settings, name)
    return None if settings.use_recipe else getattr(settings, name)


def _shift(settings: Any) -> float | None:
    """0 stands for the model's own, and what is too small to be a shift does, too."""
    found = float((_meant(settings, "shift") if hasattr(settings, "shift") else None) or 0)
    return found if found >= job.LEAST_SHIFT else None


def _control(settings: Any) -> float:
    """What has no input for it is not asked for it: that the frames will not follow is said instead."""
    return float(settings.control_strength) if shelf.able(settings.model, shelf.CONTROL) else 0.0


def _unled(settings: Any) -> list[str]:
    lack = shelf.no_lead(settings.model)
    return [lack] if lack else []


def _told(settings: Any, frames: tuple[int, ...]) -> dict[str, Any]:
    """What a model is told beside prompt and scene, as far as it can be told that: what the panel does not offer for
    it, and left behind from another model, is not asked for."""
    offered = partial(shelf.able, settings.model)
    start, end = (float(getattr(settings, name, value)) for name, value in (("control_start", 0), ("control_end", 1)))
    if offered(shelf.SPAN) and start > end:
        raise Refusal(rpt_("The control starts at {:.0%} of the steps and ends at {:.0%}: set its end to its start or "
                           "later").format(start, end))
    told = {
        "control_start": start if offered(shelf.SPAN) else 0.0, "control_end": end if offered(shelf.SPAN) else 1.0,
        "denoise": float(getattr(settings, "denoise", 1.0)) if offered(shelf.START) else 1.0,
        "dress": bool(getattr(settings, "dress", True)) or not offered(shelf.DRESS),
        "references": tuple(bpy.path.abspath(entry.picture) for entry in getattr(settings, "references", ())),
        "loras": lora_values(settings) if offered(shelf.LORAS) else (),
        "shift": _shift(settings) if offered(shelf.SHIFT) else None,
        "speed": speed_values(settings) if offered(shelf.SPEED) else (),
    }  # fmt: skip
    if not offered(shelf.REFERENCES):
        told["references"] = ()
    return told | {"known": _known(settings, frames, offered)}


def _known(settings: Any, frames: tuple[int, ...], offered: Callable[[str], bool]) -> tuple[tuple[int, str], ...]:
    """Known frames by their index in the shot, rising."""
    found: dict[int, str] = {}
    for entry in getattr(settings, "known", ()):
        what = {"FIRST": shelf.FIRST, "LAST": shelf.LAST}.get(entry.place, shelf.KNOWN)
        if not (offered(what) or offered(shelf.KNOWN)):
            continue
        index = {"FIRST": 0, "LAST": len(frames) - 1}.get(entry.place)
        found[_index(frames, entry.frame) if index is None else index] = bpy.path.abspath(entry.picture)
    return tuple(sorted(found.items()))


def _index(frames: tuple[int, ...], frame: int) -> int:
    if frame not in frames:
        raise Refusal(rpt_("The known frame {} is not among those that are filmed: remove it, or change the range")
                      .format(frame))
    return frames.index(frame)


def _things(scene: bpy.types.Scene) -> tuple[tuple[str, str], ...]:
    said = ((thing.name, of_object(thing).prompt.strip()) for thing in scene.objects)
    return tuple((name, prompt) for name, prompt in said if prompt)


def shot_name(scene: str, cameras: Sequence[str]) -> str:
    """A shot is called after its camera, and after its scene where several film."""
    return cameras[0] if len(set(cameras)) == 1 else scene


@dataclass(frozen=True)
class Decision:
    """What `plan` came to, for panels."""

    plan: Plan | None
    refusal: str  # one sentence where there is no plan
    shot: str  # its name, which a shot has before it has a prompt; empty where no camera films
    size: tuple[int, int] | None  # w, h of the pictures; None where it is what is refused
    sampled: tuple[int, int] | None  # w, h that the model works at, where that is smaller
    frames: int  # their number; 0 where it is what is refused
    length: int  # frames of the range, those that a frame step passes over too


_decisions: dict[int, tuple[tuple, Decision]] = {}  # by scene: what it followed from, and what was decided


def decision(scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> Decision:
    """`plan` for those who ask many times a second: decided again when anything that it follows from has changed."""
    follows_from = _follows_from(scene, layer)
    if _decisions.get(scene.session_uid, ((),))[0] != follows_from:
        if len(_decisions) >= MOST_DECISIONS:
            _decisions.clear()
        _decisions[scene.session_uid] = follows_from, _decide(scene, layer)
    return _decisions[scene.session_uid][1]


def _decide(scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> Decision:
    try:
        made = plan(scene, layer)
        return Decision(made, "", made.shot, made.crop[2:], _sampled(made.size), len(made.frames),
                        made.last + 1 - made.frames[0])
    except Refusal as refusal:
        return _refused(scene, str(refusal))


def _refused(scene: bpy.types.Scene, refusal: str) -> Decision:
    """What is known all the same."""
    settings = scene.shotlock  # type: ignore[attr-defined]
    shot, size, sampled, length = "", None, None, 0
    frames: tuple[int, ...] = ()
    with contextlib.suppress(Refusal):
        whole, crop = _picture(scene, settings)
        size, sampled = crop[2:], _sampled(whole)
    with contextlib.suppress(Refusal):
        frames, last = _frames(scene, settings)
        length = last + 1 - frames[0]
        shot = shot_name(scene.name, [c.name for c in _cameras(scene, settings, frames)])
    return Decision(None, refusal, shot, size, sampled, len(frames), length)


def _sampled(size: tuple[int, int]) -> tuple[int, int] | None:
    small = windows.sampled_size(*size)
    return None if small == size else small


def _follows_from(scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> tuple:
    """Everything that `plan` reads, without going through the frames."""
    settings, render = scene.shotlock, scene.render  # type: ignore[attr-defined]
    markers = tuple((m.frame, m.camera) for m in scene.timeline_markers if m.camera)
    cameras = dict.fromkeys(c for c in (settings.camera, scene.camera, *(c for _, c in markers)) if c)
    return (
        scene.name, layer.name, tuple((other.name, other.use) for other in scene.view_layers),
        tuple(_plain(getattr(settings, name)) for name in SETTINGS_READ), settings.is_property_set("width"),
        tuple(getattr(scene, name) for name in SCENE_READ), tuple(getattr(render, name) for name in RENDER_READ),
        _plain(scene.camera), tuple((frame, _plain(camera)) for frame, camera in markers),
        tuple(_camera_read(camera) for camera in cameras), translations.locale, _told_read(settings))


def _told_read(settings: Any) -> tuple:
    """What the model is told, and what is known of the model."""
    known = tuple((entry.place, entry.frame, entry.picture) for entry in settings.known)
    references = tuple(entry.picture for entry in settings.references)
    return (known, references, lora_values(settings), shelf.choice(settings.model), shelf.lack(settings.model),
            bpy.data.filepath)


SETTINGS_READ = ("prompt", "negative_prompt", "seed", "steps", "guidance", "use_recipe", "control_strength",
                 "control_start", "control_end", "denoise", "dress", "shift", "use_speed", *SPEED, "model", "camera",
                 "use_scene_range", "frame_start", "frame_end", "width")
SCENE_READ = ("frame_start", "frame_end", "frame_step", "use_preview_range")
RENDER_READ = ("resolution_x", "resolution_y", "resolution_percentage", "pixel_aspect_x", "pixel_aspect_y", "fps",
               "fps_base", "frame_map_old", "frame_map_new", "use_border", "use_multiview")


def _camera_read(camera: bpy.types.Object) -> tuple:
    data: Any = camera.data
    lens = _lens_type(data) if camera.type == "CAMERA" and data.type != "PERSP" else ""
    bent = shear(camera)  # as the note says it: a camera that only moves is decided once
    return (_plain(camera), camera.name, camera.type, camera.hide_render, lens, is_mirrored(camera.matrix_world),
            bent > SHEAR and round(bent, 1))


def _plain(value: Any) -> Any:
    """A data-block by what undo leaves it and no other one has."""
    return getattr(value, "session_uid", value)


# --- size ---------------------------------------------------------------------------------------------------------


def size_and_crop(aspect: float, width: int | None = None, multiple: int = job.PATCH,
                  ) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """(W, H) and (x, y, w, h): the smallest multiples that hold the crop, and the crop in their middle.

    `aspect` is the artist's width / height in pixels; `width` is the crop's, None for the default number of pixels.
    """
    w = int(width) if width else _default_width(aspect)
    h = max(1, round(w / aspect))
    if min(w, h) < MIN_SIDE or max(w, h) > MAX_SIDE:
        wrong = rpt_("too small") if min(w, h) < MIN_SIDE else rpt_("too large")
        raise Refusal(rpt_("A picture of {}x{} pixels is {}: choose a width and a resolution that give {} to {} pixels "
                           "on both sides").format(w, h, wrong, MIN_SIDE, MAX_SIDE))
    size = (-(-w // multiple) * multiple, -(-h // multiple) * multiple)
    return size, ((size[0] - w) // 2, (size[1] - h) // 2, w, h)


def _default_width(aspect: float) -> int:
    """As many pixels as the default has; of the widths nearby, the one whose height rounds least."""
    ideal = (DEFAULT_PIXELS * aspect) ** 0.5
    reach = round(ideal / 100)
    nearby = range(max(1, round(ideal) - reach), round(ideal) + reach + 1)
    return min(nearby, key=lambda w: (round(abs(w / aspect - round(w / aspect)), 6), abs(w - ideal)))


def _picture(scene: bpy.types.Scene, settings: Any) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    width, height = render_size(scene)
    if min(width, height) < 1:
        raise Refusal(rpt_('The scene "{}" renders {}x{} pixels: raise its resolution or percentage')
                      .format(scene.name, width, height))
    return size_and_crop(width / height, _explicit_width(settings))


def _explicit_width(settings: Any) -> int | None:
    """The width the artist chose; None while they left it alone, since the default is meant for 16:9."""
    is_set = getattr(settings, "is_property_set", None)
    return settings.width or None if is_set is None or is_set("width") else None


# --- time ---------------------------------------------------------------------------------------------------------


def frame_rate(scene: bpy.types.Scene) -> tuple[int, int]:
    """Exact: Blender keeps fps_base in float32, where 1.001 is 1.00100005; six digits say what was meant."""
    rate = Fraction(scene.render.fps) / Fraction(f"{scene.render.fps_base:.6g}")
    rate = rate.limit_denominator(RATE_PRECISION)
    return rate.numerator, rate.denominator


def _frames(scene: bpy.types.Scene, settings: Any) -> tuple[tuple[int, ...], int]:
    """Those that are filmed, and the last one of the range."""
    own = not getattr(settings, "use_scene_range", settings.frame_start == settings.frame_end == 0)
    source = settings if own else scene
    start, end = int(source.frame_start), int(source.frame_end)
    if start > end:
        raise Refusal(rpt_("The shot starts at frame {0} and ends at {1}, which is no frame at all: set its end to {0} "
                           "or later").format(start, end))
    frames = range(start, end + 1, scene.frame_step)
    if len(frames) > job.MOST_FRAMES:
        raise Refusal(rpt_("The shot has {} frames, and {} is the most: film it in parts")
                      .format(len(frames), job.MOST_FRAMES))
    return tuple(frames), end


# --- cameras ------------------------------------------------------------------------------------------------------


def _cameras(scene: bpy.types.Scene, settings: Any, frames: Sequence[int]) -> list[bpy.types.Object]:
    chosen = getattr(settings, "camera", None)
    found = [chosen] * len(frames) if chosen else cameras_at(scene, frames)
    cameras = [camera for camera in found if camera]
    if len(cameras) < len(frames):
        raise Refusal(rpt_('The scene "{}" has no camera: add one, or choose one in the Shotlock panel')
                      .format(scene.name))
    for camera in dict.fromkeys(cameras):
        _refuse_camera(camera)
    return cameras


def _refuse_camera(camera: bpy.types.Object) -> None:
    if camera.type != "CAMERA":
        raise Refusal(rpt_('"{}" is filming but is no camera ({}): choose a camera')
                      .format(camera.name, camera.type.lower()))
    data: Any = camera.data
    if data.type != "PERSP":
        raise Refusal(rpt_('The camera "{}" is {}, which Shotlock cannot film with: set the type of its lens to '
                           "Perspective").format(camera.name, _lens_type(data)))
    if is_mirrored(camera.matrix_world):
        raise Refusal(rpt_('The camera "{}" is mirrored by a negative scale, so its pictures are reversed: make the '
                           "scale of it and its parents positive").format(camera.name))


def _lens_type(data: bpy.types.Camera) -> str:
    name = rpt_(LENS_TYPES.get(data.type, data.type.lower()))
    if data.type != "PANO":
        return name
    panoramas: Any = data.bl_rna.properties["panorama_type"]
    kinds = panoramas.enum_items
    return f"{name} ({kinds[data.panorama_type].name})" if data.panorama_type in kinds else name


def _cuts(cameras: Sequence[bpy.types.Object]) -> tuple[int, ...]:
    return tuple(i for i, camera in enumerate(cameras) if i == 0 or camera != cameras[i - 1])


# --- the rest -----------------------------------------------------------------------------------------------------


def _refuse_stereo(scene: bpy.types.Scene) -> None:
    if scene.render.use_multiview:
        raise Refusal(rpt_('The scene "{}" renders several views (Stereoscopy), of which Shotlock would film only one: '
                           "turn Stereoscopy off in the Output properties").format(scene.name))


def _view_layer(scene: bpy.types.Scene, wanted: bpy.types.ViewLayer | str | None) -> str:
    if wanted is None:
        enabled = [layer.name for layer in scene.view_layers if layer.use]
        if not enabled:
            raise Refusal(rpt_('No view layer of the scene "{}" is used for rendering: turn one on').format(scene.name))
        return enabled[0]
    name = wanted if isinstance(wanted, str) else wanted.name
    if name not in scene.view_layers:
        raise Refusal(rpt_('The scene "{}" has no view layer "{}": name one of {}')
                      .format(scene.name, name, ", ".join(layer.name for layer in scene.view_layers)))
    return name


def _prompt(settings: Any) -> str:
    prompt = settings.prompt.strip()
    if not prompt:
        raise Refusal(rpt_("The prompt is empty: write what the shot should look like"))
    longest = max(len(prompt), len(settings.negative_prompt))
    if longest > job.LONGEST_PROMPT:
        raise Refusal(rpt_("The prompt has {} characters: at most {} are read, shorten it")
                      .format(longest, job.LONGEST_PROMPT))
    return prompt


def _model(settings: Any) -> str:
    lack = shelf.lack(settings.model)
    if lack:
        raise Refusal(lack)
    return settings.model


def _notes(scene: bpy.types.Scene, cameras: Sequence[bpy.types.Object], layer: str) -> tuple[str, ...]:
    notes = []
    if scene.use_preview_range:
        notes.append(rpt_("The preview range is not used: a shot has the range of the render"))
    if scene.render.use_border:
        notes.append(rpt_("The render region is not used: the whole frame is filmed"))
    if not scene.view_layers[layer].use:
        notes.append(rpt_('The view layer "{}" is filmed although it is turned off for rendering').format(layer))
    for camera in dict.fromkeys(cameras):
        if shear(camera) > SHEAR:
            notes.append(rpt_('The camera "{}" is sheared by {:.1f} degrees by an unevenly scaled parent: it is filmed '
                              "without the shear").format(camera.name, shear(camera)))
    return tuple(notes)
