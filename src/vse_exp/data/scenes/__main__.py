"""Write the built-in data set out: `python -m vse_exp.data.scenes OUTPUT_FOLDER`."""

from __future__ import annotations

import argparse
import sys

from vse_exp.data.scenes import write_folder
from vse_exp.data.scenes.drawing import SIZE
from vse_exp.errors import UserError


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m vse_exp.data.scenes",
        description="Write the pictures and captions of the built-in data set to a folder: "
        "images/*.png, and captions.csv with the columns image, caption and split.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("folder", help="where to; made if need be")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other scenes")
    parser.add_argument("--train", type=int, default=2000, help="pictures to train on")
    parser.add_argument("--dev", type=int, default=500, help="pictures for development")
    parser.add_argument("--test", type=int, default=500, help="pictures to test on")
    parser.add_argument("--size", type=int, default=SIZE, help="width and height in pixels")
    given = parser.parse_args()
    try:
        table = write_folder(
            given.folder, given.seed, given.train, given.dev, given.test, given.size
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    count = given.train + given.dev + given.test
    print(f"{count} pictures in {table.parent / 'images'}, their captions in {table}")


if __name__ == "__main__":
    main()
