"""Approximate search with FAISS (extra `ann`), for galleries too large for the exact one.

`ivf` deals the items into lists by k-means and looks through the `n_probe` lists nearest to a query
(Sivic and Zisserman 2003); `hnsw` walks a graph of neighbours (Malkov and Yashunin 2016). What an
index misses is measured against exact search when it is built.
"""

from __future__ import annotations

import os
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vse_exp.errors import UserError
from vse_exp.files import atomic_path
from vse_exp.retrieval.search import Hits, search

ADDED_ROWS = 1 << 16
"""Rows that are handed to FAISS at once."""
MEASURED_QUERIES = 1000
MEASURED_K = 10  # as the key recall@10 says
TRAINING_ROWS_A_LIST = 64


@dataclass(frozen=True)
class AnnOptions:
    """The keys of `ann`."""

    kind: str = "hnsw"
    """`hnsw`, or `ivf`, which is built faster and takes less memory."""
    n_lists: int | None = None
    """ivf: lists; None: four times the square root of the number of items."""
    n_probe: int = 32
    """ivf: lists looked through for a query."""
    links: int = 32
    """hnsw: neighbours of an item in the graph."""
    ef_construction: int = 200
    """hnsw: candidates kept while building."""
    ef_search: int = 128
    """hnsw: candidates kept while searching."""

    def __post_init__(self) -> None:
        if self.kind not in ("hnsw", "ivf"):
            raise UserError(f"Unknown ann.kind={self.kind!r}: choose hnsw or ivf.")
        for name, value in asdict(self).items():
            if name != "kind" and value is not None and value < 1:
                raise UserError(f"ann.{name}={value} must be 1 or more.")


class AnnIndex:
    """A FAISS index, read from its file when first used.

    `about`: its options, and what was measured when it was built (recall@10, times).
    """

    def __init__(self, about: dict[str, Any], index: Any = None, path: Path | None = None) -> None:
        self.about = about
        self._index = index
        self._path = path

    @classmethod
    def build(cls, vectors: np.ndarray, options: AnnOptions, queries: np.ndarray) -> AnnIndex:
        """Index the rows (n, dim) of `vectors`, and measure it on up to 1000 of `queries`."""
        faiss = import_faiss()
        started = time.perf_counter()
        n, dim = vectors.shape
        metric = faiss.METRIC_INNER_PRODUCT
        described: dict[str, Any] = {"kind": options.kind}
        if options.kind == "hnsw":
            index = faiss.IndexHNSWFlat(dim, options.links, metric)
            index.hnsw.efConstruction = options.ef_construction
            described |= {"links": options.links, "ef_construction": options.ef_construction}
            described["ef_search"] = options.ef_search
        else:
            n_lists = min(n, options.n_lists or max(1, round(4 * n**0.5)))
            index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, n_lists, metric)
            index.cp.min_points_per_centroid = 1  # no warning about small galleries
            sample = np.linspace(0, n - 1, min(n, TRAINING_ROWS_A_LIST * n_lists)).astype(int)
            index.train(_float32(vectors[sample]))
            described |= {"n_lists": n_lists, "n_probe": min(options.n_probe, n_lists)}
        for start in range(0, n, ADDED_ROWS):
            index.add(_float32(vectors[start : start + ADDED_ROWS]))
        built = cls(described | {"build_seconds": time.perf_counter() - started}, index)
        built._measure(vectors, queries)
        return built

    @property
    def index(self) -> Any:
        """FAISS's own, set to search as widely as was asked for."""
        if self._index is None:
            faiss = import_faiss()
            try:
                self._index = faiss.read_index(str(self._path))
            except RuntimeError as error:
                raise UserError(
                    f"{self._path} is no complete FAISS index: build the gallery again."
                ) from error
        if self.about["kind"] == "hnsw":
            self._index.hnsw.efSearch = self.about["ef_search"]
        else:
            self._index.nprobe = self.about["n_probe"]
        return self._index

    def _measure(self, vectors: np.ndarray, queries: np.ndarray) -> None:
        chosen = np.linspace(0, len(queries) - 1, min(len(queries), MEASURED_QUERIES)).astype(int)
        some = _float32(queries[chosen])
        k = min(MEASURED_K, len(vectors))
        started = time.perf_counter()
        exact = search(some, vectors, k)
        between = time.perf_counter()
        found = self.search(some, k)
        ended = time.perf_counter()
        # by score, so that of equal items any will do
        reached = found.scores >= exact.scores[:, -1:] - 1e-5
        self.about |= {
            "recall@10": float((reached & (found.items >= 0)).mean()),
            "measured_queries": len(some),
            "seconds_a_query": (ended - between) / len(some),
            "exact_seconds_a_query": (between - started) / len(some),
        }

    def search(self, queries: np.ndarray, k: int) -> Hits:
        """The `k` best items as far as the index finds them; row -1 where it found fewer."""
        scores, items = self.index.search(_float32(queries), min(k, self.index.ntotal))
        return Hits(scores, items)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a file."""
        with atomic_path(path) as temporary:
            try:
                import_faiss().write_index(self.index, str(temporary))
            except RuntimeError as error:  # FAISS's own word for a full disk
                raise UserError(f"Cannot write {path}: is the disk full?") from error


def import_faiss() -> Any:
    """The module `faiss`; UserError where it is not installed."""
    try:
        with warnings.catch_warnings():  # SWIG's, on newer Pythons
            warnings.simplefilter("ignore", DeprecationWarning)
            import faiss
    except ImportError as error:
        raise UserError(
            "Approximate search needs FAISS: pip install 'vse_exp[ann]', or search exactly."
        ) from error
    return faiss


def _float32(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows, dtype=np.float32)
