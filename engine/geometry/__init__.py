"""What the scene already knows: cameras, surface anchors, noise that sticks to surfaces, exact reprojection.

Tensors in, tensors out, any device. Knows nothing of jobs, models or Blender.
"""
