"""Run inside the full Blender, without a window: `blender -b --python suite.py -- FOLDER ARGUMENTS`.

Runs pytest with those arguments. It lies in that folder with what it needs: plain Python, as good for Blender's own.
"""

import sys

folder, *arguments = sys.argv[sys.argv.index("--") + 1:]
sys.path.insert(0, folder)

import pytest  # noqa: E402

code = int(pytest.main(arguments))
sys.stdout.flush()
sys.exit(code)
