"""One compact item in the status bar while a shot is being made."""

import bpy

from ..operators import session
from . import words


def draw(self: bpy.types.Header, context: bpy.types.Context) -> None:
    job = session.current()
    if job is None:
        return
    row = self.layout.row(align=True)
    text = f"{job.shot}: {words.progress(job)}"
    row.label(text=text, translate=False, icon="RENDER_ANIMATION")
    row.operator("shotlock.cancel", text="", icon="CANCEL", emboss=False)


def register() -> None:
    bpy.types.STATUSBAR_HT_header.append(draw)  # type: ignore[arg-type]  # called with the header too


def unregister() -> None:
    bpy.types.STATUSBAR_HT_header.remove(draw)  # type: ignore[arg-type]
