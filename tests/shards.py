"""Shards of features and captions, as other programs write them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def npy(row: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, row)
    return content.getvalue()


def write_shards(
    folder: Path, kind: str, captions: list[str], rows: np.ndarray, shard: int = 25, group: int = 5
) -> str:
    """Features and captions, `shard` images a file; the pattern that finds them is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    each = len(captions) // len(rows)
    texts = [captions[row * each : (row + 1) * each] for row in range(len(rows))]
    for number, start in enumerate(range(0, len(rows), shard)):
        part = slice(start, start + shard)
        path = folder / f"{number:03}.{kind}"
        if kind == "parquet":
            pa = pytest.importorskip("pyarrow", reason="needs the extra `tables`")
            from pyarrow.parquet import write_table

            lists = pa.array(list(rows[part]), pa.list_(pa.float32()))
            write_table(
                pa.table({"caption": texts[part], "vector": lists}), path, row_group_size=group
            )
            continue
        with tarfile.open(path, "w") as archive:
            for row in range(start, min(start + shard, len(rows))):
                add(archive, f"a/{row:05}.txt", "\n".join(texts[row]).encode())
                add(archive, f"a/{row:05}.npy", npy(rows[row]))
    return f"{folder}/*.{kind}"
