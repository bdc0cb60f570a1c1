"""What the artist can do with takes and their strips: place, redo, reveal, move, and have their colours shown as they
are. Each is one undo step, or touches nothing that undo knows."""

import os
from pathlib import Path

import bpy
from bpy.app.translations import pgettext_rpt as rpt_
from bpy.props import StringProperty

from . import colours, compat, properties, session, takes, told


def active_take(context: bpy.types.Context):
    """The active strip, if it shows a take."""
    strip = compat.active_strip(context)
    return strip if takes.is_take(strip) else None


def scene_of_area(context: bpy.types.Context) -> bpy.types.Scene:
    """In a sequencer the scene that it shows, elsewhere the window's."""
    shown = compat.sequencer_scene(context) if context.area and context.area.type == "SEQUENCE_EDITOR" else None
    return shown or context.scene


class OnTake(compat.OperatorPart):
    """Operators that need a take's strip."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        cls.poll_message_set(rpt_("The active strip shows no take of Shotlock"))
        return active_take(context) is not None


class SHOTLOCK_OT_place_take(bpy.types.Operator):
    bl_idname = "shotlock.place_take"
    bl_label = "Place Take"
    bl_description = "Place a finished take in the sequencer: choose its folder, which holds job.json and frames"
    bl_options = {"REGISTER"}

    directory: StringProperty(  # type: ignore[valid-type]  # Blender reads properties off annotations
        name="Folder", description="The take's folder, with its job.json and frames", subtype="DIR_PATH",
        options={"SKIP_SAVE"} | compat.relative_path_option(),
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> compat.Outcome:
        if self.directory:
            return self.execute(context)
        home = takes.shots_folder(bpy.data.filepath)
        if home.is_dir():                           # else wherever Blender's own browser was last
            self.directory = str(home) + os.sep
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        folder, scene = Path(os.path.normpath(bpy.path.abspath(self.directory))), scene_of_area(context)
        try:
            take = takes.read(folder)
            takes.place(scene, take)
        except takes.TakeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        session.placed(folder)
        for warning in filter(None, (*takes.warnings(scene, take), colours.complaint(scene))):
            self.report({"WARNING"}, warning)
        return {"FINISHED"}


def restore_picture(scene: bpy.types.Scene, take: takes.Take) -> None:
    """Width and range of a take; the scene's own range is used where it gives the same frames."""
    settings = properties.shot_of(scene)
    if take.width:
        settings.width = take.width
    frames = tuple(range(scene.frame_start, scene.frame_end + 1, scene.frame_step))
    same = (frames, scene.frame_end) == (take.frames, take.last)
    if not same:
        settings.frame_start, settings.frame_end = take.frames[0], take.last
    settings.use_scene_range = same


class SHOTLOCK_OT_redo(OnTake, bpy.types.Operator):
    bl_idname = "shotlock.redo"
    bl_label = "Use These Settings"
    bl_description = "Give the scene the prompt, seed, size, range and settings that this take was made with"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        strip, scene = active_take(context), compat.sequencer_scene(context)
        properties.copy_settings(strip.shotlock, properties.shot_of(scene))
        try:
            take = takes.read(takes.job_folder(strip))
        except takes.TakeError as error:
            self.report({"WARNING"}, rpt_("Size and range are left as they are: {}").format(error))
            return {"FINISHED"}
        restore_picture(scene, take)
        told.restore(scene, take)
        return {"FINISHED"}


class SHOTLOCK_OT_reveal(OnTake, bpy.types.Operator):
    bl_idname = "shotlock.reveal"
    bl_label = "Reveal Folder"
    bl_description = "Show this take's folder in the file manager"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        folder = takes.job_folder(active_take(context))
        if not folder.is_dir():
            self.report({"ERROR"}, rpt_("The take's folder is not at {}: was it moved or deleted?").format(folder))
            return {"CANCELLED"}
        return bpy.ops.wm.path_open(filepath=str(folder))


class SHOTLOCK_OT_move_takes(bpy.types.Operator):
    bl_idname = "shotlock.move_takes"
    bl_label = "Move Takes to Project"
    bl_description = "Move the takes that were made before this file was saved into its shots folder"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        cls.poll_message_set(rpt_("Save the file first: takes are moved beside it"))
        return bool(bpy.data.filepath)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> compat.Outcome:
        return context.window_manager.invoke_confirm(
            self, event, title="Move takes beside the file?", confirm_text="Move",
            message="They were made before it was saved, and lie in your data folder",
        )

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        try:
            moved = session.move_home()
        except (OSError, takes.TakeError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        compat.push_undo("Move takes")
        self.report({"INFO"}, rpt_("Takes moved: {}. Save the file to keep their new place").format(moved))
        return {"FINISHED"}


class SHOTLOCK_OT_show_strips(bpy.types.Operator):
    bl_idname = "shotlock.show_strips"
    bl_label = "Show This Scene's Strips"
    bl_description = "Have the sequencer of this workspace show the strips of this scene"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return compat.sequencer_is_empty(context)

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        compat.show_in_sequencer(context.scene)
        return {"FINISHED"}


def why_not_shown(context: bpy.types.Context) -> str:
    """How to see this scene's strips where no workspace of the file shows them; empty where one does."""
    if compat.editing_workspace(context.scene):
        return ""
    return rpt_("To see it, press + after the workspace tabs: Video Editing")


class SHOTLOCK_OT_show_take(bpy.types.Operator):
    bl_idname = "shotlock.show_take"
    bl_label = "Show in Sequencer"
    bl_description = "Switch this window to the workspace of this file that has a sequencer; nothing else is changed"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        reason = why_not_shown(context)
        cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        workspace = compat.editing_workspace(context.scene)
        assert workspace                # poll has seen it
        compat.show_in_sequencer(context.scene)
        context.window.workspace = workspace
        return {"FINISHED"}


class SHOTLOCK_OT_match_view(bpy.types.Operator):
    bl_idname = "shotlock.match_view"
    bl_label = "Match Strips to View"
    bl_description = "Set the colour space of this scene's takes for the view transform that is set now"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        scene = compat.sequencer_scene(context)
        for strip in takes.strips_in(scene):
            colours.apply(strip, scene)
        return {"FINISHED"}


class SHOTLOCK_OT_show_as_generated(bpy.types.Operator):
    bl_idname = "shotlock.show_as_generated"
    bl_label = "Set View to Standard"
    bl_description = (
        "Show takes in the colours they were generated in: sets this scene's view transform to Standard, without look, "
        "exposure and gamma. Its renders of the 3D view change with it"
    )
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        return colours.complaint(compat.sequencer_scene(context)) or rpt_(cls.bl_description)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> compat.Outcome:
        return context.window_manager.invoke_confirm(
            self, event, title="Set this scene's view to Standard?", confirm_text="Set to Standard",
            message="Its renders of the 3D view will look different, too",
        )

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        colours.show_as_generated(compat.sequencer_scene(context))
        return SHOTLOCK_OT_match_view.execute(self, context)  # type: ignore[arg-type]


class SHOTLOCK_OT_keep_view(bpy.types.Operator):
    bl_idname = "shotlock.keep_view"
    bl_label = "Keep View"
    bl_description = "Leave this scene's view as it is, and say no more about it until it changes or Blender ends"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        colours.keep(context.scene)
        return {"FINISHED"}


CLASSES = (
    SHOTLOCK_OT_place_take, SHOTLOCK_OT_redo, SHOTLOCK_OT_reveal, SHOTLOCK_OT_move_takes, SHOTLOCK_OT_show_strips,
    SHOTLOCK_OT_show_take, SHOTLOCK_OT_match_view, SHOTLOCK_OT_show_as_generated,
    SHOTLOCK_OT_keep_view,
)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    colours.forget()
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
