"""Shards: the same training as files, the same batches after any interruption, every image once a
pass, and refusals."""

from __future__ import annotations

import io
import json
import signal
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import configuration, random_captions, random_features, write_dataset
from shards import add, write_shards
from vse_exp.data.datamodule import RetrievalDataModule
from vse_exp.data.places import expand
from vse_exp.data.shards import Shards
from vse_exp.data.shards.blocks import find_blocks, read_block
from vse_exp.errors import Interrupted, UserError
from vse_exp.images.preprocessing import Preprocessing
from vse_exp.training.building import plain
from vse_exp.training.fit import train
from vse_exp.training.interruption import SaveOnSignal

N, EACH = 60, 3
KINDS = ["tar", "parquet"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VSE_CACHE_DIR", str(tmp_path / "cache"))


def png(colour: int) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (12, 12), (colour, 0, 0)).save(content, "PNG")
    return content.getvalue()


def datamodule(tmp_path: Path, kind: str, *overrides: str, seed: int = 3) -> RetrievalDataModule:
    """Sixty images in twelve blocks, some four pools a pass."""
    write_dataset(tmp_path / "data") if not (tmp_path / "data").exists() else None
    place = write_shards(
        tmp_path / kind, kind, random_captions(N * EACH), random_features(N).astype(np.float32)
    )
    cfg = configuration(
        tmp_path / "data", tmp_path / "run", "data=shards", f"data.layout.train='{place}'",
        "data.layout.block=5", "data.layout.pool=3", *overrides,
    )  # fmt: skip
    return RetrievalDataModule(plain(cfg.data), seed)


def key(batch: Any) -> tuple[list[int], list[list[int]], float]:
    return batch.image_index.tolist(), batch.tokens.tolist(), float(batch.images.double().sum())


def epochs(loader: Any, count: int) -> list[Any]:
    return [key(batch) for _ in range(count) for batch in loader]


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_that_is_one_pool_trains_as_its_files_do(kind, tmp_path):
    """To the bit: weights, and recalls on dev and test."""
    root = write_dataset(tmp_path / "data", images=N)
    found = {}
    for name in ("files", "shards"):
        own = [] if name == "files" else ["data=shards"] + [
            f"data.layout.{split}='{place}'"
            for split in ("train", "dev", "test")
            for place in [write_shards(
                tmp_path / split, kind,
                (root / "tiny" / f"tiny_{split}_caps.txt").read_text().splitlines(),
                np.load(root / "tiny" / f"tiny_{split}_ims.npy"),
            )]
        ] + ["data.layout.pool=20"]  # fmt: skip
        results = train(configuration(root, tmp_path / name, *own))
        last = torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)
        found[name] = (results["dev"]["rsum"], results["test"]["rsum"], last["state_dict"])
    assert found["files"][:2] == found["shards"][:2]
    for name, value in found["files"][2].items():
        assert torch.equal(value, found["shards"][2][name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_each_image_stands_once_in_a_pass_with_its_own_captions_and_row(kind, tmp_path):
    loader = datamodule(tmp_path, kind).train_dataloader()
    assert len(loader) == round(N * EACH / 4)
    captions, rows = random_captions(N * EACH), random_features(N)
    module = datamodule(tmp_path, kind)
    seen: list[tuple[int, tuple[str, ...]]] = []
    pools = module.pools
    assert pools is not None
    assert pools.count == 4
    for number in range(pools.count):
        pool = pools.read(number)
        assert pool.image_numbers is not None
        assert np.array_equal(
            pool.image_features.rows(slice(None)).numpy(), rows[pool.image_numbers]
        )
        for image, numbered in enumerate(pool.image_numbers):
            own = [pool.captions[i] for i in np.flatnonzero(pool.caption_image == image)]
            seen.append((int(numbered), tuple(own)))
    assert sorted(seen) == [(n, tuple(captions[n * EACH : n * EACH + EACH])) for n in range(N)]
    later = pools.read(pools.count)
    assert set(later.image_numbers.tolist()) != set(pools.read(0).image_numbers.tolist())  # type: ignore[union-attr]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_going_on_anywhere_gives_the_batches_of_one_that_was_not_interrupted(
    kind, workers, tmp_path
):
    """At points all over three epochs, which do not end with a pass; with workers, other pools."""
    options = (f"data.num_workers={workers}", "data.steps_per_epoch=13")
    whole = epochs(datamodule(tmp_path, kind, *options).train_dataloader(), 3)
    assert len(whole) == 39
    for stop in (1, 5, 12, 13, 14, 30) if workers == 0 else (5, 13, 30):
        loader = datamodule(tmp_path, kind, *options).train_dataloader()
        state: Any = None
        done = 0
        while done < stop:
            for _ in loader:
                done += 1
                state = json.loads(json.dumps(loader.state_dict()))
                if done == stop:
                    break
        later = datamodule(tmp_path, kind, *options)
        later.load_state_dict({"train": state})
        rest = later.train_dataloader()
        ahead = [key(batch) for batch in rest] if stop % 13 else []
        assert (ahead + epochs(rest, 3))[: 39 - stop] == whole[stop:]


def test_processes_and_workers_have_pools_of_their_own_and_as_many_updates(tmp_path):
    module = datamodule(tmp_path, "tar")
    pools = module.pools
    assert pools is not None
    from vse_exp.data.dealing import Dealer
    from vse_exp.data.streaming import stream_loader

    images = []
    for rank in range(2):
        deal = Dealer(module.config, module.vocabulary, 3, rank, 2)
        loader = stream_loader(pools, deal, 0)
        assert len(loader) == round(N * EACH / 8)
        images.append({number for batch in loader for number in batch.image_index.tolist()})
    assert not images[0] & images[1]
    assert len(images[0] | images[1]) > 0.9 * N


def test_a_given_vocabulary_is_what_a_file_says(tmp_path):
    """No caption is read for it; a word that it lacks is unknown."""
    words = tmp_path / "words.txt"
    words.write_text("dog\na\nzebra\n")
    keys = (f"data.vocabulary.file={words}", "data.vocabulary.prefix=['<start>']")
    module = datamodule(tmp_path, "tar", *keys)
    assert module.vocabulary.words == ["<start>", "dog", "a", "zebra"]
    assert "train" not in module._splits
    assert module.vocabulary.encode(["a dog ran"]).tokens.tolist() == [3, 5, 4, 2, 1]
    batch = next(iter(module.train_dataloader()))
    assert int(batch.tokens.max()) < len(module.vocabulary)
    words.write_text("dog\na\ndog\n")
    with pytest.raises(UserError, match="'dog' more than once"):
        datamodule(tmp_path, "tar", *keys).vocabulary  # noqa: B018


def test_no_batch_has_an_image_twice(tmp_path):
    for batch in datamodule(tmp_path, "tar", "data.captions_together=1").train_dataloader():
        assert len(batch.image_index.unique()) == len(batch.image_index)


@pytest.mark.parametrize(("workers", "stop"), [(0, 14), (2, 6)])
def test_an_interrupted_training_ends_with_the_same_weights(workers, stop, tmp_path, monkeypatch):
    place = datamodule(tmp_path, "tar").config["layout"]["train"]
    overrides = [
        "data=shards", f"data.layout.train='{place}'", "data.layout.block=5",
        "data.layout.pool=3", f"data.num_workers={workers}", "max_epochs=2",
        "data.steps_per_epoch=10", "valid_freq=100",
    ]  # fmt: skip
    whole, cut = (configuration(tmp_path / "data", tmp_path / name, *overrides) for name in "ab")
    train(whole)
    receive = SaveOnSignal.on_train_batch_end

    def signalled(self, trainer, *arguments):
        if trainer.global_step == stop:
            signal.raise_signal(signal.SIGTERM)
        receive(self, trainer, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(SaveOnSignal, "on_train_batch_end", signalled)
        with pytest.raises(Interrupted):
            train(cut)
    train(cut)
    mine, theirs = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in "ba"
    )
    for name, value in theirs.items():
        assert torch.equal(value, mine[name]), name


def test_other_workers_than_before_are_refused(tmp_path):
    state = datamodule(tmp_path, "tar").train_dataloader().state_dict()
    module = datamodule(tmp_path, "tar", "data.num_workers=2")
    module.load_state_dict({"train": state})
    with pytest.raises(UserError, match="num_workers as before"):
        module.train_dataloader()


def test_pictures_of_img2datasets_tars(tmp_path):
    """A picture, a caption and a record each; what is broken or has no caption is left out."""
    with tarfile.open(tmp_path / "00000.tar", "w") as archive:
        for number in range(4):
            name = f"{number:09}"
            add(archive, f"{name}.jpg", png(60 * number) if number != 2 else b"<html>")
            add(archive, f"{name}.json", json.dumps({"caption": f"red {number}"}).encode())
            add(archive, f"{name}.txt", b"" if number == 1 else f"red {number}".encode())
    preprocessing = Preprocessing.from_dict(
        {"view": "crop", "resize": 8, "crop": 8, "interpolation": "bilinear",
         "mean": [0, 0, 0], "std": [1, 1, 1], "bgr": False}
    )  # fmt: skip
    layout = Shards(train=str(tmp_path / "{00000..00000}.tar"))
    split = layout.split("train", preprocessing)
    assert split is not None
    assert split.captions == ["red 0", "red 3"]
    assert split.image_features.rows(slice(None)).amax((1, 2, 3)).tolist() == [0, 180]
    assert split.image_numbers is not None
    assert split.image_numbers.tolist() == [0, 3]


def test_pictures_in_parquet_as_the_hub_has_them(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="needs the extra `tables`")
    from pyarrow.parquet import write_table

    cells = [{"bytes": png(100), "path": "a.png"}, {"bytes": None, "path": "b.png"}]
    write_table(pa.table({"image": cells, "caption": ["one", "two"]}), tmp_path / "a.parquet")
    (block,) = find_blocks([str(tmp_path / "a.parquet")], 10, tmp_path)
    found = read_block(block, True, None, None)
    assert found.captions == [["one"]]
    assert found.images == [png(100)]


def test_the_index_is_made_once_and_again_where_a_shard_has_changed(tmp_path):
    place = write_shards(tmp_path / "x", "tar", random_captions(20), random_features(10))
    (shard,) = expand(place, "train")
    blocks = find_blocks([shard], 4, tmp_path)
    assert [block.n_images for block in blocks] == [4, 4, 2]
    assert [block.first for block in blocks] == [0, 4, 8]
    (index,) = (tmp_path / "shards").glob("*.json")
    index.write_text("[[[0, 512, 7]]]")
    assert find_blocks([shard], 4, tmp_path)[0].n_images == 7  # read, not made
    write_shards(tmp_path / "x", "tar", random_captions(24), random_features(12))
    assert sum(block.n_images for block in find_blocks([shard], 4, tmp_path)) == 12


def test_places(tmp_path):
    assert expand("s3/{08..10}.tar", "train") == ["s3/08.tar", "s3/09.tar", "s3/10.tar"]
    with pytest.raises(UserError, match="No shards"):
        expand(f"{tmp_path}/*.tar", "train")
    with pytest.raises(UserError, match="neither"):
        expand(f"{tmp_path}/a.zip", "train")


def test_mistakes_are_told(tmp_path):
    huge = bytearray(tarfile.TarInfo("a.png").tobuf(tarfile.GNU_FORMAT))
    huge[124:136] = b"\x80\0\0" + b"\x7f" * 9  # bytes that it says it has
    huge[148:155] = b"%06o\0" % (sum(huge) - sum(huge[148:156]) + 8 * 32)
    for content in (b"nothing of a tar" * 100, bytes(huge) + bytes(1024)):
        (tmp_path / "a.tar").write_bytes(content)
        with pytest.raises(UserError, match="no complete tar"):
            find_blocks([str(tmp_path / "a.tar")], 4, tmp_path)
    with pytest.raises(UserError, match="Cannot read the shard"):
        find_blocks([str(tmp_path / "b.tar")], 4, tmp_path)
    write_shards(tmp_path / "x", "tar", random_captions(20), random_features(10))
    (block,) = find_blocks([str(tmp_path / "x" / "000.tar")], 20, tmp_path)
    with pytest.raises(UserError, match="holds no picture"):
        read_block(block, True, None, None)
