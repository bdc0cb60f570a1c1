"""Generate, Cancel, Resume: the door between the artist and the session. One operator, two manners: in a window it
returns at once and the timer goes on; in background it blocks until the strip exists. Below this door only values."""

import bpy

from . import colours, install, session, takes
from .plan import Refusal, plan


def why_not(context: bpy.types.Context) -> str:
    """One sentence why a shot cannot be generated now; empty where it can."""
    try:
        plan(context.scene, context.view_layer)
        install.engine_python()
    except (Refusal, install.NoEngine) as refusal:
        return str(refusal)
    job = session.latest(context.scene)
    return "This scene's shot is being generated already" if job and not job.ended else ""


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

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            job = session.submit(context.scene, plan(context.scene, context.view_layer))
        except (Refusal, takes.TakeError) as refusal:
            self.report({"ERROR"}, str(refusal))
            return {"CANCELLED"}
        return self.wait(context, job) if bpy.app.background else {"FINISHED"}

    def wait(self, context: bpy.types.Context, job: session.Job) -> set[str]:
        """For scripts: a job that did not end as a strip is an error, which Blender raises in the caller."""
        session.wait(job)
        for warning in filter(None, (*job.warnings, colours.complaint(context.scene) if job.placed else "")):
            self.report({"WARNING"}, warning)
        if job.placed:
            return {"FINISHED"}
        self.report({"ERROR"}, job.error or f"The shot was {job.state}")
        return {"CANCELLED"}


class SHOTLOCK_OT_cancel(bpy.types.Operator):
    bl_idname = "shotlock.cancel"
    bl_label = "Cancel"
    bl_description = "Stop the shot that is being generated; earlier takes stay"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        cls.poll_message_set("Nothing is being generated")
        return session.current() is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        job = session.current()
        if job is not None:
            session.cancel(job)
        return {"FINISHED"}


class SHOTLOCK_OT_resume(bpy.types.Operator):
    bl_idname = "shotlock.resume"
    bl_label = "Resume"
    bl_description = "Go on with the shot that failed, from where it stopped"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        cls.poll_message_set("This scene has no failed shot")
        job = session.latest(context.scene)
        return job is not None and job.state == "failed"

    def execute(self, context: bpy.types.Context) -> set[str]:
        job = session.latest(context.scene)
        if job is None:
            return {"CANCELLED"}
        session.resume(job)
        return SHOTLOCK_OT_generate.wait(self, context, job) if bpy.app.background else {"FINISHED"}  # type: ignore[arg-type]


CLASSES = (SHOTLOCK_OT_generate, SHOTLOCK_OT_cancel, SHOTLOCK_OT_resume)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
