"""Every kind of model through every verb, against ranks counted from its vectors one by one."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

import dual_models
from commands import run_command
from conftest import composed
from small_models import small_model
from vse_exp import compare, embed, evaluate, index, report, retrieve, summarize
from vse_exp.compat import loading
from vse_exp.compat.loading import load_model
from vse_exp.data.scenes.drawing import draw
from vse_exp.data.scenes.grammar import captions as captions_of
from vse_exp.data.scenes.sampling import sample_scene
from vse_exp.models.checkpoint import save_model
from vse_exp.models.others import load_other
from vse_exp.pages.demo import open_demo
from vse_exp.retrieval.opening import open_gallery
from vse_exp.text.vocabulary import Vocabulary

N_IMAGES, EACH = 6, 5
DATA = ["data=custom", "data.name=tiny", "paths.data_dir=data"]


def hugging_face(write: Callable[[Path], Path], prefix: str = "hf:") -> Callable[..., str]:
    return lambda golden: f"{prefix}{write(Path('model'))}"


def ours(golden: Path) -> str:
    save_model(small_model(Vocabulary.build(["a small red circle"]), dim_image=48), "best.ckpt")
    return "best.ckpt"


def sentence_transformers(golden: Path) -> str:
    return f"st:{dual_models.st_folder(Path('st'), dual_models.clip_folder(Path('clip')))}"


KINDS: dict[str, tuple[list[str], Callable[[Path], str]]] = {
    "ours": ([], ours),
    "original": ([], lambda golden: f"{golden}/small_gru/small_gru.npz"),
    "vsepp": ([], lambda golden: f"{golden}/small_vsepp/model_best.pth.tar"),
    "ensemble": (
        [], lambda golden: f"[{golden}/small_gru/small_gru.npz,{golden}/small_bow/small_bow.npz]"
    ),
    "python": ([], lambda golden: "python:models.test_others:Colours"),
    "clip": (["transformers"], hugging_face(dual_models.clip_folder)),
    "siglip": (["transformers"], hugging_face(dual_models.siglip_folder)),
    "siglip2": (["transformers"], hugging_face(dual_models.siglip2_folder)),
    "align": (["transformers"], hugging_face(dual_models.align_folder)),
    "openclip": (["open_clip"], hugging_face(dual_models.openclip_folder, "openclip:local-dir:")),
    "st": (["sentence_transformers"], sentence_transformers),
}  # fmt: skip


@cache
def drawn() -> tuple[list[Any], list[str]]:
    scenes = [sample_scene(0, "test", number) for number in range(N_IMAGES)]
    return [draw(one, 48) for one in scenes], [text for one in scenes for text in captions_of(one)]


@pytest.fixture
def captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Those of a data set `tiny` in this folder, of pictures and of features."""
    monkeypatch.chdir(tmp_path)
    folder = Path("data/tiny")
    (folder / "images").mkdir(parents=True)
    pictures, captions = drawn()
    names = [f"{number}.png" for number in range(N_IMAGES)]
    for name, picture in zip(names, pictures, strict=True):
        picture.save(folder / "images" / name)
    (folder / "tiny_test_caps.txt").write_text("\n".join(captions))
    (folder / "tiny_test_images.txt").write_text("\n".join(names))
    features = np.random.default_rng(0).standard_normal((N_IMAGES, 48)).astype(np.float32)
    np.save(folder / "tiny_test_ims.npy", features / np.linalg.norm(features, axis=1)[:, None])
    return captions


def recalls(images: np.ndarray, captions: np.ndarray, slack: float = 0.0) -> dict[str, float]:
    """Five captions an image, ties counted against the query; `slack` is added to wrong scores,
    which rounding moves."""
    scores = images @ captions.T
    own = np.repeat(np.arange(len(images)), EACH)
    right = scores[own, np.arange(len(own))]
    wrong = np.where(own == np.arange(len(images))[:, None], -np.inf, scores + slack)
    search = (wrong >= right).sum(0)
    annotation = (wrong >= right.reshape(-1, EACH).max(1, keepdims=True)).sum(1)
    each = {"a": annotation, "s": search}
    return {f"{d}R@{k}": 100 * float((each[d] < k).mean()) for d in each for k in (1, 5, 10)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_verb(
    kind: str,
    captions: list[str],
    golden: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packages, source = KINDS[kind]
    for package in packages:
        pytest.importorskip(package, reason=f"models of {package}")
    named = source(golden)
    which = f"checkpoint={named}"

    def run(verb: Any, *keys: str) -> str:
        return run_command(verb.main, *keys, capsys=capsys).out

    # the vectors, which other tests hold to the libraries' own calls
    model = load_model(named.strip("[]").split(","))
    # a library loads it a second time, for all verbs
    load = cache(lambda source, prefix: load_other(source, prefix))
    monkeypatch.setattr(loading, "load_other", lambda source, prefix, _: load(source, prefix))
    folder = Path("data/tiny")
    pictures = [folder / "images" / f"{number}.png" for number in range(N_IMAGES)]
    features = folder / "tiny_test_ims.npy"
    images = model.encode_images(pictures if model.takes_pictures else np.load(features))
    sentences = model.encode_sentences(captions)

    def best(scores: np.ndarray) -> Any:
        return pytest.approx(float(scores.max()), abs=1e-5)

    run(evaluate, which, *DATA, "order=true", "output=out.json")
    told = json.loads(Path("out.json").read_text())
    lowest, highest = (recalls(images, sentences, slack) for slack in (1e-6, -1e-6))
    assert all(lowest[key] - 1e-9 <= told[key] <= highest[key] + 1e-9 for key in lowest)
    low, high = told["intervals"]["sR@5"]
    assert low <= told["sR@5"] <= high
    halves = ["protocol=folds", "n_images=3", "rerank=csls", "output=reranked.json"]
    run(evaluate, which, *DATA, *halves)
    protocol = json.loads(Path("reranked.json").read_text())["protocol"]
    assert "mean of 2 folds of 3 images" in protocol
    assert "CSLS" in protocol

    of_images = f"features={features}"
    if model.takes_pictures:
        of_images = f"pictures={folder}/images"
    for name, rows, given in (
        ("i", images, of_images), ("c", sentences, f"captions={folder}/tiny_test_caps.txt")
    ):  # fmt: skip
        run(embed, which, given, "block=4", f"output={name}.npy")
        np.testing.assert_allclose(np.load(f"{name}.npy"), rows, atol=1e-6)

    sides = [f"a={named}", "b={images: i.npy, captions: c.npy}", "resamples=20"]
    run(compare, *sides, *DATA, "output=compared.json", "page=page")
    compared = json.loads(Path("compared.json").read_text())["figures"]["sR@10"]
    assert compared["a"] == pytest.approx(told["sR@10"])
    assert lowest["sR@10"] - 1e-9 <= compared["b"] <= highest["sR@10"] + 1e-9
    assert captions[0] in Path("page/captions.csv").read_text()

    run(index, which, *DATA, "output=gallery")
    gallery = open_gallery("gallery", model)
    for what, rows in (("images", images), ("captions", sentences)):
        np.testing.assert_allclose(gallery.items(what).vectors, rows, atol=1e-6)
    queries = [captions[7], *([str(pictures[4])] if model.takes_pictures else [])]
    asked = f"query={json.dumps(queries)}"
    found = json.loads(run(retrieve, which, "gallery=gallery", "format=json", asked, "k=1"))
    for one, query in zip(found, (sentences[7], images[4]), strict=False):
        assert one["hits"][0]["score"] == best(images @ query)

    assert f"rsum {told['rsum']:.1f}" in run(report, which, *DATA, "output=report", "reasons=1")
    keys = OmegaConf.to_container(composed("demo", [which, "gallery=gallery"]), resolve=True)
    demo = open_demo(keys)  # type: ignore[arg-type]
    answer = demo.sentence("", captions[7], 1)
    assert answer["images"][0]["score"] == best(images @ sentences[7])
    assert demo.reasons("", captions[7], 4)["words"]
    if model.takes_pictures:
        uploaded = demo.picture("", pictures[4].read_bytes(), "", "", 1)
        assert uploaded["captions"][0]["score"] == best(sentences @ images[4])

    summarize.main(["out.json", "reranked.json", "--csv", "table.csv"])
    lines = Path("table.csv").read_text().splitlines()[1:]
    plain = next(one for one in lines if one.startswith('"6 images x 30 captions, full gallery"'))
    assert f",{told['sR@5']:.1f}," in plain
