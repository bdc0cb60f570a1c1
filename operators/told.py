"""What a shot's model is told beside prompt and scene, as the artist gathers it: the model itself, frames that are
there already, pictures of subjects, LoRAs. Each is one undo step. Which model takes what, `shelf` knows."""

from pathlib import Path
from typing import Any

import bpy
from bpy.app.translations import pgettext_rpt as rpt_
from bpy.props import EnumProperty, IntProperty, StringProperty

from . import compat, memory, properties, shelf, takes
from .plan import Plan

PICTURES = "*.png;*.jpg;*.jpeg;*.webp;*.tif;*.tiff"


def lack(plan: Plan) -> str:
    """One sentence where a picture that the model would be shown is not there; empty else. For panels."""
    paths = (*(path for _, path in plan.known), *plan.references)
    missing = memory.look(("pictures", paths), lambda: [path for path in paths if not Path(path).is_file()])
    if not missing:
        return ""
    return rpt_("The picture {} is not there: choose it again in the Shotlock tab").format(missing[0])


def settings_of(context: bpy.types.Context) -> properties.ShotlockScene:
    """Of the scene that a sequencer shows, where one is looked at."""
    in_sequencer = context.area is not None and context.area.type == "SEQUENCE_EDITOR"
    return properties.shot_of(compat.sequencer_scene(context) if in_sequencer else context.scene)


def things(scene: bpy.types.Scene) -> tuple[bpy.types.Object, ...]:
    """The scene's objects that have a prompt of their own. For panels: a scene may have many objects, and they are gone
    through now and then, not at every redraw."""
    names: tuple[str, ...] = memory.look(("things", scene.session_uid), lambda: tuple(
        thing.name for thing in scene.objects if properties.of_object(thing).prompt.strip()))
    return tuple(scene.objects[name] for name in names if name in scene.objects)


def know(settings: Any, place: str, frame: int, path: Path) -> None:
    """One picture for each frame: the newest."""
    for number in reversed(range(len(settings.known))):
        other = settings.known[number]
        if other.place == place and (place != "FRAME" or other.frame == frame):
            settings.known.remove(number)
    entry = settings.known.add()
    entry.place, entry.frame, entry.picture = place, frame, takes.relative(path)


def show(settings: Any, path: Path) -> None:
    """One more picture of a subject."""
    settings.references.add().picture = takes.relative(path)


def restore(scene: bpy.types.Scene, take: takes.Take) -> None:
    """What a take was told, its pictures from its own folder."""
    settings = properties.shot_of(scene)
    for group in (settings.known, settings.references, settings.loras):
        group.clear()
    for frame, path in take.known:
        place = {take.frames[0]: "FIRST", take.frames[-1]: "LAST"}.get(frame, "FRAME")
        know(settings, place, frame, Path(path))
    for path in take.references:
        show(settings, Path(path))
    for name, strength in take.loras:
        entry = settings.loras.add()
        entry.name, entry.strength = name, strength


class SHOTLOCK_OT_choose_model(bpy.types.Operator):
    bl_idname = "shotlock.choose_model"
    bl_label = "Choose Model"
    bl_description = "Make the frames with this model"
    bl_options = {"INTERNAL", "UNDO"}

    model: StringProperty(  # type: ignore[valid-type]  # Blender reads properties off annotations
        name="Model", description="Its name in the registry of models", options={"SKIP_SAVE"}
    )

    @classmethod
    def description(cls, context: bpy.types.Context, properties: Any) -> str:
        found = shelf.choice(properties.model)
        return found.told if found and found.told else rpt_(cls.bl_description)

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        settings_of(context).model = self.model
        return {"FINISHED"}


def nearest(take: takes.Take, frame: int) -> Path:
    """The take's picture at a scene frame, or the nearest to it."""
    number = min(range(len(take.frames)), key=lambda i: abs(take.frames[i] - frame))
    return take.folder / "frames" / take.files[number]


class SHOTLOCK_OT_keep_frame(bpy.types.Operator):
    bl_idname = "shotlock.keep_frame"
    bl_label = "Keep Frame"
    bl_description = (
        "Have the next take begin with, end with, or go through a picture of this take: the model fills in the rest"
    )
    bl_options = {"REGISTER", "UNDO"}

    place: EnumProperty(  # type: ignore[valid-type]  # Blender reads properties off annotations
        name="Place", description="Which frame of the next take it is", items=properties.PLACES,
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        cls.poll_message_set(rpt_("The active strip shows no take of Shotlock"))
        return takes.is_take(compat.active_strip(context))

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        scene = compat.sequencer_scene(context)
        try:
            take = takes.read(takes.job_folder(compat.active_strip(context)))
        except takes.TakeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        settings, now = properties.shot_of(scene), scene.frame_current
        own = not settings.use_scene_range
        first, last = (settings.frame_start, settings.frame_end) if own else (scene.frame_start, scene.frame_end)
        if self.place == "FRAME" and now not in take.frames:
            self.report({"ERROR"}, rpt_("The take has no picture of its own at frame {}: go to one of {} to {}")
                        .format(now, take.frames[0], take.last))
            return {"CANCELLED"}
        at = {"FIRST": first, "LAST": last}.get(self.place, now)
        know(settings, self.place, now, nearest(take, at))
        return {"FINISHED"}


class Pick(compat.OperatorPart):
    """Operators that take a picture from the disk."""

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> compat.Outcome:
        context.window_manager.fileselect_add(self)  # type: ignore[arg-type]  # an operator too
        return {"RUNNING_MODAL"}


def file_setting() -> Any:
    return StringProperty(
        name="File", description="The picture on the disk", subtype="FILE_PATH",
        options=compat.relative_path_option() | {"SKIP_SAVE"},
    )


def filter_setting() -> Any:
    return StringProperty(name="Filter", description="Which files are shown", default=PICTURES, options={"HIDDEN"})


class SHOTLOCK_OT_know_picture(Pick, bpy.types.Operator):
    bl_idname = "shotlock.know_picture"
    bl_label = "Known Frame"
    bl_description = "Give the shot a frame from a picture on the disk: the model fills in the rest"
    bl_options = {"REGISTER", "UNDO"}

    filepath: file_setting()  # type: ignore[valid-type]  # Blender reads properties off annotations
    filter_glob: filter_setting()  # type: ignore[valid-type]
    place: EnumProperty(  # type: ignore[valid-type]
        name="Place", description="Which frame of the shot it is", items=properties.PLACES,
    )

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        path = Path(bpy.path.abspath(self.filepath))
        if not path.is_file():
            self.report({"ERROR"}, rpt_("There is no picture at {}: choose another one").format(path))
            return {"CANCELLED"}
        know(settings_of(context), self.place, context.scene.frame_current, path)
        return {"FINISHED"}


class SHOTLOCK_OT_add_reference(Pick, bpy.types.Operator):
    bl_idname = "shotlock.add_reference"
    bl_label = "Add Reference"
    bl_description = "Show the model a picture of a subject that should look like that"
    bl_options = {"REGISTER", "UNDO"}

    filepath: file_setting()  # type: ignore[valid-type]  # Blender reads properties off annotations
    filter_glob: filter_setting()  # type: ignore[valid-type]

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        path = Path(bpy.path.abspath(self.filepath))
        if not path.is_file():
            self.report({"ERROR"}, rpt_("There is no picture at {}: choose another one").format(path))
            return {"CANCELLED"}
        show(settings_of(context), path)
        return {"FINISHED"}


class SHOTLOCK_OT_add_lora(bpy.types.Operator):
    bl_idname = "shotlock.add_lora"
    bl_label = "Add LoRA"
    bl_description = "Add this LoRA to the model"
    bl_options = {"INTERNAL", "UNDO"}

    lora: StringProperty(  # type: ignore[valid-type]  # Blender reads properties off annotations
        name="LoRA", description="Its name in the registry of models", options={"SKIP_SAVE"}
    )

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        entry = settings_of(context).loras.add()
        entry.name, entry.strength = self.lora, 1.0
        return {"FINISHED"}


class SHOTLOCK_OT_leave_out(bpy.types.Operator):
    bl_idname = "shotlock.leave_out"
    bl_label = "Leave Out"
    bl_description = "Take this away from what the model is told; files stay on the disk"
    bl_options = {"INTERNAL", "UNDO"}

    kind: EnumProperty(  # type: ignore[valid-type]  # Blender reads properties off annotations
        name="Kind", description="Which list it is on",
        items=(("known", "Known Frames", ""), ("references", "References", ""), ("loras", "LoRAs", "")),
    )
    number: IntProperty(name="Number", description="Its place on the list, from 0", min=0)  # type: ignore[valid-type]

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        group = getattr(settings_of(context), self.kind)
        if self.number >= len(group):
            return {"CANCELLED"}
        group.remove(self.number)
        return {"FINISHED"}


class OfObject(compat.OperatorPart):
    """Operators that mean an object of the scene by its name."""

    object: str

    @staticmethod
    def thing(context: bpy.types.Context, name: str) -> bpy.types.Object | None:
        return context.scene.objects.get(name)

    def refuse(self, sentence: str) -> compat.Outcome:
        self.report({"ERROR"}, sentence)
        return {"CANCELLED"}


def object_setting() -> Any:
    return StringProperty(name="Object", description="The object's name", options={"SKIP_SAVE"})


class SHOTLOCK_OT_select_object(OfObject, bpy.types.Operator):
    bl_idname = "shotlock.select_object"
    bl_label = "Select Object"
    bl_description = "Select this object alone, and make it the active one"
    bl_options = {"INTERNAL", "UNDO"}

    object: object_setting()  # type: ignore[valid-type]  # Blender reads properties off annotations

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        cls.poll_message_set(rpt_("Leave the mode that edits an object first"))
        return context.mode == "OBJECT"

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        thing, layer = self.thing(context, self.object), context.view_layer
        if thing is None or thing.name not in layer.objects or not thing.visible_get(view_layer=layer):
            return self.refuse(rpt_("{} is not seen in this view layer: show it, then select it").format(self.object))
        for other in layer.objects:
            other.select_set(other == thing, view_layer=layer)
        layer.objects.active = thing
        return {"FINISHED"}


class SHOTLOCK_OT_clear_object(OfObject, bpy.types.Operator):
    bl_idname = "shotlock.clear_object"
    bl_label = "Clear Object's Prompt"
    bl_description = "Take this object's own prompt away: it looks as the shot's prompt says"
    bl_options = {"INTERNAL", "UNDO"}

    object: object_setting()  # type: ignore[valid-type]  # Blender reads properties off annotations

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        thing = self.thing(context, self.object)
        if thing is None or not thing.is_editable:
            return self.refuse(rpt_("{} cannot be changed in this file").format(self.object))
        properties.of_object(thing).prompt = ""
        return {"FINISHED"}


CLASSES = (
    SHOTLOCK_OT_choose_model, SHOTLOCK_OT_keep_frame, SHOTLOCK_OT_know_picture, SHOTLOCK_OT_add_reference,
    SHOTLOCK_OT_add_lora, SHOTLOCK_OT_leave_out, SHOTLOCK_OT_select_object, SHOTLOCK_OT_clear_object,
)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
