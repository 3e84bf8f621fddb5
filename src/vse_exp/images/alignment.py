"""Keeping the rows of features in step with the captions that lie beside them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from vse_exp.errors import UserError
from vse_exp.files import as_lines, read_lines, write_texts
from vse_exp.images.sources import read_names
from vse_exp.split_files import SplitFiles


def prepared_outputs(folder: Path) -> list[Path]:
    """Where the features of each split of a prepared data set belong: `NAME_ims.npy`."""
    outputs = [files.features for files in SplitFiles.in_folder(folder)]
    if not outputs:
        raise UserError(
            f"output={folder} is a folder without NAME_caps.txt and NAME_images.txt: give a .npy "
            "file, or make a data set there with `python -m vse_exp.prepare`."
        )
    return outputs


def names_to_follow(files: SplitFiles, given: Path | None) -> list[str] | None:
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


def drop_captions(files: SplitFiles, left_out: Collection[str]) -> int:
    """Take pictures out of captions and image list alike; the number of captions left is returned.

    The list has a line a caption, or a line a picture with equally many captions each.
    """
    names, captions = read_lines(files.images), read_lines(files.captions)
    if len(captions) % len(names):
        raise UserError(
            f"{files.captions} has {len(captions)} lines and {files.images} has {len(names)}: they "
            "do not belong together."
        )
    each = len(captions) // len(names)
    kept = [number for number, name in enumerate(names) if name not in left_out]
    rows = [number * each + i for number in kept for i in range(each)]
    texts = {files.captions: [captions[row] for row in rows]}
    texts[files.images] = [names[number] for number in kept]
    if files.caption_ids.is_file():
        ids = read_lines(files.caption_ids)
        if len(ids) != len(captions):
            raise UserError(
                f"{files.caption_ids} has {len(ids)} lines for {len(captions)} captions: remove "
                "it, or make the data set anew."
            )
        texts[files.caption_ids] = [ids[row] for row in rows]
    write_texts({path: as_lines(lines) for path, lines in texts.items()})
    return len(rows)
