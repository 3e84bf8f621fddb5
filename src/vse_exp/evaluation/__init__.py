"""Ranks, recalls and what is made of them."""

from vse_exp.evaluation.directions import i2t, t2i
from vse_exp.evaluation.metrics import Metric, retrieval_metrics
from vse_exp.evaluation.ranks import rank_answers, retrieval_ranks

__all__ = ["Metric", "i2t", "rank_answers", "retrieval_metrics", "retrieval_ranks", "t2i"]
