"""What README and the documentation tell people to type is typed: page by page, in an empty folder.

A comment before a block says how: `<!-- test: add KEYS -->` runs its commands with more keys behind
them, `compose` composes and checks their configs alone, `skip` leaves the block out.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from PIL import Image

import vse_exp
import vse_exp.train  # (registers a resolver)
from conftest import random_captions
from forks import forked_python
from vse_exp.cli import config_dir

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"(?:^<!-- test: (?P<how>[^\n]+) -->\n)?^```(?P<language>bash|python)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
COMMAND = re.compile(r"^python -m vse_exp\.(\w+)")


@dataclass
class Block:
    code: str
    language: str
    how: str


def blocks(page: Path) -> list[Block]:
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(one["code"], one["language"], one["how"] or "") for one in found]


def commands(code: str) -> list[str]:
    lines = code.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def check_config(command: str) -> None:
    """Composes the config of each job that the command stands for, and resolves it."""
    module, *words = shlex.split(command, comments=True)[2:]
    verb = module.removeprefix("vse_exp.")
    words = [word for word in words if word not in ("-m", "--cfg", "job")]
    if verb == "summarize":
        return
    jobs: list[list[str]] = [[]]
    for one in OverridesParser.create().parse_overrides(words):
        assert one.input_line is not None
        choices = [one.input_line]
        if one.is_sweep_override():
            choices = [f"{one.key_or_group}={each}" for each in one.sweep_string_iterator()]
        jobs = [[*job, choice] for job in jobs for choice in choices]
    for job in jobs:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            OmegaConf.to_container(compose(verb, job), resolve=True)


def run(code: str, language: str, folder: Path) -> None:
    # a page's data sets lie in its own folder
    environment = {key: value for key, value in os.environ.items() if key != "VSE_DATA_DIR"}
    python = forked_python()
    folders = os.path.dirname(python), os.path.dirname(sys.executable), os.environ["PATH"]
    environment["PATH"] = os.pathsep.join(folders)
    environment["PYTHONPATH"] = f"{os.environ.get('PYTHONPATH', '')}{os.pathsep}{folder}"
    how = [python, "-c"] if language == "python" else ["bash", "-euo", "pipefail", "-c"]
    done = subprocess.run(
        [*how, code],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{code}\n{done.stdout}"


def write_photos(folder: Path) -> None:
    """Sixty pictures of one colour each, and a table of two captions for each."""
    (folder / "photos").mkdir()
    random = np.random.default_rng(0)
    lines = ["image,caption"]
    for number, caption in enumerate(random_captions(120)):
        name = f"{number // 2:02}.jpg"
        lines.append(f"{name},{caption}")
        if number % 2 == 0:
            colour = tuple(int(value) for value in random.integers(0, 255, 3))
            Image.new("RGB", (64, 48), colour).save(folder / "photos" / name)
    (folder / "captions.csv").write_text("\n".join(lines) + "\n")


def write_named_files(page: Path, folder: Path) -> None:
    """The files whose content the page shows: "A file `own/x.yaml`:" and then a block of it."""
    pattern = r"`([\w./]+\.(?:yaml|py))`[^\n`]*:\n\n```\w+\n(.*?)^```$"
    for name, content in re.findall(pattern, page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


@pytest.mark.parametrize("page", [one for one in PAGES if blocks(one)], ids=lambda page: page.stem)
def test_page(page: Path, tmp_path: Path) -> None:
    write_named_files(page, tmp_path)
    if page.stem == "photos":
        write_photos(tmp_path)
    if page.stem == "parts":
        shutil.copytree(ROOT / "examples", tmp_path, dirs_exist_ok=True)
    for block in blocks(page):
        if block.how == "skip":
            continue
        if block.language == "python":
            run(block.code, "python", tmp_path)
            continue
        for command in commands(block.code):
            if block.how == "compose":
                assert COMMAND.match(command), f"{page.name}: {command} has no config"
                check_config(command)
            else:
                run(f"{command} {block.how.removeprefix('add ')}".strip(), "bash", tmp_path)


def test_links_between_pages() -> None:
    """To files that are there; Sphinx holds those of docs/, this those of README."""
    for target in re.findall(r"\]\(([^)#\s]+)", (ROOT / "README.md").read_text(encoding="utf-8")):
        if "://" not in target:
            assert (ROOT / target).exists(), target


def test_the_page_of_python_names_all_that_is_public() -> None:
    named = re.findall(r"auto\w+:: vse_exp\.(\w+)", (ROOT / "docs/api.md").read_text())
    assert sorted(set(named)) == sorted(vse_exp.__all__)


def test_the_steps_of_the_default_recipe_can_be_left_out() -> None:
    """And others be put beside it: the keys in the tables of the page of results."""
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    steps = re.findall(r"^\| `([^`|]+=[^`|]+)`[^|]*\| [\d.]+ \| -", text, re.MULTILINE)
    assert len(steps) == 6 + 5
    for step in steps:
        check_config(f"python -m vse_exp.train experiment=best data=f8k {step}")
