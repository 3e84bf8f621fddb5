"""Sentence encoders, image encoders, and the model that joins them."""
