"""The demo scenes, made by scripts in any supported Blender: `python -m scenes.exterior FILE.blend`."""
