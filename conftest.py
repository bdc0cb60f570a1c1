"""Puts the repository root on sys.path, so that tests outside Blender import `engine` as its own process does."""

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parent)
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)
