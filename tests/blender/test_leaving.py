"""A script that uses the add-on in a bpy wheel ends when its last line is done, and says so with exit code 0."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.wheel
HERE = Path(__file__).resolve().parent
SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import conftest
package = conftest.load_package()
package.register()
if sys.argv[2] == "taken back":
    package.unregister()
print("last line", flush=True)
"""


@pytest.mark.parametrize("state", ["registered", "taken back"])
def test_a_script_ends_cleanly(state, tmp_path):
    """An add-on that is still registered at exit: 139 in 4.2.23, and in 4.5.15 a process that hangs."""
    command = [sys.executable, "-c", SCRIPT, str(HERE), state]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False,
                           env=os.environ | {"BLENDER_USER_RESOURCES": str(tmp_path)})
    assert "last line" in ended.stdout, ended.stderr
    assert ended.returncode == 0
