"""Small pictures for the panels: the preview of the running job. Kept outside the .blend, one at a time."""

from pathlib import Path

import bpy
import bpy.utils.previews

_shown: bpy.utils.previews.ImagePreviewCollection | None = None


def icon(path: Path | None) -> int:
    """The picture's icon number, 0 where there is none. A file that was written again is loaded again, at once: left
    to load by itself, a picture that changes every second would never be seen."""
    global _shown
    if path is None or not path.is_file():
        return 0
    if _shown is None:
        _shown = bpy.utils.previews.new()
    key = f"{path}|{path.stat().st_mtime_ns}"
    if key not in _shown:
        _shown.clear()
        _ = _shown.load(key, str(path), "IMAGE").image_size[:]  # type: ignore[index]  # asking for it loads
    return _shown[key].icon_id


def register() -> None:
    """Nothing to do until a picture is shown."""


def unregister() -> None:
    global _shown
    if _shown is not None:
        bpy.utils.previews.remove(_shown)
    _shown = None
