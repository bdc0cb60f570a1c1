"""Schedule and sampler: one function per equation, unaware of the models."""
