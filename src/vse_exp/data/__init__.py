"""Captions, image features, vocabularies, and the batches made of them."""

from vse_exp.data.buckets import LengthBuckets
from vse_exp.data.layouts import Split, load_split
from vse_exp.data.opening import load_split_from_config
from vse_exp.images.features import ImageFeatures, open_features
from vse_exp.split_files import SplitFiles
from vse_exp.text.vocabulary import EOS, PAD, UNK, TokenizedCaptions, Vocabulary

__all__ = [
    "EOS",
    "PAD",
    "UNK",
    "ImageFeatures",
    "LengthBuckets",
    "Split",
    "SplitFiles",
    "TokenizedCaptions",
    "Vocabulary",
    "load_split",
    "load_split_from_config",
    "open_features",
]
