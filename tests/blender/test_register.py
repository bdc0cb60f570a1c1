"""What register() adds, unregister() takes away; what a reviewer looks for stands."""

import gc
import sys
from types import ModuleType

import bpy
import pytest
from bpy.app import handlers

PREFIX = "SHOTLOCK_"
HANDLERS = [name for name in dir(handlers) if isinstance(getattr(handlers, name), list)]
BASES = (bpy.types.Operator, bpy.types.Panel, bpy.types.PropertyGroup, bpy.types.AddonPreferences, bpy.types.Menu)


def own_classes():
    return [cls for base in BASES for cls in every_subclass(base) if cls.__module__.startswith("shotlock.")]


def every_subclass(cls):
    for child in cls.__subclasses__():
        yield child
        yield from every_subclass(child)


def census():
    """Everything in Blender that an add-on could leave behind, counted."""
    from shotlock.operators import compat

    status = getattr(bpy.types.STATUSBAR_HT_header.draw, "_draw_funcs", [])
    menu = getattr(bpy.types.SEQUENCER_MT_add.draw, "_draw_funcs", [])
    return {
        "classes": sorted(name for name in dir(bpy.types) if "shotlock" in name.lower()),
        "registered": sorted(cls.__name__ for cls in own_classes() if cls.is_registered),
        "operators": sorted(dir(bpy.ops.shotlock)),
        "handlers": {name: len(getattr(handlers, name)) for name in HANDLERS},
        "scene": hasattr(bpy.types.Scene, "shotlock"),
        "strip": hasattr(compat.strip_type(), "shotlock"),
        "object": hasattr(bpy.types.Object, "shotlock"),
        "status bar": len([draw for draw in status if "shotlock" in draw.__module__]),
        "add menu": len([draw for draw in menu if "shotlock" in draw.__module__]),
    }


@pytest.fixture
def unregistered(shotlock):
    """Taken back for the test, and put in place again for the ones after it."""
    shotlock.unregister()
    yield shotlock
    shotlock.register()


def test_registering_twice_leaves_no_trace(unregistered):
    before = census()
    for _ in range(2):
        unregistered.register()
        during = census()
        assert during["scene"] and during["strip"] and during["object"]
        assert during["status bar"] == during["add menu"] == 1
        assert during["handlers"]["load_post"] == before["handlers"]["load_post"] + 1
        assert len(during["registered"]) > 15
        unregistered.unregister()
        assert census() == before
    assert before["registered"] == [] and not before["scene"] and not before["strip"]
    assert before["status bar"] == before["add menu"] == 0
    from shotlock.operators import session

    assert not bpy.app.timers.is_registered(session._timer)
    assert session.jobs == []


def test_a_timer_that_waits_goes_with_the_add_on(unregistered):
    """In the background none is ever started; in a window one waits nearly always."""
    from shotlock.operators import session

    unregistered.register()
    waiting = session._timer, session._ask_to_move
    for timer in waiting:
        bpy.app.timers.register(timer, first_interval=99, persistent=True)
    assert all(map(bpy.app.timers.is_registered, waiting))
    unregistered.unregister()
    assert not any(map(bpy.app.timers.is_registered, waiting))


def test_loading_the_package_registers_and_imports_nothing(package):
    source = vars(package)
    assert not [name for name, value in source.items() if isinstance(value, ModuleType) and name not in (
        "operators", "panels", "engine", "setup", "scenes")]


def test_nothing_heavy_comes_along(shotlock):
    assert not {"torch", "cv2", "einops", "safetensors"} & set(sys.modules)


def test_every_operator_and_property_explains_itself(shotlock):
    from shotlock.operators import compat

    names = dir(bpy.ops.shotlock)
    assert "generate" in names
    for name in names:
        rna = getattr(bpy.ops.shotlock, name).get_rna_type()
        assert rna.description and not rna.description.endswith((".", ")")), name   # "(undocumented operator)"
        assert_explained(rna, name)
    for rna in (bpy.types.Scene.bl_rna, bpy.types.Object.bl_rna, compat.strip_type().bl_rna):
        assert_explained(rna.properties["shotlock"].fixed_type, rna.identifier)
    for group in ("known", "references", "loras"):
        rna = bpy.types.Scene.bl_rna.properties["shotlock"].fixed_type.properties[group].fixed_type
        assert_explained(rna, group)
    assert_explained(bpy.types.AddonPreferences.bl_rna_get_subclass_py("ShotlockPreferences").bl_rna, "preferences")


def assert_explained(rna, owner):
    inherited = {"rna_type", "name", "bl_idname"}
    for prop in rna.properties:
        if prop.identifier not in inherited:
            assert prop.description and not prop.description.endswith("."), (owner, prop.identifier)
            assert prop.name[:1].isupper(), (owner, prop.identifier)


def test_operators_that_change_the_file_can_be_undone(shotlock):
    from shotlock.operators import strips, told

    for cls in (strips.SHOTLOCK_OT_redo, strips.SHOTLOCK_OT_match_view, strips.SHOTLOCK_OT_show_as_generated,
                strips.SHOTLOCK_OT_show_strips, *told.CLASSES):
        assert "UNDO" in cls.bl_options, cls


def test_run_time_state_is_not_in_the_file(saved):
    """Nothing of a job is an ID property anywhere."""
    gc.collect()
    assert list(saved.shotlock.keys()) == []
    assert not [key for key in bpy.context.window_manager.keys() if "shotlock" in key.lower()]  # noqa: SIM118


def test_the_tab_is_in_both_editors(shotlock):
    tabs = {cls.bl_space_type for cls in own_classes()
            if issubclass(cls, bpy.types.Panel) and cls.is_registered and cls.bl_category == "Shotlock"}
    assert tabs == {"VIEW_3D", "SEQUENCE_EDITOR"}
