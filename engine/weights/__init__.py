"""Finds, verifies and loads weights. Safetensors only; no code is ever loaded with them."""
