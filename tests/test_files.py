"""Reading with limits, and writing: what stands at the place is replaced whole, or left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from vse_exp.errors import UserError, printable
from vse_exp.files import (
    atomic_path,
    new_folder,
    read_json,
    read_lines,
    read_text,
    write_json,
    write_text,
    write_texts,
)


def test_a_link_stays_one_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere/results.json"
    target.write_text("old")
    link = tmp_path / "out.json"
    link.symlink_to(target)
    write_json(link, {"rsum": 1})
    assert link.is_symlink()
    assert json.loads(target.read_text()) == {"rsum": 1}
    assert sorted(path.name for path in tmp_path.rglob(".*")) == []


def test_a_pipe_gets_the_content_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe.txt"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()), daemon=True)
    reader.start()
    write_text(pipe, "through")
    reader.join(10)
    assert got == ["through"]
    assert pipe.is_fifo()


def test_devices_are_written_to_and_not_replaced():
    write_text("/dev/null", "gone")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(UserError, match="Cannot write /dev/full: No space left"):
        write_text("/dev/full", "no room")
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize("redirected", [False, True])
def test_standard_output_as_a_file(tmp_path, redirected):
    code = "from vse_exp.files import write_text\nwrite_text('/dev/stdout', 'told\\n')"
    kept = tmp_path / "kept.txt"
    if redirected:
        with open(kept, "wb") as file:
            subprocess.run([sys.executable, "-c", code], stdout=file, check=True, timeout=60)
        assert kept.read_text() == "told\n"
    else:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, timeout=60
        )
        assert done.stdout == b"told\n"


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(UserError, match="Cannot write"):
        write_text(tmp_path, "text")
    assert list(tmp_path.iterdir()) == []


def test_several_files_are_written_together_or_not_at_all(tmp_path):
    (tmp_path / "train.txt").write_text("old")
    texts = {tmp_path / "train.txt": "new", Path("/dev/full"): "no room"}
    with pytest.raises(UserError, match="No space left"):
        write_texts(texts)
    assert (tmp_path / "train.txt").read_text() == "old"
    write_texts({tmp_path / name: name for name in ("train.txt", "dev.txt")})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dev.txt", "train.txt"]
    assert (tmp_path / "train.txt").read_text() == "train.txt"


def test_a_failure_leaves_what_was_there(tmp_path):
    (tmp_path / "a.npy").write_text("old")
    with suppress(KeyError), atomic_path(tmp_path / "a.npy") as temporary:
        temporary.write_text("half")
        raise KeyError
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_folder_through_a_link(tmp_path):
    (tmp_path / "large").mkdir()
    (tmp_path / "large/mark").write_text("")
    link = tmp_path / "gallery"
    link.symlink_to(tmp_path / "large")
    with new_folder(link, overwrite=True, mark="mark") as folder:
        (folder / "new").write_text("")
    assert link.is_symlink()
    assert [path.name for path in (tmp_path / "large").iterdir()] == ["new"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "line 1 is no JSON that can be read"),
        (b'{"a":\n' + b"9" * 5000 + b"}", "line 1 is no JSON that can be read"),
        (b'{"a": 1,\n', "line 2 is broken JSON"),
        (b"\xff{}", "line 1 is not UTF-8"),
        (b"\x00", "line 1 is broken JSON"),
    ],
)
def test_broken_json_is_one_sentence(tmp_path, content, message):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_json(path)


def test_reading_stops_at_the_limit(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("12345")
    assert read_text(path, 5) == "12345"
    with pytest.raises(UserError, match="more than 4 bytes"):
        read_text(path, 4)
    with pytest.raises(UserError, match="more than 1,000 bytes"):
        read_text("/dev/zero", 1000)
    with pytest.raises(UserError, match=r"Cannot read .*: Is a directory"):
        read_text(tmp_path)


def test_lines(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes("\ufeffA dog .\r\n B \n".encode())
    assert read_lines(path) == ["A dog .", "B"]
    path.write_text("a\n\nb\n")
    with pytest.raises(UserError, match=r"x\.txt line 2 is empty"):
        read_lines(path)
    path.write_text("")
    with pytest.raises(UserError, match="is empty"):
        read_lines(path)


def test_a_terminal_gets_no_control_characters():
    assert printable("a\x1b[2J dog\nران می\u200cرود") == "a�[2J dog ران می\u200cرود"
