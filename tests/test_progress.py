"""Progress where standard error is no terminal: lines, seldom; and nothing unasked."""

from __future__ import annotations

from vse_exp import alive
from vse_exp.progress import progress, track


def test_lines_say_what_is_done_and_left(capsys, monkeypatch):
    monkeypatch.setattr(alive, "LINE_SECONDS", 0)
    with progress("photos", "images") as update:
        for done in (20, 30, 40):
            update(done, 40)
    first, second, third = capsys.readouterr().err.splitlines()
    assert first == "photos: 20 of 40 images were done before"
    assert second.startswith("photos: 30 of 40 images, ")
    assert third.endswith(" 0 s left")


def test_short_work_says_nothing(capsys):
    assert list(track(range(5), "counting")) == [0, 1, 2, 3, 4]
    assert list(track([3], "counting", shown=False)) == [3]
    assert capsys.readouterr() == ("", "")
