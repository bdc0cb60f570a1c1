"""Generate, Cancel, Resume: the door between the artist and the session. One operator, two manners: in a window it
returns at once and the timer goes on; in background it blocks until the strip exists. Below this door only values."""

from pathlib import Path
from typing import Any

import bpy
from bpy.app.translations import pgettext_n as n_
from bpy.app.translations import pgettext_rpt as rpt_
from bpy.props import StringProperty

from . import colours, compat, forecast, install, sentences, session, takes, told
from .plan import Refusal, decision, plan

ENDS = {"cancelled": n_("The shot was cancelled"), "failed": n_("The shot failed")}


def why_not(context: bpy.types.Context) -> str:
    """One sentence why a shot cannot be generated now; empty where it can. Cheap: every redraw asks."""
    made = decision(context.scene, context.view_layer)
    lack = told.lack(made.plan) or sentences.told(forecast.problem(made.plan)) if made.plan else ""
    return made.refusal or lack or install.lack() or busy(context.scene)


def busy(scene: bpy.types.Scene) -> str:
    """One sentence why no shot of this scene can be begun now, whatever it is."""
    if install.running():
        return rpt_("The engine is being installed: wait until that has ended")
    job = session.latest(scene)
    return rpt_("This scene's shot is being generated already") if job and not job.ended else ""


class SHOTLOCK_OT_generate(bpy.types.Operator):
    bl_idname = "shotlock.generate"
    bl_label = "Generate"
    bl_description = "Film the shot: capture the scene along its camera, generate the frames, place them as a strip"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        reason = why_not(context)
        cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        try:
            install.engine_python()
            job = session.submit(context.scene, plan(context.scene, context.view_layer))
        except (Refusal, install.NoEngine, takes.TakeError) as refusal:
            self.report({"ERROR"}, str(refusal))
            return {"CANCELLED"}
        return self.wait(context, job) if bpy.app.background else {"FINISHED"}

    def wait(self, context: bpy.types.Context, job: session.Job) -> compat.Outcome:
        """For scripts: a job that did not end as a strip is an error, which Blender raises in the caller."""
        session.wait(job)
        complaint = colours.complaint(context.scene) if job.placed else ""
        for warning in filter(None, (*map(sentences.told, job.warnings), complaint)):
            self.report({"WARNING"}, warning)
        if job.placed:
            return {"FINISHED"}
        self.report({"ERROR"}, sentences.told(job.error) or rpt_(ENDS.get(job.state, ENDS["failed"])))
        return {"CANCELLED"}


class SHOTLOCK_OT_cancel(bpy.types.Operator):
    bl_idname = "shotlock.cancel"
    bl_label = "Cancel"
    bl_description = (
        "Stop the shot that is being generated. Once it is captured it can be resumed later; before, nothing is kept. "
        "Earlier takes stay"
    )
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        cls.poll_message_set(rpt_("Nothing is being generated"))
        return session.current() is not None

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        job = session.current()
        if job is not None:
            session.cancel(job)
        return {"FINISHED"}


def folder_setting() -> Any:
    return StringProperty(
        name="Folder", description="The take's folder; empty: the newest take of this scene's shot that was stopped",
        subtype="DIR_PATH", options=compat.relative_path_option() | {"SKIP_SAVE", "HIDDEN"},
    )


def stopped_take(context: bpy.types.Context, directory: str) -> Path:
    """The folder that is named, else what the panel offers. Raises TakeError."""
    folder = Path(bpy.path.abspath(directory)) if directory else session.resumable(context.scene, context.view_layer)
    if folder is None:
        raise takes.TakeError(rpt_("No take of this scene's shot was stopped: press Generate for a new one"))
    return folder


class SHOTLOCK_OT_resume(bpy.types.Operator):
    bl_idname = "shotlock.resume"
    bl_label = "Resume Take"
    bl_description = (
        "Go on with a take that was stopped, as it was asked for then: nothing that was captured or sampled is done "
        "again, and the frames are those of a take that was never stopped"
    )
    bl_options = {"INTERNAL"}

    directory: folder_setting()  # type: ignore[valid-type]  # Blender reads properties off annotations

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        reason = install.lack() or busy(context.scene)
        cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        try:
            install.engine_python()
            job = session.resume(context.scene, stopped_take(context, self.directory))
        except (install.NoEngine, takes.TakeError) as refusal:
            self.report({"ERROR"}, str(refusal))
            return {"CANCELLED"}
        return SHOTLOCK_OT_generate.wait(self, context, job) if bpy.app.background else {"FINISHED"}  # type: ignore[arg-type]


class SHOTLOCK_OT_remove_stopped(bpy.types.Operator):
    bl_idname = "shotlock.remove_stopped"
    bl_label = "Remove Stopped Take"
    bl_description = "Delete what was captured and sampled of a take that was stopped; finished takes stay"
    bl_options = {"INTERNAL"}

    directory: folder_setting()  # type: ignore[valid-type]  # Blender reads properties off annotations

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> compat.Outcome:
        return context.window_manager.invoke_confirm(
            self, event, title="Delete the stopped take?", confirm_text="Delete",
            message="Its capture is deleted from the disk, which undo does not bring back",
        )

    def execute(self, context: bpy.types.Context) -> compat.Outcome:
        try:
            session.remove(stopped_take(context, self.directory))
        except takes.TakeError as refusal:
            self.report({"ERROR"}, str(refusal))
            return {"CANCELLED"}
        return {"FINISHED"}


CLASSES = (SHOTLOCK_OT_generate, SHOTLOCK_OT_cancel, SHOTLOCK_OT_resume, SHOTLOCK_OT_remove_stopped)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
