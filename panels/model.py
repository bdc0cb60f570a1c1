"""The model's part of the settings: the menu, what the chosen one can be told, and the controls that it has. What it
takes, `shelf` knows; nothing is changed here."""

from pathlib import PurePath
from typing import Any

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..engine import job
from ..operators import forecast, properties, sentences, shelf
from ..operators.plan import Plan
from . import words

PLACES = {place: name for place, name, _ in properties.PLACES}


class SHOTLOCK_MT_models(bpy.types.Menu):
    bl_label = "Model"

    def draw(self, context: bpy.types.Context) -> None:
        layout, here = self.layout, shelf.shelf()
        for name, choice in here.models.items():
            text = iface_("{} (files are missing)").format(choice.title) if choice.missing else choice.title
            layout.operator("shotlock.choose_model", text=text, translate=False).model = name
        layout.separator()
        layout.operator("shotlock.show_preferences", text="Get Models...", icon="PREFERENCES")


class SHOTLOCK_MT_loras(bpy.types.Menu):
    bl_label = "LoRAs"

    def draw(self, context: bpy.types.Context) -> None:
        for name, lora in shelf.shelf().loras.items():
            text = lora.title or name
            self.layout.operator("shotlock.add_lora", text=text, translate=False).lora = name
        if not shelf.shelf().loras:
            self.layout.operator("shotlock.show_preferences", text="Get LoRAs...", icon="PREFERENCES")


def draw(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    settings = properties.shot_of(context.scene)
    draw_menu(layout, context, settings)
    layout.prop(settings, "negative_prompt")
    layout.prop(settings, "seed")
    draw_recipe(layout, settings)
    draw_speed(layout, settings)
    draw_controls(layout, settings)
    draw_known(layout, settings)
    draw_references(layout, settings)
    draw_loras(layout, settings)


def draw_menu(layout: bpy.types.UILayout, context: bpy.types.Context, settings: Any) -> None:
    split = layout.split(factor=0.4)
    label = split.row()
    label.alignment = "RIGHT"
    label.label(text="Model")
    split.menu("SHOTLOCK_MT_models", text=shelf.title(settings.model), translate=False)
    choice, lack = shelf.choice(settings.model), shelf.lack(settings.model)
    if lack:
        words.sentence(layout, context, lack, icon="ERROR")
    elif shelf.no_lead(settings.model):
        words.sentence(layout, context, shelf.no_lead(settings.model), icon="ERROR")
    elif choice and choice.told and settings.model not in job.MODELS:
        words.sentence(layout, context, iface_("Can be told: {}").format(iface_(choice.told)), icon="INFO")


def draw_recipe(layout: bpy.types.UILayout, settings: Any) -> None:
    layout.prop(settings, "use_recipe")
    if not settings.use_recipe:
        layout.prop(settings, "steps")
        layout.prop(settings, "guidance")
        if shelf.able(settings.model, shelf.SHIFT):
            layout.prop(settings, "shift")
        return
    recipe = shelf.recipe(settings.model, properties.lora_values(settings))
    if recipe:
        row = layout.row()
        row.alignment, row.active = "RIGHT", False
        text = iface_("{} steps, guidance {:g}").format(recipe.steps, recipe.guidance)
        row.label(text=text, translate=False)


def draw_speed(layout: bpy.types.UILayout, settings: Any) -> None:
    if not shelf.able(settings.model, shelf.SPEED):
        return
    layout.prop(settings, "use_speed")
    if settings.use_speed:
        column = layout.column(align=True)
        for name in properties.SPEED:
            column.prop(settings, name)


def draw_controls(layout: bpy.types.UILayout, settings: Any) -> None:
    if shelf.able(settings.model, shelf.CONTROL):
        layout.prop(settings, "control_strength")
    if shelf.able(settings.model, shelf.DRESS):
        layout.prop(settings, "dress")
    if shelf.able(settings.model, shelf.SPAN):
        column = layout.column(align=True)
        column.prop(settings, "control_start", text="From")
        column.prop(settings, "control_end", text="To")
    if shelf.able(settings.model, shelf.START):
        layout.prop(settings, "denoise")


def draw_known(layout: bpy.types.UILayout, settings: Any) -> None:
    """Frames that are there already; the sequencer's Take panel adds them from takes."""
    if not any(shelf.able(settings.model, what) for what in (shelf.FIRST, shelf.LAST, shelf.KNOWN)):
        return
    column = layout.column(align=True)
    for number, entry in enumerate(settings.known):
        place = iface_("Frame {}").format(entry.frame) if entry.place == "FRAME" else iface_(PLACES[entry.place])
        draw_entry(column, "known", number, f"{place}: {shown(entry.picture)}", "PINNED")
    column.operator_menu_enum("shotlock.know_picture", "place", text="Known Frame", icon="ADD")


def draw_references(layout: bpy.types.UILayout, settings: Any) -> None:
    if not shelf.able(settings.model, shelf.REFERENCES):
        return
    column = layout.column(align=True)
    for number, entry in enumerate(settings.references):
        draw_entry(column, "references", number, shown(entry.picture), "IMAGE_REFERENCE")
    column.operator("shotlock.add_reference", icon="ADD")


def draw_loras(layout: bpy.types.UILayout, settings: Any) -> None:
    if not shelf.able(settings.model, shelf.LORAS):
        return
    column, here = layout.column(align=True), shelf.shelf().loras
    for number, entry in enumerate(settings.loras):
        row = column.row(align=True)
        lora = here.get(entry.name)
        text = (lora.title or entry.name) if lora else iface_("{} (not on this machine)").format(entry.name)
        split = row.split(factor=0.7, align=True)
        split.label(text=text, translate=False, icon="MODIFIER" if lora else "ERROR")
        split.prop(entry, "strength", text="")
        leave_out(row, "loras", number)
    column.menu("SHOTLOCK_MT_loras", text="Add LoRA", icon="ADD")


def draw_entry(layout: bpy.types.UILayout, kind: str, number: int, text: str, icon: str) -> None:
    row = layout.row(align=True)
    row.label(text=text, translate=False, icon=icon)  # type: ignore[arg-type]  # any icon
    leave_out(row, kind, number)


def leave_out(row: bpy.types.UILayout, kind: str, number: int) -> None:
    button = row.operator("shotlock.leave_out", text="", icon="X", emboss=False)
    button.kind, button.number = kind, number


def shown(path: str) -> str:
    """A picture by what tells it apart: takes' frames have the same names."""
    parts = PurePath(path.replace("\\", "/").removeprefix("//")).parts
    return "/".join(parts[-3::2] if len(parts) > 2 and parts[-2] == "frames" else parts[-1:])


def draw_need(layout: bpy.types.UILayout, context: bpy.types.Context, plan: Plan | None) -> None:
    """What the shot needs on this machine, or why this model cannot make it, before anything is done for it."""
    if plan is None or shelf.is_lite(plan.model):
        return
    told = forecast.told(plan)
    if told.problem:
        words.sentence(layout, context, words.capital(sentences.told(told.problem)), icon="ERROR")
    elif told.words:
        words.sentence(layout, context, sentences.told(told.words), icon="MEMORY")
    elif told.is_coming:
        layout.label(text="Asking the engine what this needs", icon="MEMORY")


CLASSES = (SHOTLOCK_MT_models, SHOTLOCK_MT_loras)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
