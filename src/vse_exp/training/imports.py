"""Lightning without what torchmetrics loads for metrics that are not used here."""

from __future__ import annotations

import sys

UNUSED = ("matplotlib", "scipy", "torchvision", "transformers")
"""Packages that torchmetrics imports where they are installed, for some metrics and for plots."""


def import_lightning() -> None:
    """Import Lightning, and torchmetrics with it, as if the packages of `UNUSED` were not there.

    This saves a training about three seconds of processor time before its first step. It is for a
    process of our own: metrics of torchmetrics that need one of these will miss it. The packages
    themselves can be imported afterwards as ever.
    """
    if "torchmetrics" in sys.modules:
        return
    from lightning_utilities.core import imports

    package_available, is_met = imports.package_available, imports.RequirementCache.__bool__

    def unless_unused(self: imports.RequirementCache) -> bool:
        return not str(self.requirement).startswith(UNUSED) and is_met(self)

    imports.package_available = lambda name: name not in UNUSED and package_available(name)
    imports.RequirementCache.__bool__ = unless_unused
    try:
        import lightning.pytorch  # noqa: F401
        import torchmetrics  # noqa: F401
    finally:
        imports.package_available = package_available
        imports.RequirementCache.__bool__ = is_met
