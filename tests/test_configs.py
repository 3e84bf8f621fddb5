"""Every config composes, says its command, and its nodes instantiate."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf
from torch import nn

from conftest import WORDS, composed, write_dataset
from recipes.__main__ import recipe
from text_model import write_text_model
from tower_models import write_clip
from vse_exp.cli import config_dir
from vse_exp.compat.loading import load_model
from vse_exp.errors import UserError
from vse_exp.evaluation.evaluator import evalrank, load_split_for
from vse_exp.parts import Part, build, locate
from vse_exp.schema import of_signature
from vse_exp.training.building import build_node, plain
from vse_exp.training.fit import train

CONF = config_dir()
ENTRIES = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "entry")
ELSEWHERE = {"space", "debug", "sweep", "experiment"}
GROUPS = sorted(
    path.name for path in CONF.iterdir() if path.is_dir() and path.name not in ELSEWHERE
)


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml") if path.stem != "base")


EVERY = [(group, option) for group in GROUPS for option in options(group)]


def chosen(group: str, option: str) -> DictConfig:
    """The neutral config with one option, whatever a part inside another one needs."""
    overrides = [f"{group}={option}", "~experiment", "paths.run_dir=x", "data.name=d"]
    if group == "model.image_encoder.head":
        overrides.append("model.image_encoder=backbone")
    if group == "data":
        overrides += {"folder": ["data.pictures=p"], "shards": ["data.layout.train=t"]}.get(
            option, []
        )
    return composed("train", overrides)


@pytest.mark.parametrize("entry", ENTRIES)
def test_entries_compose(entry):
    """Into the keys that their verb's schema has."""
    fields = import_module(f"vse_exp.{entry}").main.schema.model_fields
    keys = composed(entry, []).keys() - {"hydra"}
    assert {name for name, field in fields.items() if field.is_required()} <= keys <= fields.keys()


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda p: p.stem)
def test_each_file_opens_with_what_it_is_for(path: Path):
    lines = [line for line in path.read_text().splitlines() if "@package" not in line]
    assert lines[0].startswith("# ")


@pytest.mark.parametrize(("group", "option"), EVERY)
def test_every_option_composes_and_resolves(group, option):
    OmegaConf.to_container(chosen(group, option), resolve=True)


PARTS = [
    (group, option)
    for group, option in EVERY
    if "_target_" in (CONF / group / f"{option}.yaml").read_text()
    and group not in ("logger", "callbacks")
]


def part_of(group: str, option: str) -> dict[str, Any]:
    """The node that an option is, or of a data set its layout."""
    place = "data.layout" if group == "data" else group
    return plain(OmegaConf.select(chosen(group, option), place))


@pytest.mark.parametrize(("group", "option"), PARTS)
def test_a_parts_file_shows_all_of_its_keys_with_their_defaults(group, option):
    """So that the file, where each key has its comment, and the code say the same."""
    node = part_of(group, option)
    found = locate(node["_target_"])
    if not (inspect.isclass(found) and issubclass(found, Part)):
        return  # torch's, of which a file shows some keys
    fields = of_signature(found, only_keywords=True).model_fields
    shown = {key: value for key, value in node.items() if key != "_target_"}
    inside = {key for key in fields if isinstance(shown.get(key), dict | list)}
    from_outside = {"encoder", "image_encoder", "similarity", "seed"}
    assert shown.keys() - from_outside == fields.keys() - from_outside
    if group == "loss":
        return  # of which there are several files a class
    for key in fields.keys() - from_outside - inside - {"train"}:
        assert shown[key] == fields[key].default, key


@pytest.mark.parametrize(("group", "option"), [one for one in PARTS if one[0] != "model"])
def test_parts_are_built(group, option, tmp_path):
    node = part_of(group, option)
    if option in ("pretrained", "fused"):
        pytest.importorskip("transformers", reason="needs the extra `text`")
        folder = write_text_model(tmp_path / "text", WORDS)
        text = node["sentences"] if option == "fused" else node
        text["model"] = str(folder)
        node = locate(node["_target_"]).complete(node)
    if option == "tower":
        pytest.importorskip("transformers", reason="needs the extra `text`")
        node["model"] = str(write_clip(tmp_path / "clip"))
        seed = () if group == "model.encoder" else (1,)
        node = locate(node["_target_"]).complete(node, *seed)
    if option == "jieba":
        pytest.importorskip("jieba", reason="needs the extra `zh`")
    built = build(node, where=group)
    sizes = {"model.encoder": (9, 8), "model.image_encoder": (6, 8)}
    sizes |= {f"{side}.pooling": (8,) for side in sizes} | {"model.image_encoder.head": (6, 8)}
    if option == "backbone":
        sizes[group] = (None, 8)
    if option == "tower":
        sizes[group] = (None, 16)
    if group in sizes:
        assert isinstance(built(*sizes[group]), nn.Module)


@pytest.mark.parametrize("option", options("optimizer"))
@pytest.mark.parametrize("schedule", options("scheduler"))
def test_optimizers_and_schedulers_instantiate(option, schedule):
    cfg = composed("train", [f"optimizer={option}", f"scheduler={schedule}", "paths.run_dir=x"])
    optimizer = build_node(cfg.optimizer)([{"params": list(nn.Linear(2, 2).parameters())}])
    scheduler = build_node(cfg.scheduler)
    takes = inspect.signature(scheduler).parameters
    scheduler = scheduler(optimizer, **({"total_steps": 10} if "total_steps" in takes else {}))
    optimizer.step()
    scheduler.step()


RECIPES = Path(__file__).parent / "recipes"


@pytest.mark.parametrize("option", options("experiment"))
def test_no_change_elsewhere_changes_a_recipe(option):
    """Its composed config is that of its flat copy (written anew by `python tests/recipes`)."""
    kept = OmegaConf.load(RECIPES / f"{option}.yaml")
    assert OmegaConf.to_container(recipe(option)) == OmegaConf.to_container(kept)


def test_the_default_command_runs_the_best_recipe():
    assert OmegaConf.to_container(recipe("best")) == OmegaConf.to_container(recipe(None))


def training(group: str, tmp_path: Path, *overrides: str) -> dict[str, Any]:
    write_dataset(tmp_path / "data")
    cfg = composed(
        "train",
        [group, "data=custom", "data.name=tiny", f"paths.data_dir={tmp_path / 'data'}",
         f"paths.run_dir={tmp_path / 'run'}", "data.batch_size=12", "model.dim=8",
         "max_epochs=1", "valid_freq=2", "progress=false", *overrides],
    )  # fmt: skip
    return train(cfg)


def holds_what_it_says(results: dict[str, Any], tmp_path: Path) -> bool:
    """Whether the model that was kept, loaded and evaluated anew, has the figures of training."""
    model = load_model(tmp_path / "run" / "checkpoints" / "best.ckpt")
    again = evalrank(model, "tiny", "dev", data_dir=str(tmp_path / "data"))
    return all(again[key] == pytest.approx(value) for key, value in results["dev"].items())


WITH_OTHER_DATA = ("pretrained_text", "fused", "scenes_pixels", "finetune_clip")
TRAINABLE = [one for one in options("experiment") if one not in WITH_OTHER_DATA]


@pytest.mark.parametrize("group", [*(f"experiment={one}" for one in sorted(TRAINABLE)),
                                   *(f"debug={one}" for one in options("debug"))])  # fmt: skip
def test_experiments_and_presets_train(group, tmp_path):
    assert holds_what_it_says(training(group, tmp_path), tmp_path)


@pytest.mark.parametrize("loss", ["infonce_captions", "queue", "sum"])
def test_composed_losses_train(loss, tmp_path):
    assert holds_what_it_says(training(f"loss={loss}", tmp_path), tmp_path)


@pytest.mark.parametrize("loss", ["distilled", "soft_targets", "structure"])
def test_losses_that_learn_from_a_teacher_train(loss, tmp_path, monkeypatch):
    monkeypatch.setenv("VSE_CACHE_DIR", str(tmp_path / "cache"))
    teacher = tmp_path / "teacher"
    training("experiment=best", teacher)
    (tmp_path / "teacher/run/checkpoints/best.ckpt").rename(tmp_path / "teacher.ckpt")
    results = training(f"loss={loss}", tmp_path, f"teachers=[{tmp_path / 'teacher.ckpt'}]")
    assert holds_what_it_says(results, tmp_path)
    model = load_model(tmp_path / "teacher.ckpt")
    split = load_split_for(model, {"name": "tiny", "root": str(tmp_path / "data")}, "train")
    expected = model.encode_images(split.image_features), model.encode_sentences(split.captions)
    for side, rows in zip(("images", "captions"), expected, strict=True):
        (kept,) = (tmp_path / "cache" / "text").glob(f"teacher-*-{side}/0.npy")
        np.testing.assert_allclose(np.load(kept), rows, atol=1e-6)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("loss=distilled",), "The loss learns from teachers"),
        (("teachers=frozen",), "teachers=frozen is for a loss that learns"),
        (("loss=structure", "teachers=frozen"), "a frozen text model"),
    ],
)
def test_teachers_that_do_not_fit(overrides, said, tmp_path):
    with pytest.raises(UserError, match=said):
        training("experiment=best", tmp_path, *overrides)


@pytest.mark.parametrize(
    ("option", "key"), [("pretrained_text", "model"), ("fused", "sentences.model")]
)
def test_pretrained_text_trains(tmp_path, monkeypatch, option, key):
    """On a text model with the right files and random weights."""
    pytest.importorskip("transformers", reason="needs the extra `text`")
    monkeypatch.setenv("VSE_CACHE_DIR", str(tmp_path / "cache"))
    folder = write_text_model(tmp_path / "text", WORDS)
    results = training(f"experiment={option}", tmp_path, f"model.encoder.{key}={folder}")
    assert holds_what_it_says(results, tmp_path)
    if option == "fused":  # again, and learning from what is frozen in it
        frozen = training(
            "experiment=fused", tmp_path / "again", f"model.encoder.{key}={folder}",
            "loss=structure", "teachers=frozen",
        )  # fmt: skip
        assert holds_what_it_says(frozen, tmp_path / "again")
    text = load_model(tmp_path / "run" / "checkpoints" / "best.ckpt").sentence_encoder
    assert (text.sentences if option == "fused" else text).mlp is not None
