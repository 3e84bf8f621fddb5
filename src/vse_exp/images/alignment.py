"""Keeping the rows of features in step with the captions that lie beside them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from vse_exp.errors import UserError
from vse_exp.files import as_lines, read_text, write_text
from vse_exp.images.provenance import FeatureFiles
from vse_exp.images.sources import read_names


def prepared_outputs(folder: Path) -> list[Path]:
    """Where the features of each split of a prepared data set belong: `NAME_ims.npy`."""
    outputs = []
    for captions in sorted(folder.glob("*_caps.txt")):
        stem = captions.name.removesuffix("_caps.txt")
        if captions.with_name(f"{stem}_images.txt").is_file():
            outputs.append(captions.with_name(f"{stem}_ims.npy"))
    if not outputs:
        raise UserError(
            f"output={folder} is a folder without NAME_caps.txt and NAME_images.txt: give a .npy "
            "file, or make a data set there with `python -m vse_exp.prepare`."
        )
    return outputs


def names_to_follow(files: FeatureFiles, given: Path | None) -> list[str] | None:
    """The names that rows must follow: of the list given, or of the one beside captions.

    UserError where both are there and differ.
    """
    own = read_names(files.images) if files.prepared else None
    if given is None:
        return own
    names = read_names(given)
    if own is not None and names != own:
        raise UserError(
            f"list={given} differs from {files.images}, which belongs to {files.captions}: leave "
            "out list=…, or give another output."
        )
    return names


def drop_captions(files: FeatureFiles, left_out: Collection[str]) -> int:
    """Take pictures out of captions and image list alike; the number of captions left is returned.

    The list has a line a caption, or a line a picture with equally many captions each.
    """
    names, captions = _lines(files.images), _lines(files.captions)
    if len(captions) % len(names):
        raise UserError(
            f"{files.captions} has {len(captions)} lines and {files.images} has {len(names)}: they "
            "do not belong together."
        )
    each = len(captions) // len(names)
    kept = [number for number, name in enumerate(names) if name not in left_out]
    rows = [number * each + i for number in kept for i in range(each)]
    if files.caption_ids.is_file():
        ids = _lines(files.caption_ids)
        if len(ids) != len(captions):
            raise UserError(
                f"{files.caption_ids} has {len(ids)} lines for {len(captions)} captions: remove "
                "it, or make the data set anew."
            )
        _write_lines(files.caption_ids, [ids[row] for row in rows])
    _write_lines(files.captions, [captions[row] for row in rows])
    _write_lines(files.images, [names[number] for number in kept])
    return len(rows)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    write_text(path, as_lines(lines))


def _lines(path: Path) -> list[str]:
    lines = [line.strip() for line in read_text(path).split("\n")]
    return lines[:-1] if lines[-1] == "" else lines
