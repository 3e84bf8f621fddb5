"""The files of a split on disk: what each is called, and where it lies."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vse_exp.errors import UserError


@dataclass(frozen=True)
class SplitFiles:
    """The files that begin with `stem`, but for those `given` by name (captions, features, images).

    A data set `name` under `root` has the stems `{root}/{name}/{name}_{split}` (the original's),
    `{root}/{name}_precomp/{split}` (VSE++'s) or `{root}/{name}/{split}`.
    """

    stem: Path
    given: Mapping[str, Path] = field(default_factory=dict)

    @classmethod
    def find(cls, root: str | os.PathLike[str], name: str, split: str) -> SplitFiles:
        """Those of the first stem that has captions. UserError says where it looked."""
        root = Path(root)
        stems = [
            root / name / f"{name}_{split}",
            root / f"{name}_precomp" / split,
            root / name / split,
        ]
        for found in map(cls, stems):
            if os.path.isfile(found.captions):
                return found
        looked = ", ".join(f"{stem}_caps.txt" for stem in stems)
        raise UserError(
            f"No {split} split of data set {name!r} (looked for {looked}): set VSE_DATA_DIR or "
            "paths.data_dir to the folder that holds it, or make it with `python -m "
            "vse_exp.prepare` (captions) and `python -m vse_exp.extract` (image features)."
        )

    @classmethod
    def named(cls, files: Mapping[str, str | None], split: str) -> SplitFiles:
        """Those named by the keys `data.files.{split}`: captions, and what does not lie beside them
        under their stem. UserError where one is missing."""
        given = {key: Path(path) for key, path in files.items() if path}
        if "captions" not in given:
            raise UserError(f"data.files.{split}.captions is not set: give the path of that file.")
        for key, path in given.items():
            if not os.path.isfile(path):
                raise UserError(f"No file {path} (data.files.{split}.{key}): correct the path.")
        captions = given["captions"]
        name = captions.name.removesuffix("_caps.txt").removesuffix(".txt")
        return cls(captions.with_name(name), given)

    @classmethod
    def of_features(cls, features: str | os.PathLike[str]) -> SplitFiles:
        """Those beside a feature file `NAME_ims.npy` or `NAME.npy`."""
        path = Path(features)
        return cls(path.with_name(path.stem.removesuffix("_ims")), {"features": path})

    @classmethod
    def in_folder(cls, folder: Path) -> list[SplitFiles]:
        """Those of all splits in a folder that have captions and names of images."""
        ends = "_caps.txt"
        found = [cls(path.with_name(path.name[: -len(ends)])) for path in folder.glob(f"*{ends}")]
        return sorted((files for files in found if files.prepared), key=lambda files: files.stem)

    def _beside(self, ending: str) -> Path:
        return self.stem.with_name(self.stem.name + ending)

    @property
    def captions(self) -> Path:
        """Captions, a line each."""
        return self.given.get("captions") or self._beside("_caps.txt")

    @property
    def features(self) -> Path:
        """Image features, a row an image (or, the original's way, a caption)."""
        return self.given.get("features") or self._beside("_ims.npy")

    @property
    def images(self) -> Path:
        """File names of the images, a line an image or a caption; may be absent."""
        return self.given.get("images") or self._beside("_images.txt")

    @property
    def caption_ids(self) -> Path:
        """COCO's annotation id of each caption, a line each; may be absent."""
        return self._beside("_caption_ids.txt")

    @property
    def languages(self) -> Path:
        """The language of each caption, a line each; may be absent."""
        return self._beside("_languages.txt")

    @property
    def choices(self) -> Path:
        """Questions of right and wrong captions of the split (`evaluate`); may be absent."""
        return self._beside("_choices.jsonl")

    @property
    def prepared(self) -> bool:
        """Whether there are captions and their list of images, which rows must follow."""
        return os.path.isfile(self.captions) and os.path.isfile(self.images)

    @property
    def provenance(self) -> Path:
        """How the features were made."""
        return self.of_features(self.features)._beside("_features.json")

    @property
    def folder_provenance(self) -> Path:
        """How all features in the folder were made."""
        return self.features.with_name("features.json")

    @property
    def skipped(self) -> Path:
        """CSV of the pictures that gave no row, and why."""
        return self.of_features(self.features)._beside("_skipped.csv")

    @property
    def unfinished(self) -> Path:
        """Folder of an extraction that has not ended."""
        return self.features.with_name(f".{self.features.name}.unfinished")

    def find_pictures(self, split: str) -> str | None:
        """Where the pictures lie: in `images_{split}.tar` or in what is called `images` beside the
        captions (a folder, or the link that `vse_exp.prepare` makes); None: in neither."""
        for place in (f"images_{split}.tar", "images"):
            path = self.captions.with_name(place)
            if os.path.exists(path):
                return os.path.realpath(path)
        return None
