"""Data sets of many shards: WebDataset's tars (img2dataset's too) and Parquet files, local or by
URL, read in blocks."""

from vse_exp.data.shards.layout import Shards

__all__ = ["Shards"]
