"""Features of pictures by ONNX Runtime against torch: pictures a processor second, all included.

    python -m benchmarks.extract --images data/f8k/images_test.tar
    python -m benchmarks.extract --images photos --backbone resnet50 --weights random

Reading, decoding, cutting and the network, on one thread; blocks of pictures go through both in
turn, so that both meet the same machine. The notes tell how far stored rows lie apart.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.nn.functional import normalize

from vse_exp.images.backbones import Backbone, build_backbone
from vse_exp.images.decoding import decode_image
from vse_exp.images.sources import Pictures, open_pictures

BLOCK = 16


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Run, print and return rows: benchmark, case, ours, reference, ratio, unit, notes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.extract")
    parser.add_argument("--images", required=True, help="folder or archive")
    parser.add_argument("--backbone", nargs="+", default=["efficientnet_lite0"])
    parser.add_argument("--weights", default="pretrained")
    parser.add_argument("--count", type=int, default=96)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    pictures, rows = open_pictures(options.images), []
    for name in options.backbone:
        slow = build_backbone(name, options.weights)
        fast, seconds, far = replace(slow, runtime="onnx"), [0.0, 0.0], 0.0
        for start in range(-BLOCK, options.count, BLOCK):  # the first is not counted
            found = [_block(pictures, each, max(start, 0)) for each in (slow, fast)]
            far = max(far, float((found[0][0] - found[1][0]).abs().max()))
            if start >= 0:
                seconds = [total + each[1] for total, each in zip(seconds, found, strict=True)]
        ours, reference = (options.count / seconds[1], options.count / seconds[0])
        note = f"reference: torch; unit rows differ by {far:.1g} at most"
        print(f"extract {name}: {ours:.1f} and {reference:.1f} pictures/CPU s, {note}")
        print(f"  ratio {ours / reference:.2f}")
        row: dict[str, Any] = {"benchmark": "extract", "case": name, "unit": "pictures/CPU s"}
        rows.append(
            row | {"ours": ours, "reference": reference, "ratio": ours / reference, "notes": note}
        )
    return rows


def _block(pictures: Pictures, backbone: Backbone, start: int) -> tuple[torch.Tensor, float]:
    """Unit rows of a block, and the processor seconds that it took."""
    started = time.process_time()
    images = [decode_image(pictures.read(row)) for row in range(start, start + BLOCK)]
    views = torch.stack([backbone.preprocessing.views_of(image) for image in images])
    features = normalize(backbone.features(views).mean(1), dim=-1)
    return features, time.process_time() - started


if __name__ == "__main__":
    main()
