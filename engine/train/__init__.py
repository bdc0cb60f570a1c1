"""Everything that made the bundled weights: procedural scenes, captions, clips, the loop."""
