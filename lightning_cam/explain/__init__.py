"""The engine: a model and images in, raw maps out. Plain torch."""
