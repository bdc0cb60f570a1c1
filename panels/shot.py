"""The Shotlock tab: what will be filmed, Generate, what is happening, and what came of it. The same in the 3D view and
in the sequencer."""

from pathlib import Path

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..operators import (
    colours,
    compat,
    folders,
    generate,
    install,
    properties,
    sentences,
    session,
    shelf,
    strips,
    takes,
    told,
)
from ..operators.plan import DEFAULT_PIXELS, decision
from . import model, pictures, preferences, words

ICONS = {True: "CHECKMARK", False: "ERROR"}
PICTURE = 8.0           # the preview's height in buttons
SURFACES = {"MESH", "CURVE", "SURFACE", "META", "FONT", "CURVES", "POINTCLOUD"}     # what a prompt can lie on
MOST_THINGS = 6         # objects with prompts of their own that are listed
SLOW = 4                # times the default's pixels: capture and finishing take as many times as long


def draw_shot(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    scene = context.scene
    layout.use_property_split, layout.use_property_decorate = True, False
    draw_prompt(layout, properties.shot_of(scene))
    draw_things(layout, scene)
    draw_camera(layout, scene)
    draw_range(layout, scene)
    draw_size(layout, context)


def draw_prompt(layout: bpy.types.UILayout, settings: properties.ShotlockScene) -> None:
    column = layout.column()
    column.use_property_split = False
    column.prop(settings, "prompt", text="", placeholder="What the shot should look like")


def draw_things(layout: bpy.types.UILayout, scene: bpy.types.Scene) -> None:
    """The objects that have a prompt of their own, whichever is active: what else a take will be told."""
    things = told.things(scene)
    column = layout.column(align=True)
    column.use_property_split = False
    for thing in things[:MOST_THINGS]:
        row = column.row(align=True)
        split = row.split(factor=0.4, align=True)
        name = split.operator("shotlock.select_object", text=thing.name, translate=False, icon="OBJECT_DATA")
        split.prop(properties.of_object(thing), "prompt", text="")
        clear = row.operator("shotlock.clear_object", text="", icon="X")
        name.object = clear.object = thing.name
    if len(things) > MOST_THINGS:
        text = iface_("and {} more objects with a prompt of their own").format(len(things) - MOST_THINGS)
        column.label(text=text, translate=False, icon="BLANK1")


def draw_camera(layout: bpy.types.UILayout, scene: bpy.types.Scene) -> None:
    settings = properties.shot_of(scene)
    layout.prop(settings, "camera", placeholder=scene.camera.name if scene.camera else iface_("No camera"))


def draw_range(layout: bpy.types.UILayout, scene: bpy.types.Scene) -> None:
    settings = properties.shot_of(scene)
    layout.prop(settings, "use_scene_range")
    column = layout.column(align=True)
    if settings.use_scene_range:
        column.active = False
        column.prop(scene, "frame_start", text="Start")
        column.prop(scene, "frame_end", text="End")
    else:
        column.prop(settings, "frame_start")
        column.prop(settings, "frame_end")


def draw_size(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    layout.prop(properties.shot_of(context.scene), "width")
    shot = decision(context.scene, context.view_layer)
    size = iface_("{} x {} px").format(*shot.size) if shot.size else ""
    length = words.frames(shot.frames, shot.length)
    row = layout.row()
    row.alignment = "RIGHT"
    row.active = False
    row.label(text=" · ".join(filter(None, (size, length))), translate=False)
    if shot.size and shot.sampled and (shot.plan is None or shelf.is_lite(shot.plan.model)):
        words.sentence(layout, context, large(shot.size, shot.sampled), icon="INFO")
    model.draw_need(layout, context, shot.plan)


def large(size: tuple[int, int], sampled: tuple[int, int]) -> str:
    """What a size means that the model does not work at."""
    text = iface_("Sampled at {} x {} px and finished at this size").format(*sampled)
    times = size[0] * size[1] / DEFAULT_PIXELS
    if times < SLOW:
        return text
    return text + iface_(". Slow: {:.0f} times the pixels of the default").format(times)


def draw_action(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What is being done, and Generate, unless it is this scene's shot that is being made."""
    job = session.current()
    if job is not None:
        draw_progress(layout, context, job)
        if session.find_scene(job.origin) == context.scene:
            return
    column = layout.column()
    column.scale_y = 1.5
    column.operator("shotlock.generate", icon="RENDER_ANIMATION")
    lack = install.lack()           # said before all else: who just installed the add-on has written no prompt yet
    reason = lack or generate.why_not(context)
    if reason:
        words.sentence(layout, context, reason, icon="INFO")
    if lack:
        preferences.draw_installation(layout, context)
        layout.operator("shotlock.show_preferences", icon="PREFERENCES")


def draw_stopped(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """A take that waits to be gone on with, from this session or from one that ended in the middle of it."""
    folder = session.resumable(context.scene, context.view_layer)
    if folder is None or generate.busy(context.scene):
        return
    job, number = session.latest(context.scene), folders.take_number(folder)
    if job is None or job.folder != folder:
        text, when = iface_("Take {} was stopped before its frames were finished"), folders.when_unsaved(folder)
        if when:
            text = iface_("Take {} of an unsaved file of {} was stopped before its frames were finished")
        words.sentence(layout, context, text.format(number, when), icon="INFO")
    row = layout.row(align=True)
    text = iface_("Resume Take {}").format(number)
    row.operator("shotlock.resume", text=text, translate=False, icon="FILE_REFRESH").directory = str(folder)
    row.operator("shotlock.remove_stopped", text="", icon="TRASH").directory = str(folder)


def draw_progress(layout: bpy.types.UILayout, context: bpy.types.Context, job: session.Job) -> None:
    layout.label(text=job.shot, translate=False, icon="VIEW_CAMERA")
    row = layout.row(align=True)
    text = words.progress(job)
    row.progress(factor=job.progress, text=text, translate=False)
    row.operator("shotlock.cancel", text="", icon="CANCEL")
    if job.note:
        words.sentence(layout, context, sentences.told(job.note), icon="MEMORY")
    number = pictures.icon(job.preview)
    if number:
        layout.template_icon(icon_value=number, scale=PICTURE)


def draw_outcome(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """How the scene's newest job ended."""
    job = session.latest(context.scene)
    if job is None or not job.ended:
        return
    if job.state == "done" and not is_below(context, job):
        draw_report(layout, context, job.report)
        draw_place(layout, context, job)
    elif job.state == "cancelled":
        layout.label(text="The shot was cancelled", icon="CANCEL")
    if job.error:
        words.sentence(layout, context, words.capital(sentences.told(job.error)), icon="ERROR")
    for warning in job.warnings:
        words.sentence(layout, context, sentences.told(warning), icon="INFO")


def draw_place(layout: bpy.types.UILayout, context: bpy.types.Context, job: session.Job) -> None:
    """Where the take's strip is, and the way there for who sees no sequencer. One that was undone can be had again."""
    number = folders.take_number(job.folder)
    strip = takes.strip_of(context.scene, job.shot, number)
    if strip is None:
        if job.placed and not takes.is_shown(context.scene, job.shot, number):
            text = iface_("Place Take {} Again").format(number)
            button = layout.operator("shotlock.place_take", text=text, translate=False, icon="SEQUENCE")
            button.directory = str(job.folder)
        return
    first, after = compat.strip_range(strip)
    text = iface_("Take {} is in the sequencer: channel {}, frames {} to {}")
    words.sentence(layout, context, text.format(number, strip.channel, first, after - 1), icon="SEQUENCE")
    if not compat.shows_sequencer(context.screen):
        lack = strips.why_not_shown(context)
        if lack:
            words.sentence(layout, context, lack, icon="BLANK1")
        else:
            layout.operator("shotlock.show_take", icon="WORKSPACE")


def is_below(context: bpy.types.Context, job: session.Job) -> bool:
    """Whether the Take panel, which the sequencer has beneath, says the same about that job's take."""
    strip = strips.active_take(context) if context.area.type == "SEQUENCE_EDITOR" else None
    return strip is not None and takes.seen(strip).folder == job.folder


def draw_report(layout: bpy.types.UILayout, context: bpy.types.Context, report: dict) -> None:
    """The camera report's one line: whether the take follows the camera, and how closely."""
    line = str(report.get("verdict", ""))
    if line:
        icon = ICONS.get(report.get("follows"), "INFO")      # neither: it cannot be told
        words.sentence(layout, context, words.capital(sentences.told(line)), icon)


def draw_waiting(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Takes that are finished, but whose scene is not there."""
    for job in session.waiting():
        words.sentence(layout, context, where_from(job.shot, job.origin), icon="INFO")
        layout.operator("shotlock.place_take", text="Place It Here").directory = str(job.folder)


def where_from(shot: str, origin: session.Origin) -> str:
    """What a finished take waits for."""
    if session.is_open(origin):
        return iface_("A take of {} is finished; its scene {} is not in this file").format(shot, origin.scene)
    if origin.file:
        return iface_("A take of {} is finished; it is placed when {} is opened").format(shot, Path(origin.file).name)
    return iface_("A take of {} is finished; its file was closed without being saved").format(shot)


def draw_notes(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What bites later, said where it can be mended."""
    scene = context.scene
    if scene.render.use_sequencer and len(compat.strips(scene)):
        words.sentence(layout, context, iface_("F12 renders this scene's strips, not its 3D view"), icon="INFO")
        layout.prop(scene.render, "use_sequencer", text="Render the Strips")
    if context.area.type == "SEQUENCE_EDITOR":
        draw_shown_scene(layout, context)
    if takes.strips_in(scene):
        draw_colours(layout, context, scene)
    if takes.has_homeless(session.left_behind()):
        text = iface_("Takes made before the file was saved lie outside its folder")
        words.sentence(layout, context, text, icon="INFO")
        layout.operator("shotlock.move_takes", icon="FILE_FOLDER")


def draw_shown_scene(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """From 5.0 on a sequencer may show another scene than the one that is filmed, or none."""
    scene, shown = context.scene, compat.sequencer_scene(context)
    if compat.sequencer_is_empty(context):
        layout.operator("shotlock.show_strips", icon="SEQUENCE")
    elif shown not in (scene, None):
        text = iface_("The strip will be placed in {}; this sequencer shows {}").format(scene.name, shown.name)
        words.sentence(layout, context, text, icon="INFO")


def draw_colours(layout: bpy.types.UILayout, context: bpy.types.Context, scene: bpy.types.Scene) -> None:
    if not colours.match(takes.strips_in(scene), scene):
        words.sentence(layout, context, iface_("The view changed since the strips were placed"), icon="COLOR")
        layout.operator("shotlock.match_view")
    notice = colours.notice(scene)
    if notice:
        words.sentence(layout, context, notice, icon="COLOR")
        row = layout.row(align=True)
        row.operator("shotlock.show_as_generated")
        row.operator("shotlock.keep_view", text="", icon="X")


class ShotPanel(compat.PanelPart):
    bl_label = "Shot"
    bl_category = "Shotlock"
    bl_region_type = "UI"

    def draw(self, context: bpy.types.Context) -> None:
        draw_shot(self.layout, context)
        draw_action(self.layout, context)
        draw_outcome(self.layout, context)
        draw_stopped(self.layout, context)
        draw_waiting(self.layout, context)
        draw_notes(self.layout, context)


class SettingsPanel(compat.PanelPart):
    bl_label = "Settings"
    bl_category = "Shotlock"
    bl_region_type = "UI"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split, layout.use_property_decorate = True, False
        model.draw(layout, context)


class ObjectPanel(compat.PanelPart):
    """What is said of the active object alone."""

    bl_label = "Object"
    bl_category = "Shotlock"
    bl_region_type = "UI"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.object is not None and context.object.type in SURFACES

    def draw(self, context: bpy.types.Context) -> None:
        column = self.layout.column()
        column.label(text=context.object.name, translate=False, icon="OBJECT_DATA")
        own = properties.of_object(context.object)
        column.prop(own, "prompt", text="", placeholder="What this object alone should look like")


class SHOTLOCK_PT_shot_view3d(ShotPanel, bpy.types.Panel):
    bl_space_type = "VIEW_3D"


class SHOTLOCK_PT_settings_view3d(SettingsPanel, bpy.types.Panel):
    bl_space_type = "VIEW_3D"
    bl_parent_id = "SHOTLOCK_PT_shot_view3d"


class SHOTLOCK_PT_object_view3d(ObjectPanel, bpy.types.Panel):
    bl_space_type = "VIEW_3D"
    bl_parent_id = "SHOTLOCK_PT_shot_view3d"


class SHOTLOCK_PT_shot_sequencer(ShotPanel, bpy.types.Panel):
    bl_space_type = "SEQUENCE_EDITOR"


class SHOTLOCK_PT_settings_sequencer(SettingsPanel, bpy.types.Panel):
    bl_space_type = "SEQUENCE_EDITOR"
    bl_parent_id = "SHOTLOCK_PT_shot_sequencer"


CLASSES = (
    SHOTLOCK_PT_shot_view3d, SHOTLOCK_PT_object_view3d, SHOTLOCK_PT_settings_view3d, SHOTLOCK_PT_shot_sequencer,
    SHOTLOCK_PT_settings_sequencer,
)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
