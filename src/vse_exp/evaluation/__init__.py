"""Ranks, recalls and what is made of them."""
