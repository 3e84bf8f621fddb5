"""A folder to share: loaded by every road with the same vectors, and told by its card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from commands import run_command
from conftest import WORDS, composed, random_features, write_dataset
from vse_exp.compat.loading import load_model
from vse_exp.errors import UserError
from vse_exp.evaluate import main as evaluate
from vse_exp.export import main as export
from vse_exp.models.sharing import published
from vse_exp.models.vse import VSE
from vse_exp.training.fit import train

SENTENCES = ["a dog runs on red water", " ".join(WORDS), "unheard of"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder, and beside it its data set."""
    root = tmp_path_factory.mktemp("export")
    write_dataset(root / "data")
    record = {"backbone": "efficientnet_lite0", "weights_sha256": "0" * 64, "unit_norm": True}
    (root / "data/tiny/features.json").write_text(json.dumps(record))
    keys = ["experiment=best", "data=custom", "data.name=tiny", f"paths.data_dir={root / 'data'}",
            f"paths.run_dir={root / 'run'}", "data.batch_size=12", "model.dim=8", "max_epochs=1",
            "progress=false", "seed=7"]  # fmt: skip
    train(composed("train", keys))
    (root / "run/overrides.json").write_text(json.dumps(keys))  # as a command leaves them
    return root / "run"


@pytest.fixture(scope="module")
def folder(run: Path) -> Path:
    from vse_exp.pages.card import export_model

    return export_model(str(run / "checkpoints/best.ckpt"), str(run.parent / "mine"), licence="mit")


def vectors(which: Any) -> tuple[np.ndarray, np.ndarray]:
    model = load_model(which)
    return model.encode_sentences(SENTENCES), model.encode_images(random_features(5))


def equal(one: Any, other: Any) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(vectors(one), vectors(other), strict=True))


def test_every_road_gives_the_same_vectors(run, folder, monkeypatch) -> None:
    checkpoint = run / "checkpoints/best.ckpt"
    assert equal(folder, checkpoint)
    hub = pytest.importorskip("huggingface_hub", reason="hf: needs the extra `hf`")
    pytest.importorskip("transformers", reason="hf: needs the extra `hf`")
    assert equal(f"hf:{folder}", checkpoint)
    asked: list[str] = []

    def downloaded(name: str, *what: str, **patterns: Any) -> str:
        asked.append(name)
        return str(folder / what[0]) if what else str(folder)

    monkeypatch.setattr(hub, "hf_hub_download", downloaded)
    monkeypatch.setattr(hub, "snapshot_download", downloaded)
    assert equal("hf:me/mine", checkpoint)
    assert set(asked) == {"me/mine"}


def test_a_folder_is_evaluated_like_its_run(run, folder, tmp_path, capsys) -> None:
    keys = [f"checkpoint={folder}", "data=custom", "data.name=tiny", "intervals=false",
            f"paths.data_dir={run.parent / 'data'}", f"output={tmp_path / 'out.json'}"]  # fmt: skip
    run_command(evaluate, *keys, capsys=capsys)
    told, wanted = (json.loads(path.read_text())
                    for path in (tmp_path / "out.json", run / "results.json"))  # fmt: skip
    assert told["rsum"] == pytest.approx(wanted["test"]["rsum"])


def test_the_card_says_what_the_run_recorded(run, folder) -> None:
    card = (folder / "README.md").read_text()
    results = json.loads((run / "results.json").read_text())
    for told in ("tiny test, 12 images x 36 captions", "tiny dev", "mit", "efficientnet_lite0",
                 f"{results['test']['aR@1']:.1f} [", "seed: 7", "data.name=tiny",
                 "python -m vse_exp.train"):  # fmt: skip
        assert told in card, told
    assert str(run.parent) not in card  # where things lie on this machine is nobody's business
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "config.json", "images.json", "model.safetensors", "vocabulary.json",
        "vse_exp.json",
    }  # fmt: skip
    hub = pytest.importorskip("huggingface_hub", reason="reads the card's header")
    read = hub.ModelCard(card).data
    assert (read.license, read.library_name) == ("mit", "vse_exp")
    figures = {(one.dataset_name[:9], one.metric_name): one.metric_value
               for one in read.eval_results}  # fmt: skip
    assert figures["tiny test", "sR@5"] == pytest.approx(results["test"]["sR@5"], abs=1e-3)


def test_figures_of_evaluations_and_of_a_checkpoint_alone(run, tmp_path, capsys) -> None:
    alone = tmp_path / "alone.ckpt"
    shutil.copy(run / "checkpoints/best.ckpt", alone)
    told = {"protocol": "elsewhere test", "aR@1": 50.0, "intervals": {"aR@1": [40.0, 60.0]}}
    (tmp_path / "told.json").write_text(json.dumps(told))
    keys = [f"checkpoint={alone}", f"output={tmp_path / 'out'}", f"results=[{tmp_path}/told.json]"]
    run_command(export, *keys, capsys=capsys)
    card = (tmp_path / "out/README.md").read_text()
    assert "tiny dev:" in card
    assert "50.0 [40.0–60.0]" in card
    assert "Not stated by who made this folder" in card
    content = torch.load(alone, weights_only=True)
    content["extra"]["config_yaml"] = "[" * 100_000  # whose reading would take hours
    torch.save(content, alone)
    said = run_command(export, *keys[:1], f"output={tmp_path / 'bad'}", capsys=capsys, code=1)
    assert "config_yaml in" in said.err


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("data.pictures=/home/me/my photos/", "data.pictures=my photos"),
        ("a=[~/x.ckpt,../b/y.ckpt,runs/z.ckpt]", "a=[x.ckpt,y.ckpt,runs/z.ckpt]"),
        ("model=openclip:local-dir:/tmp/clip", "model=openclip:local-dir:clip"),
        ("checkpoint=hf:openai/clip", "checkpoint=hf:openai/clip"),
        ("https://a.org/b/c", "https://a.org/b/c"),
    ],
)  # fmt: skip
def test_no_path_of_this_machine_is_published(typed: str, told: str) -> None:
    assert published({"a": [typed, 3]}) == {"a": [told, 3]}


def test_a_folder_is_data(folder, tmp_path) -> None:
    def spoiled(name: str, content: bytes) -> Path:
        shutil.rmtree(tmp_path / "bad", ignore_errors=True)
        shutil.copytree(folder, tmp_path / "bad")
        (tmp_path / "bad" / name).write_bytes(content)
        return tmp_path / "bad"

    config = json.loads((folder / "config.json").read_text())
    config["model"]["encoder"]["_target_"] = "evil_package.Encoder"
    with pytest.raises(UserError, match=r"evil_package.*trust"):
        load_model(spoiled("config.json", json.dumps(config).encode()))
    for name in ("config.json", "vocabulary.json", "model.safetensors", "images.json"):
        with pytest.raises(UserError, match=name.partition(".")[0] + "|damaged"):
            load_model(spoiled(name, b'{"model_type": "vse_exp", "version":'))
    with pytest.raises(UserError, match=r"is a folder, and none that vse_exp.export wrote"):
        load_model(tmp_path)


def test_a_folder_appears_whole_or_not_at_all(run, folder, tmp_path, monkeypatch, capsys) -> None:
    keys = [f"checkpoint={run / 'checkpoints/best.ckpt'}", f"output={tmp_path / 'out'}"]
    run_command(export, *keys, capsys=capsys)
    assert "exists" in run_command(export, *keys, capsys=capsys, code=1).err

    def broken(model: VSE, where: Path) -> None:
        (where / "half").touch()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("vse_exp.pages.card.share_model", broken)
        said = run_command(export, *keys, "overwrite=true", capsys=capsys, code=1).err
    assert "No space left" in said
    assert equal(tmp_path / "out", folder)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    (tmp_path / "other").mkdir()
    keys = [keys[0], f"output={tmp_path / 'other'}", "overwrite=true"]
    assert "is not one of this program's" in run_command(export, *keys, capsys=capsys, code=1).err


def test_a_push_hands_the_folder_to_the_hub(run, tmp_path, monkeypatch, capsys) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="push= needs the extra `hf`")
    asked: list[Any] = []

    class StandIn:
        def create_repo(self, name: str, **keys: Any) -> Any:
            if name == "me/forbidden":
                raise PermissionError("403 Forbidden")
            asked.append((name, keys))
            return hub.RepoUrl(f"https://huggingface.co/{name}")

        def upload_folder(self, folder_path: Path, repo_id: str) -> None:
            asked.append((repo_id, sorted(path.name for path in folder_path.iterdir())))

    monkeypatch.setattr(hub, "HfApi", StandIn)
    checkpoint = f"checkpoint={run / 'checkpoints/best.ckpt'}"
    keys = [checkpoint, f"output={tmp_path / 'out'}", "push=me/mine"]
    assert "https://huggingface.co/me/mine" in run_command(export, *keys, capsys=capsys).out
    assert asked[0] == ("me/mine", {"private": True, "exist_ok": True})
    assert asked[1][0] == "me/mine"
    assert {"README.md", "model.safetensors"} < set(asked[1][1])
    assert 'load_model("hf:me/mine")' in (tmp_path / "out/README.md").read_text()
    keys = [checkpoint, f"output={tmp_path / 'two'}", "push=me/forbidden"]
    said = run_command(export, *keys, capsys=capsys, code=1).err
    assert "error: Cannot push to me/forbidden (PermissionError: 403 Forbidden)" in said


def test_format_library_is_for_towers(run, tmp_path, capsys) -> None:
    keys = [f"checkpoint={run / 'checkpoints/best.ckpt'}", f"output={tmp_path / 'out'}"]
    said = run_command(export, *keys, "format=library", capsys=capsys, code=1).err
    assert "take format=vse_exp" in said
    assert not (tmp_path / "out").exists()


def test_the_original_models_are_exported(golden: Path, tmp_path: Path, capsys) -> None:
    found = sorted((golden / "small_gru").glob("*.npz"))
    if not found:
        pytest.skip("needs the golden models of the original")
    run_command(export, f"checkpoint={found[0]}", f"output={tmp_path / 'out'}", capsys=capsys)
    one, other = load_model(found[0]), load_model(tmp_path / "out")
    rows = [model.encode_sentences(SENTENCES) for model in (one, other)]
    assert torch.equal(*map(torch.from_numpy, rows))
    assert "None were recorded." in (tmp_path / "out/README.md").read_text()
