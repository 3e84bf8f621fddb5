"""How image features were made: written beside them, and compared when a model meets others."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from vse_exp.errors import UserError
from vse_exp.files import MAX_RECORD, read_json
from vse_exp.split_files import SplitFiles

log = logging.getLogger(__name__)

VERSION = 1


def read_provenance(features: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What is recorded of the feature file `features` (.npy), or None where nothing is.

    UserError where the record is broken.
    """
    path = SplitFiles.of_features(features).provenance
    return read_record(path) if os.path.isfile(path) else None


def feature_record(features: str | os.PathLike[str]) -> dict[str, Any] | None:
    """How a feature file was made: what is recorded beside it, or for its whole folder in
    `features.json`; None where nothing is. UserError where the record is broken."""
    record = read_provenance(features)
    folder = SplitFiles.of_features(features).folder_provenance
    return read_record(folder) if record is None and os.path.isfile(folder) else record


def read_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A record of features in a JSON file. UserError where it is missing, broken or none."""
    try:
        content = read_json(path, MAX_RECORD)
    except UserError as error:
        raise UserError(
            f"{error} It should record how features were made: extract them again."
        ) from error
    if not isinstance(content, dict) or "backbone" not in content:
        raise UserError(f"{path} is no record of features: extract them again or remove it.")
    return content


def require_compatible(
    model_provenance: Mapping[str, Any] | None,
    data_provenance: Mapping[str, Any] | None,
    allow: bool,
    key: str = "allow_feature_mismatch",
) -> None:
    """UserError where features were made otherwise than a model's; a warning if `allow`, the value
    of the config's `key`."""
    difference = check_compatible(model_provenance, data_provenance)
    if difference and not allow:
        raise UserError(f"{difference}: use the same, or set {key}=true.")
    if difference:
        log.warning("%s.", difference)


def check_compatible(
    model_provenance: Mapping[str, Any] | None, data_provenance: Mapping[str, Any] | None
) -> str | None:
    """A sentence on what differs between the features of a model and of data; None: nothing.

    What is not recorded on one side is not compared. The number type does not count.
    """
    if not model_provenance or not data_provenance:
        return None
    differences = []
    for key, value in _comparable(model_provenance).items():
        other = _comparable(data_provenance).get(key)
        if other != value:
            differences.append(f"{key} {_short(value)} and {_short(other)}")
    if not differences:
        return None
    return (
        "The image features were not made as those that the model was trained on (model and data "
        f"differ in {'; '.join(differences)})"
    )


def _comparable(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the values of features, under the names of the command's keys."""
    flat = {
        "backbone": provenance.get("backbone"),
        "weights": provenance.get("weights_sha256"),
        "unit_norm": provenance.get("unit_norm"),
        "grid": provenance.get("grid"),
    }
    transform = dict(provenance.get("transform") or {})
    if transform.get("view") == "frame":  # its name before
        transform["view"] = "squash"
    if not transform.get("mirror"):  # older records do not say it
        transform.pop("mirror", None)
    return flat | {f"transform.{key}": value for key, value in transform.items()}


def _short(value: Any) -> str:
    text = str(value)
    return text[:12] + "…" if len(text) == 64 else text
