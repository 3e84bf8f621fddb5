"""Shares of a job: together they are the whole, whatever their number, and to the byte."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as some

from conftest import contents, random_captions, random_features
from small_models import small_model
from vse_exp.errors import UserError
from vse_exp.evaluation.embed import embed_files
from vse_exp.sharding import Shard, rows_once, spelled_out
from vse_exp.text.vocabulary import Vocabulary


@given(some.integers(0, 50), some.integers(1, 12))
def test_each_block_is_in_one_share(blocks, count):
    shares = [Shard(number, count).share(blocks) for number in range(count)]
    assert [block for share in shares for block in share] == list(range(blocks))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_how_shares_are_written():
    assert Shard.of("3/8") == Shard(3, 8)
    assert Shard.of(None) is None
    with pytest.raises(UserError, match="the last is 7/8"):
        Shard.of("8/8")
    assert spelled_out(["a=b", "shards=3"]) == ["a=b", "--multirun", "shard=0/3,1/3,2/3"]
    assert spelled_out(["split=3"]) == ["split=3"]
    with pytest.raises(UserError, match="whole number"):
        spelled_out(["shards=0"])


@pytest.mark.parametrize("what", ["captions", "features"])
def test_embedded_shares_are_the_bytes_of_one_run(what, tmp_path):
    model = small_model(Vocabulary.build(random_captions(25)))
    (tmp_path / "captions.txt").write_text("\n".join(random_captions(25)) + "\n")
    for number, rows in enumerate((9, 3, 13)):
        np.save(tmp_path / f"{number}.npy", random_features(rows, 12, number))
    (tmp_path / "features.txt").write_text("0.npy\n1.npy\n2.npy\n")
    for name in ("one", "many"):
        keys = {
            "captions": None, "features": None, what: str(tmp_path / f"{what}.txt"), "block": 4,
            "batch_size": 3, "normalize_features": True, "allow_feature_mismatch": False,
            "output": str(tmp_path / name / "v.npy"),
        }  # fmt: skip
        shares = [None] if name == "one" else [Shard(number, 4) for number in (2, 0, 0, 3, 1)]
        done = [embed_files(model, keys, shard) for shard in shares]
        assert done == [None] * (len(shares) - 1) + [25]
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    assert np.load(tmp_path / "one" / "v.npy").shape == (25, model.dim)


def test_rows_are_made_once_by_all_that_share_a_folder(tmp_path):
    made: list[range] = []

    def make(rows: range) -> np.ndarray:
        made.append(rows)
        return np.array([[row, 2 * row] for row in rows])

    expected = [[row, 2 * row] for row in range(10)]
    folder = tmp_path / "rows"
    folder.mkdir()
    with ThreadPoolExecutor(1) as threads, FileLock(folder / "0.npy.lock"):  # another is at it
        found = threads.submit(rows_once, folder, 10, make, 4)
        while len(made) < 2:
            time.sleep(0.01)
        np.save(folder / "0.npy", np.array(expected[:4]) - 7)
    np.testing.assert_array_equal(found.result()[4:], expected[4:])
    np.testing.assert_array_equal(found.result()[:4], np.array(expected[:4]) - 7)
    assert made == [range(4, 8), range(8, 10)]
    np.testing.assert_array_equal(rows_once(folder, 10, make, 4), found.result())
    assert len(made) == 2  # and for all times
    (tmp_path / "file").touch()
    np.testing.assert_array_equal(rows_once(tmp_path / "file", 10, make, 4), expected)
    assert len(made) == 5


def test_who_comes_when_all_is_put_together_leaves_nothing(tmp_path):
    folder = tmp_path / ".job.2-shards"
    with Shard(0, 2).last(folder, ["a", "b"]) as whole:
        assert not whole
    assert list(tmp_path.iterdir()) == []
