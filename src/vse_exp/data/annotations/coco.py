"""COCO's `captions_*.json`, and Karpathy's `dataset_*.json` with the splits used in papers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vse_exp.data.annotations.records import Reading, Record
from vse_exp.errors import UserError

RESTVAL = ("train", "keep", "drop")


def is_coco(content: dict[str, Any]) -> bool:
    return "images" in content and "annotations" in content


def is_karpathy(content: dict[str, Any]) -> bool:
    images = content.get("images")
    return isinstance(images, list) and any("sentences" in image for image in images[:1])


def read_coco(path: Path, content: dict[str, Any]) -> Reading:
    """Captions by image id; the split is that of the file name (`captions_val2017.json`: dev)."""
    split = next((name for name in ("train", "val", "test") if name in path.stem.lower()), None)
    try:
        names = {image["id"]: image["file_name"] for image in content["images"]}
        records, malformed = [], []
        for number, entry in enumerate(content["annotations"]):
            image, caption = names.get(entry["image_id"]), entry["caption"]
            if entry["image_id"] not in names:
                reason = f"image_id {entry['image_id']} is not among the images"
            elif not (isinstance(image, str) and image.strip()):
                reason = f"the image {entry['image_id']} has no file_name"
            elif not isinstance(caption, str):
                reason = "the caption is no text"
            else:
                records.append(Record(image, caption, split, entry.get("id")))
                continue
            malformed.append(f"{path.name} annotation {number}: {reason}")
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} lacks {error} where COCO's captions have it.") from error
    bare = len(set(names.values()) - {record.image for record in records})
    return Reading(str(path), "coco", records, malformed, bare)


def read_karpathy(path: Path, content: dict[str, Any], restval: str = "train") -> Reading:
    """Raw sentences by image, with splits.

    `restval` (COCO's validation pictures beyond dev and test) goes to `train`, is kept as a split
    of its own (`keep`), or left out (`drop`).
    """
    if restval not in RESTVAL:
        raise UserError(f"Unknown restval={restval}: choose one of {', '.join(RESTVAL)}.")
    records: list[Record] = []
    malformed: list[str] = []
    bare = 0
    official = content.get("dataset") == "coco"  # other sets' sentences have running numbers
    try:
        for image in content["images"]:
            split = image["split"]
            if split == "restval":
                if restval == "drop":
                    continue
                split = "rest" if restval == "keep" else "train"
            folder = image.get("filepath")
            name = f"{folder}/{image['filename']}" if folder else image["filename"]
            bare += not image["sentences"]
            for sentence in image["sentences"]:
                number = sentence.get("sentid") if official else None
                if not (isinstance(name, str) and isinstance(sentence["raw"], str)):
                    malformed.append(f"{path.name} {name}: a name or sentence is no text")
                    continue
                records.append(Record(name, sentence["raw"], split, number))
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} lacks {error} where Karpathy's files have it.") from error
    return Reading(str(path), "karpathy", records, malformed, bare)
