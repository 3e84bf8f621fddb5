"""Ranks, recalls and what is made of them."""

from vse_exp.evaluation.metrics import (
    i2t,
    mean_rank,
    median_rank,
    recall_at_k,
    retrieval_metrics,
    t2i,
)
from vse_exp.evaluation.ranks import retrieval_ranks

__all__ = [
    "i2t",
    "mean_rank",
    "median_rank",
    "recall_at_k",
    "retrieval_metrics",
    "retrieval_ranks",
    "t2i",
]
