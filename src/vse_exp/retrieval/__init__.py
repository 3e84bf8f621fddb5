"""Galleries of embedded images and captions: search, captioning, and pages that show them."""

from vse_exp.retrieval.build import build_gallery
from vse_exp.retrieval.captioning import Retriever, retrieve_captions, retrieve_images
from vse_exp.retrieval.gallery import Gallery
from vse_exp.retrieval.items import Hit, Items
from vse_exp.retrieval.opening import open_gallery
from vse_exp.retrieval.search import Hits, search

__all__ = [
    "Gallery",
    "Hit",
    "Hits",
    "Items",
    "Retriever",
    "build_gallery",
    "open_gallery",
    "retrieve_captions",
    "retrieve_images",
    "search",
]
