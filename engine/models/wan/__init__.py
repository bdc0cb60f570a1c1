"""The Wan 2.1 and 2.2 family, native: transformer, autoencoders, text encoder, tokenizer, and what they are told.

Modules carry the official checkpoints' own names. Know tensors, shapes and names; know nothing of jobs or Blender.
"""
