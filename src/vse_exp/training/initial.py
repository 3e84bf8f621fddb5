"""The trained model that a training starts from."""

from __future__ import annotations

from omegaconf import DictConfig

from vse_exp.cli import plain
from vse_exp.compat.loading import load_file
from vse_exp.data.datamodule import RetrievalDataModule
from vse_exp.errors import UserError
from vse_exp.images.provenance import require_compatible
from vse_exp.models.vse import VSE
from vse_exp.parts import packages_of


class Initial:
    """The model of the key `init`: ours, the original's or VSE++'s. Its vocabulary is the new
    model's. UserError where there is none such."""

    def __init__(self, cfg: DictConfig) -> None:
        self.source: str = cfg.init
        # who names a class of a package in the config of a training trusts it
        self.model = load_file(self.source, trust=sorted(packages_of(plain(cfg.model))))

    def require_features(self, model: VSE, datamodule: RetrievalDataModule) -> None:
        """UserError where a new model has, or makes by its backbone, other features than it."""
        allow = bool(datamodule.config["allow_feature_mismatch"])
        known, given = self.model.provenance, datamodule.provenance
        if known is not None and given is None:
            given = known | model.image_encoder.makes
        require_compatible(known, given, allow, "data.allow_feature_mismatch")

    def give(self, model: VSE) -> None:
        """Its weights to a new model, also those of one on features to one whose backbone makes
        them. UserError where they do not fit."""
        for side in ("sentence_encoder", "image_encoder"):
            try:
                getattr(model, side).adopt(getattr(self.model, side))
            except RuntimeError as error:
                reason = str(error).splitlines()[-1].strip().rstrip(".")
                raise UserError(
                    f"init={self.source}: its {side} does not fit ({reason}): give the same keys "
                    "of `model` as it was trained with."
                ) from error
