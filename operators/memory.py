"""What was last found on the disk, or by going through a whole scene, for panels: they are drawn many times a second,
a folder may lie on a slow network, and a scene may have many objects. Knows nothing of what it holds. Acting on a
folder always looks at the folder itself."""

import time
from collections.abc import Callable, Hashable
from typing import Any

SECONDS = 2.0           # that a look is good for: whatever changed outside of Blender is seen by then
UNTIL_TOLD = float("inf")
MOST = 1000             # looks that are kept; then all are forgotten

_looks: dict[Hashable, tuple[float, Any]] = {}


def look(key: Hashable, find: Callable[[], Any], good_for: float = SECONDS) -> Any:
    """What `find` found under that key; it is called again when that is too long ago, or after `forget`."""
    now = time.monotonic()
    if key not in _looks or now - _looks[key][0] > good_for:
        if len(_looks) >= MOST:
            _looks.clear()
        _looks[key] = now, find()
    return _looks[key][1]


def forget() -> None:
    """Something of ours changed the disk, or another file was opened."""
    _looks.clear()
