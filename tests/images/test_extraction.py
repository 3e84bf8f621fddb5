"""Extraction: rows, lists, records; interrupted in every way, the same bytes come out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from conftest import contents
from vse_exp.errors import UserError
from vse_exp.images.computing import Settings
from vse_exp.images.decoding import open_picture
from vse_exp.images.encoding import picture_features
from vse_exp.images.extraction import extract_features, extract_share
from vse_exp.images.features import check_rows, open_features
from vse_exp.images.sources import open_pictures
from vse_exp.sharding import Shard

BATCH = Settings(batch_size=4)


def test_rows_names_and_record(odd_folder, tiny_net, tmp_path):
    result = extract_features(
        open_pictures(odd_folder), tiny_net(), tmp_path / "out_ims.npy", BATCH
    )
    names = (tmp_path / "out_images.txt").read_text().split()
    assert names == ["below/deep.png", *(f"photo{n}.jpg" for n in range(5))]
    rows = open_features(tmp_path / "out_ims.npy")
    assert (rows.shape, rows.dtype) == ((6, 6), np.float16)
    assert check_rows(rows, "rows")
    # each row is that of its picture
    paths = [odd_folder / name for name in names]
    np.testing.assert_allclose(rows, picture_features(tiny_net(), paths), atol=1e-3)
    reasons = dict(result.skipped)
    assert reasons.keys() == {"empty.jpg", "gone.jpg", "pipe.jpg", "truncated.jpg"}
    listed = (tmp_path / "out_skipped.csv").read_text().splitlines()
    assert listed[:3] == ["image,reason", "empty.jpg,empty file", "gone.jpg,no such file"]
    record = json.loads((tmp_path / "out_features.json").read_text())
    assert (record["n_images"], record["n_skipped"], record["row_shape"]) == (6, 4, [6])
    assert record["backbone"] == "tiny"
    assert record["transform"]["crop"] == 8
    assert not (tmp_path / ".out_ims.npy.unfinished").exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_change_nothing(photos, tiny_net, tmp_path, workers):
    source = open_pictures(photos(11))
    settings = Settings(batch_size=4, num_workers=workers, dtype="float32", unit_norm=False)
    extract_features(source, tiny_net(), tmp_path / "out.npy", settings)
    rows = np.load(tmp_path / "out.npy")
    paths = [source.root / name for name in source.names]
    assert rows.dtype == np.float32
    np.testing.assert_allclose(
        rows, picture_features(tiny_net(), paths, unit_norm=False), atol=1e-6
    )


def test_ten_crops_are_averaged_or_kept(photos, tiny_net, tmp_path):
    source, net = open_pictures(photos(5)), tiny_net("ten_crop")
    kept = Settings(batch_size=4, dtype="float32", average_views=False, unit_norm=False)
    extract_features(source, net, tmp_path / "kept.npy", kept)
    mean = Settings(batch_size=4, dtype="float32")
    extract_features(source, net, tmp_path / "mean.npy", mean)
    ten = torch.from_numpy(np.load(tmp_path / "kept.npy"))
    assert ten.shape == (5, 10, 6)
    expected = normalize(ten.mean(1), dim=-1)
    torch.testing.assert_close(torch.from_numpy(np.load(tmp_path / "mean.npy")), expected)


@pytest.mark.parametrize("average", [True, False])
def test_mirrored_views_and_grids(photos, tiny_net, tmp_path, average):
    """Against the network's own map of each view, cell by cell (6 x 6, and so 3 x 3 of 2 x 2)."""
    source, net = open_pictures(photos(3)), tiny_net(mirror=True, grid=3)
    settings = Settings(dtype="float32", unit_norm=False, average_views=average, batch_size=2)
    extract_features(source, net, tmp_path / "rows.npy", settings)
    rows = torch.from_numpy(np.load(tmp_path / "rows.npy"))
    assert rows.shape == ((3, 10, 6) if average else (3, 20, 6))
    record = json.loads((tmp_path / "rows_features.json").read_text())
    assert (record["grid"], record["transform"]["mirror"]) == (3, True)
    for name, row in zip(source.names, rows, strict=True):
        image = open_picture(source.root / name)
        straight = tiny_net().preprocessing.views_of(image)[0]
        views = []
        for mirrored in (False, True):
            pixels = straight.flip(-1) if mirrored else straight
            cells = net.module[:2](net.preprocessing.normalize(pixels[None]))[0]
            means = [cells.mean((1, 2))]
            for down in range(3):
                for right in range(3):
                    column = 2 - right if mirrored else right
                    rest = slice(2 * down, 2 * down + 2), slice(2 * column, 2 * column + 2)
                    means.append(cells[:, *rest].mean((1, 2)))
            views.append(torch.stack(means))
        expected = (views[0] + views[1]) / 2 if average else torch.cat(views)
        torch.testing.assert_close(row, expected)
    if average:
        found = picture_features(net, [source.root / name for name in source.names], False)
        np.testing.assert_allclose(found, rows, atol=1e-6)


def test_a_grid_needs_a_map(photos, tiny_net, tmp_path):
    net = tiny_net(grid=2)
    net.module.append(torch.nn.Linear(6, 5))
    with pytest.raises(UserError, match=r"a map of the 5 features"):
        extract_features(open_pictures(photos(1)), net, tmp_path / "rows.npy", BATCH)


class Stop(BaseException):
    pass


@pytest.mark.parametrize("after", range(5))
def test_stopped_anywhere_the_bytes_are_the_same(odd_folder, tiny_net, tmp_path, after):
    settings = Settings(batch_size=3)
    source = open_pictures(odd_folder)
    extract_features(source, tiny_net(), tmp_path / "whole" / "x_ims.npy", settings)
    calls = []

    def progress(done: int, total: int) -> None:
        calls.append(done)
        if len(calls) == after + 1:
            raise Stop

    output = tmp_path / "stopped" / "x_ims.npy"
    with pytest.raises(Stop):
        extract_features(source, tiny_net(), output, settings, progress)
    assert not output.exists()
    seen: list[int] = []
    result = extract_features(
        source, tiny_net(), output, settings, lambda done, total: seen.append(done)
    )
    assert seen[0] == calls[-1]  # nothing is made again
    assert result.made == 10 - seen[0]
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["half a line", "a line too much", "torn rows"])
def test_a_torn_journal_and_torn_rows_are_made_again(photos, tiny_net, tmp_path, damage):
    source = open_pictures(photos(10))
    extract_features(source, tiny_net(), tmp_path / "whole" / "x.npy", BATCH)

    def stop_at_eight(done: int, total: int) -> None:
        if done == 8:
            raise Stop

    output = tmp_path / "torn" / "x.npy"
    with pytest.raises(Stop):
        extract_features(source, tiny_net(), output, BATCH, stop_at_eight)
    journal = tmp_path / "torn" / ".x.npy.unfinished" / "journal.jsonl"
    if damage == "half a line":
        journal.write_bytes(journal.read_bytes()[:-9])
    elif damage == "a line too much":
        with open(journal, "a") as file:
            file.write('{"block": 2, "crc": 5, "skipped": []}\n{"block": 99, "crc"')
    else:
        rows = journal.with_name("rows.npy")
        content = bytearray(rows.read_bytes())
        content[-60:] = b"\0" * 60
        content[150] ^= 1
        rows.write_bytes(content)
    extract_features(source, tiny_net(), output, BATCH)
    assert contents(tmp_path / "torn") == contents(tmp_path / "whole")


CHILD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from conftest_images import tiny_backbone
from vse_exp.images.computing import Settings
from vse_exp.images.extraction import extract_features, extract_share
from vse_exp.images.sources import open_pictures
from vse_exp.sharding import Shard

source = open_pictures(sys.argv[2])
def slowly(done, total):
    print(done, flush=True)
    time.sleep(0.1)
settings = Settings(batch_size=4, num_workers=1)
extract_features(source, tiny_backbone(), sys.argv[3], settings, slowly)
"""


def test_kill_9(photos, tiny_net, tmp_path):
    source = open_pictures(photos(30))
    settings = Settings(batch_size=4, num_workers=1)
    extract_features(source, tiny_net(), tmp_path / "whole" / "x.npy", settings)
    output = tmp_path / "killed" / "x.npy"
    (tmp_path / "conftest_images.py").write_text(
        Path(__file__).with_name("conftest.py").read_text()
    )
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), str(source.root), str(output)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert child.stdout is not None
    with child.stdout:
        for line in child.stdout:
            if int(line) >= 8:
                os.kill(child.pid, signal.SIGKILL)
                break
    assert child.wait() == -signal.SIGKILL
    assert not output.exists()
    seen: list[int] = []
    extract_features(source, tiny_net(), output, settings, lambda done, total: seen.append(done))
    assert 8 <= seen[0] < 30
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_finished_is_finished(photos, tiny_net, tmp_path):
    source, output = open_pictures(photos(6)), tmp_path / "x.npy"
    extract_features(source, tiny_net(), output, BATCH)
    before = output.stat().st_mtime_ns
    again = extract_features(source, tiny_net(), output, BATCH)
    assert (again.made, again.n_images) == (0, 6)
    assert output.stat().st_mtime_ns == before
    other = Settings(batch_size=4, dtype="float32")
    with pytest.raises(UserError, match="made with other dtype: overwrite=true"):
        extract_features(source, tiny_net(), output, other)
    replaced = Settings(batch_size=4, dtype="float32", overwrite=True)
    extract_features(source, tiny_net(), output, replaced)
    assert np.load(output).dtype == np.float32


def test_an_unfinished_job_of_another_kind_is_not_mixed_in(photos, tiny_net, tmp_path):
    source, output = open_pictures(photos(6)), tmp_path / "x.npy"

    def stop(done: int, total: int) -> None:
        if done:
            raise Stop

    with pytest.raises(Stop):
        extract_features(source, tiny_net(), output, BATCH, stop)
    other = Settings(batch_size=4, unit_norm=False)
    with pytest.raises(UserError, match="unfinished extraction with other unit_norm"):
        extract_features(source, tiny_net(), output, other)
    restarted = Settings(batch_size=4, unit_norm=False, restart=True)
    extract_features(source, tiny_net(), output, restarted)


HOLD = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_two_at_once(photos, tiny_net, tmp_path):
    source, output = open_pictures(photos(6)), tmp_path / "x.npy"
    lock = tmp_path / ".x.npy.unfinished" / "lock"
    lock.parent.mkdir()
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    with pytest.raises(UserError, match="Another process is extracting"):
        extract_features(source, tiny_net(), output, BATCH)
    other.communicate()
    extract_features(source, tiny_net(), output, BATCH)


def test_refusal_keeps_what_is_done(odd_folder, tiny_net, tmp_path):
    source, output = open_pictures(odd_folder), tmp_path / "x.npy"

    def refuse(skipped: list[tuple[str, str]]) -> None:
        raise UserError(f"{len(skipped)} skipped")

    with pytest.raises(UserError, match="4 skipped"):
        extract_features(source, tiny_net(), output, BATCH, accept=refuse)
    assert not output.exists()
    assert not (tmp_path / "x_features.json").exists()
    assert extract_features(source, tiny_net(), output, BATCH).made == 0


def test_vectors_that_are_no_use_are_skipped(photos, tiny_net, tmp_path):
    net = tiny_net()
    with torch.no_grad():
        net.module[0].weight.zero_()
        net.module[0].bias.fill_(-1)
    with pytest.raises(UserError, match=r"Not one of 3 pictures.*zero or not finite features"):
        extract_features(open_pictures(photos(3)), net, tmp_path / "x.npy", BATCH)
    with torch.no_grad():
        net.module[0].bias.fill_(1e6)
    settings = Settings(batch_size=4, unit_norm=False)
    with pytest.raises(UserError, match="too large for dtype=float16"):
        extract_features(open_pictures(tmp_path / "many"), net, tmp_path / "y.npy", settings)


@pytest.mark.parametrize(
    ("output", "settings", "message"),
    [
        ("x.npz", Settings(), r"must end in \.npy"),
        ("x.npy", Settings(dtype="int8"), "Unknown dtype=int8"),
    ],
)
def test_mistakes(photos, tiny_net, tmp_path, output, settings, message):
    with pytest.raises(UserError, match=message):
        extract_features(open_pictures(photos(1)), tiny_net(), tmp_path / output, settings)


def test_a_picture_of_a_query_that_cannot_be_read(tiny_net, tmp_path):
    (tmp_path / "x.jpg").write_text("no")
    with pytest.raises(UserError, match=r"Cannot read the picture .*x\.jpg: not an image"):
        picture_features(tiny_net(), [tmp_path / "x.jpg"])
    assert picture_features(tiny_net(), []).shape == (0, 6)


@pytest.mark.parametrize("count", [1, 3, 7])
def test_extracted_shares_are_the_bytes_of_one_run(count, photos, tiny_net, tmp_path):
    """Broken pictures among them; some shares are empty, and one is made again before the end."""
    folder = photos(11)
    (folder / "004.jpg").write_bytes(b"no picture")
    source, settings = open_pictures(folder), Settings(batch_size=2)
    extract_features(source, tiny_net(), tmp_path / "one" / "x_ims.npy", settings)
    order = [*reversed(range(count))]
    for number in [order[0], *order]:
        output = tmp_path / "shares" / "x_ims.npy"
        made = extract_share(source, tiny_net(), output, settings, Shard(number, count))
        if count > 1:
            assert (made is None) == (number > 0)
    assert contents(tmp_path / "shares") == contents(tmp_path / "one")
    assert "x_skipped.csv" in contents(tmp_path / "one")
    again = extract_share(source, tiny_net(), output, settings, Shard(0, count))
    assert again is not None
    assert again.made == 0
