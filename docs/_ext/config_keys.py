"""Pages of all config keys, from the comments of conf/*.yaml and the types of the schemas.

`conf/train.yaml` and each file of the groups say what a key means; this writes that as one page a
command and one a group into `keys/`, before Sphinx reads the pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticUserError

from vse_exp.cli.keys import Data
from vse_exp.errors import UserError
from vse_exp.parts import locate
from vse_exp.schema import of_signature

CONF = Path(__file__).parents[2] / "conf"
LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w.@/-]+):(?: +(?P<value>.*?))?(?P<comment> +#.*)?$")
HIDDEN = {"defaults", "hydra"}  # what composes the config, not what it says


@dataclass
class Key:
    name: str
    default: str
    meaning: str


def schema_of(file: Path, keys: list[Key]) -> type[BaseModel] | None:
    """What types the keys of a file: the schema of its command or group, or its class."""
    target = next((key.default for key in keys if key.name == "_target_"), None)
    try:
        if target is not None:
            return of_signature(locate(target), partly=True)
        if file.parent.name == "data":
            return Data
        if file.parent != CONF or file.stem == "entry":
            return None
        found = vars(import_module(f"vse_exp.{file.stem}")).values()
    except (UserError, ImportError, TypeError, ValueError):  # of an extra that is not here
        return None
    top = {key.name.partition(".")[0] for key in keys}
    schemas = [one for one in found if isinstance(one, type) and issubclass(one, BaseModel)]
    return next((one for one in schemas if top <= set(one.model_fields)), None)


def described(schema: type[BaseModel], name: str) -> str:
    """The type of a key in words: `whole number, at least 1, or null`."""
    try:
        root = schema.model_json_schema()
    except PydanticUserError:  # of a type that JSON has no word for
        return ""
    node: dict[str, Any] = root
    for part in name.split("."):
        node = _resolved(node, root)
        options = [_resolved(one, root) for one in node.get("anyOf", [node])]
        fields = [one["properties"] for one in options if part in one.get("properties", {})]
        if not fields:
            return ""
        node = fields[0][part]
    return _in_words(node, root)


def _resolved(node: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    return root["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node


def _in_words(node: dict[str, Any], root: dict[str, Any]) -> str:
    node = _resolved(node, root)
    if "anyOf" in node:
        return ", or ".join(dict.fromkeys(_in_words(one, root) for one in node["anyOf"]))
    if "enum" in node or "const" in node:
        return " | ".join(f"`{one}`" for one in node.get("enum", [node.get("const")]))
    words = [WORDS.get(node.get("type", ""), "")]
    for limit, said in LIMITS.items():
        if limit in node and node[limit] < 2**31 - 1:
            words.append(f"{said} {node[limit]:g}")
    if node.get("type") == "array" and "items" in node:
        words[0] += " of " + _in_words(node["items"], root)
    return ", ".join(word for word in words if word)


WORDS = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "string": "text",
    "array": "list",
    "object": "mapping",
    "null": "null",
}
LIMITS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


def read_keys(text: str) -> tuple[list[str], list[Key]]:
    """The comment lines that open a config file, and its keys with their meanings."""
    lines = text.splitlines()
    opening: list[str] = []
    while lines and lines[0].startswith("#"):
        line = lines.pop(0)
        if "@package" not in line:
            opening.append(line[1:].removeprefix(" "))
    keys: list[Key] = []
    path: list[tuple[int, str]] = []
    hidden: int | None = None
    for line in lines:
        if line.lstrip().startswith("#") and keys and hidden is None:
            keys[-1].meaning += " " + line.strip("# ")
            continue
        match = LINE.match(line)
        if match is None:
            continue
        indent = len(match["indent"])
        if hidden is not None and indent > hidden:
            continue
        hidden = indent if indent == 0 and match["key"] in HIDDEN else None
        if hidden is not None:
            continue
        path = [*(one for one in path if one[0] < indent), (indent, match["key"])]
        comment = (match["comment"] or "").strip("# ")
        name = ".".join(each for _, each in path)
        keys.append(Key(name, (match["value"] or "").strip(), comment))
    return opening, keys


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(text: str) -> str:
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _opening(lines: list[str]) -> Iterator[str]:
    """Prose as it is, indented commands as code."""
    inside = False
    for line in lines:
        indented = line.startswith("  ")
        if indented != inside:
            yield "```" if inside else "\n```text"
            inside = indented
        yield line[2:] if indented else line
    if inside:
        yield "```"


def _section(file: Path, title: str, level: str = "##") -> Iterator[str]:
    opening, keys = read_keys(file.read_text(encoding="utf-8"))
    yield f"{level} {title}\n"
    yield from _opening(opening)
    if keys:
        schema = schema_of(file, keys)
        yield "\n| Key | Default | Type | Meaning |\n| --- | --- | --- | --- |"
        for key in keys:
            if not (key.default or key.meaning):
                continue  # the head of further keys
            kind = _cell(described(schema, key.name)) if schema and key.name[0] != "_" else ""
            default = _code(_cell(key.default)) if key.default else ""
            meaning = "chooses the class" if key.name == "_target_" else _cell(key.meaning)
            yield f"| `{key.name}` | {default} | {kind} | {meaning} |"
    yield ""


def pages() -> dict[str, str]:
    """File name to text: a page a command, a page a group, and the list of both."""
    made: dict[str, str] = {}
    commands = sorted(path for path in CONF.glob("*.yaml"))
    for file in commands:
        title = f"`{file.stem}`" if file.stem != "entry" else "All commands"
        made[file.stem] = "\n".join(_section(file, title, "#"))
    groups = sorted(path for path in CONF.iterdir() if path.is_dir())
    for folder in groups:
        parts = [f"# `{folder.name}=…`\n"]
        for file in sorted(folder.glob("*.yaml")):
            parts += _section(file, f"`{folder.name}={file.stem}`")
        made[f"group-{folder.name}"] = "\n".join(parts)
    made["all"] = _index([file.stem for file in commands], [folder.name for folder in groups])
    return made


def _index(commands: list[str], groups: list[str]) -> str:
    lists = "\n\n".join(
        f"```{{toctree}}\n:caption: {caption}\n:maxdepth: 1\n\n" + "\n".join(names) + "\n```"
        for caption, names in (
            ("Commands", commands),
            ("Groups", [f"group-{name}" for name in groups]),
        )
    )
    return f"""# All keys

Each command has a file in `conf/`, and each group of choices a folder. A key is given as
`key=value` behind the command, a choice as `group=file`:

```bash
python -m vse_exp.train loss=hinge loss.margin=0.1 --cfg job
```

`--cfg job` prints the whole config that comes of it and trains nothing. These pages are made from
the files themselves.

{lists}
"""


def write_pages(app: Any) -> None:
    folder = Path(app.srcdir) / "keys"
    folder.mkdir(exist_ok=True)
    made = pages()
    for old in folder.glob("*.md"):
        if old.stem not in made:
            old.unlink()
    for name, text in made.items():
        file = folder / f"{name}.md"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
