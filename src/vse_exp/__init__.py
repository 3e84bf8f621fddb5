"""Visual-semantic embeddings: train, evaluate and use image-sentence retrieval models."""

__version__ = "0.1.0"
