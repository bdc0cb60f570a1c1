"""The take on the active strip: what it was made with, how well it follows, and what can be done with it."""

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..operators import compat, properties, strips, takes
from . import words
from .shot import draw_report


class SHOTLOCK_PT_take(bpy.types.Panel):
    bl_label = "Take"
    bl_category = "Shotlock"
    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return strips.active_take(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        strip = compat.active_strip(context)
        layout, made = self.layout, strip.shotlock
        title = iface_("{} · take {}").format(made.shot, made.take)
        layout.label(text=title, translate=False, icon="SEQUENCE")
        take = takes.seen(strip)
        draw_report(layout, context, take.report)
        if not take.is_there:
            text = iface_("The take's folder is not at {}").format(take.folder)
            words.sentence(layout, context, text, icon="ERROR")
        row = layout.row(align=True)
        row.operator("shotlock.redo", icon="LOOP_BACK")
        row.operator("shotlock.reveal", text="", icon="FILE_FOLDER")
        row = layout.row(align=True)
        row.operator_menu_enum("shotlock.keep_frame", "place", text="Keep Frame", icon="PINNED")


class SHOTLOCK_PT_take_settings(bpy.types.Panel):
    bl_label = "Made With"
    bl_category = "Shotlock"
    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"
    bl_parent_id = "SHOTLOCK_PT_take"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        draw_settings(self.layout, compat.active_strip(context).shotlock)


def draw_settings(layout: bpy.types.UILayout, made: properties.ShotlockStrip) -> None:
    """Shown, not editable: this is what the take was made with."""
    column = layout.column(align=True)
    column.use_property_split, column.use_property_decorate = True, False
    column.enabled = False
    unsaid = [] if made.negative_prompt else ["negative_prompt"]
    unsaid += ["steps", "guidance"] if made.use_recipe else []
    unsaid += [] if made.shift and not made.use_recipe else ["shift"]
    unsaid += [] if made.use_speed else ["use_speed", *properties.SPEED]
    for name in properties.SETTINGS:
        if name not in unsaid:
            column.prop(made, name)


def draw_add(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    """Takes of other files, and those whose strips were removed, come back as strips are added in Blender."""
    self.layout.operator_context = "INVOKE_DEFAULT"
    self.layout.operator("shotlock.place_take", text="Shotlock Take...", icon="RENDER_ANIMATION")


CLASSES = (SHOTLOCK_PT_take, SHOTLOCK_PT_take_settings)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.SEQUENCER_MT_add.append(draw_add)  # type: ignore[arg-type]  # called with the menu too


def unregister() -> None:
    bpy.types.SEQUENCER_MT_add.remove(draw_add)  # type: ignore[arg-type]
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
