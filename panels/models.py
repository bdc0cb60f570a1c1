"""The manager of models in the preferences: what can be fetched, what is here, what each can be told, and what is
being done. Reads operators.manager, changes nothing."""

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..operators import manager, sentences, shelf
from . import words

GB = 1e9
SMALL = 1e8             # bytes: below, megabytes say more


def draw(layout: bpy.types.UILayout, context: bpy.types.Context, preferences: bpy.types.AddonPreferences) -> None:
    box = layout.box()
    box.use_property_split = False
    box.label(text="Models", icon="ASSET_MANAGER")
    row = box.row(align=True)
    row.operator("shotlock.find_models", icon="VIEWZOOM")
    row.operator("shotlock.import_model", icon="FILE_FOLDER")
    draw_folder(box)
    box.prop(preferences, "models_server", placeholder="Hugging Face")
    draw_work(box, context)
    problem = shelf.shelf().problem
    if problem:
        words.sentence(box, context, problem, icon="ERROR")
    if not bpy.app.online_access:
        text = iface_("To fetch models, allow online access under System › Network")
        words.sentence(box, context, text, icon="INFO")
    for one in manager.rows():
        draw_row(box, context, one)


def draw_folder(layout: bpy.types.UILayout) -> None:
    row = layout.row()
    row.label(text=iface_("Fetched to {}").format(manager.folder()), translate=False)
    row.operator("shotlock.choose_models_folder", text="", icon="FILEBROWSER")


def draw_work(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What is being done, or how it ended."""
    work = manager.latest()
    if work is None:
        return
    if work.state == "running":
        row = layout.row(align=True)
        row.progress(factor=work.progress, text=progress(work), translate=False)
        row.operator("shotlock.cancel_models", text="", icon="CANCEL")
    elif work.state == "failed":
        words.sentence(layout, context, words.capital(sentences.told(work.error)), icon="ERROR")
    elif work.state == "cancelled":
        words.sentence(layout, context, iface_("Fetching was stopped; what has come is kept"), icon="INFO")
    elif work.order == "import":
        words.sentence(layout, context, iface_("Listed: {}").format(", ".join(work.names)), icon="CHECKMARK")


def progress(work: manager.Work) -> str:
    """"Fetching wan_2.1_vae.safetensors · 12 % · 3 min left"."""
    phase = iface_(manager.PHASES.get(work.news.get("phase", "find"), "Fetching"))
    named = f"{phase} {work.news.get('file', '')}".strip()
    figure = f"{100 * work.progress:.0f} %" if work.progress else ""
    return " · ".join(part for part in (named, figure, words.time_left(work.eta)) if part)


def draw_row(layout: bpy.types.UILayout, context: bpy.types.Context, one: manager.Row) -> None:
    row = layout.row()
    icon = "ERROR" if one.missing else "CHECKMARK" if one.is_here else "IMPORT"
    row.label(text=one.title, translate=False, icon=icon)  # type: ignore[arg-type]  # any icon
    side = row.row(align=True)
    side.alignment = "RIGHT"
    side.label(text=described(one), translate=False)
    if one.can_be_fetched and (not one.is_here or one.missing):
        side.operator("shotlock.fetch_model", text="Fetch Rest" if one.come else "Fetch").model = one.name
    if one.is_here:
        side.operator("shotlock.remove_model", text="", icon="TRASH").model = one.name
    if one.told:
        words.sentence(layout, context, iface_("Can be told: {}").format(iface_(one.told)), icon="BLANK1")
    if one.missing:
        text = iface_("{} is not there any more").format(one.missing[0])
        words.sentence(layout, context, text, icon="BLANK1")


def described(one: manager.Row) -> str:
    """"35 % of 11.3 GB · Apache-2.0"."""
    text = size(one.size)
    if not one.is_here and one.come >= 0.005:
        text = iface_("{:.0f} % of {}").format(min(100.0, 100 * one.come), text)
    return " · ".join(part for part in (text, one.licence) if part)


def size(count: int) -> str:
    return iface_("{:.1f} GB").format(count / GB) if count >= SMALL else iface_("{:.1f} MB").format(count / 1e6)
