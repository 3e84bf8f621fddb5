"""Captions to ids: tokenisers and vocabularies."""
