"""`python -m vse_exp`: what there is."""

from __future__ import annotations

import ast
import sys
from pathlib import Path


def verbs() -> dict[str, str]:
    """The entry points beside this file, each with the first line of its description."""
    found: dict[str, str] = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path.stem.startswith("_") or '__name__ == "__main__"' not in text:
            continue
        summary = (ast.get_docstring(ast.parse(text)) or "").split("\n")[0]
        found[path.stem] = summary.partition(": ")[2] or summary
    return found


def main() -> int:
    found = verbs()
    asked = sys.argv[1:]
    if asked and asked[0] not in ("-h", "--help"):
        print(f"Run it as python -m vse_exp.{asked[0]}", file=sys.stderr)
        return 2
    print("Usage: python -m vse_exp.VERB … (each answers --help)\n")
    width = max(map(len, found))
    for name, summary in found.items():
        print(f"  {name:<{width}}  {summary}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
