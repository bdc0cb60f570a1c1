"""The add-on's preferences: where the engine and the takes live, the engine's installation, the models."""

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..operators import install, properties
from . import models, words


def draw(preferences: bpy.types.AddonPreferences, context: bpy.types.Context) -> None:
    layout = preferences.layout
    layout.use_property_split = True
    draw_engine(layout, context, preferences)
    layout.prop(preferences, "takes_folder", placeholder="shots, beside the .blend")
    layout.prop(preferences, "keep_passes")
    models.draw(layout, context, preferences)


def draw_engine(
    layout: bpy.types.UILayout, context: bpy.types.Context, preferences: bpy.types.AddonPreferences
) -> None:
    try:
        found, icon = iface_("The engine runs with {}").format(install.engine_python()), "CHECKMARK"
    except install.NoEngine as error:
        found, icon = str(error), "INFO"
    layout.prop(preferences, "engine_python", placeholder="found by itself")
    words.sentence(layout, context, found, icon)
    draw_installation(layout, context)


def draw_installation(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    latest = install.latest()
    if install.running() and latest is not None:
        row = layout.row(align=True)
        row.progress(factor=latest.progress, text=iface_(latest.phase), translate=False)
        row.operator("shotlock.cancel_install", text="", icon="CANCEL")
        return
    label = "Repair Engine" if install.is_made() else "Install Engine"
    layout.operator("shotlock.install_engine", text=label, icon="IMPORT")
    reason = install.why_not() if install.lack() else install.in_use()  # whoever has an engine needs no network
    if reason:
        words.sentence(layout, context, reason, icon="INFO")
    if latest is not None and latest.state == "failed":
        words.sentence(layout, context, latest.error, icon="ERROR")
        layout.operator("shotlock.copy_install_report", icon="COPYDOWN")


def register() -> None:
    properties.draw_preferences = draw


def unregister() -> None:
    properties.draw_preferences = None
