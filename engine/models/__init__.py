"""The networks: layers, text, shading, lite. Know tensors; know nothing of jobs, files or Blender."""
