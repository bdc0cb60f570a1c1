"""Shotlock's engine: computes frames from a job folder, in its own process. Never imports bpy; importing it is free."""
