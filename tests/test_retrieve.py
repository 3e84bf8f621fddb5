"""Indexing and retrieving from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image

from browser import dump_dom
from commands import run_command
from conftest import random_captions, random_features, write_dataset
from small_models import small_model
from vse_exp import index, retrieve
from vse_exp.cli.steps import verbatim
from vse_exp.compat.loading import load_model
from vse_exp.errors import UserError
from vse_exp.models.checkpoint import save_model
from vse_exp.models.vse import VSE
from vse_exp.retrieval import build
from vse_exp.retrieval.opening import open_gallery
from vse_exp.retrieval.queries import read_queries
from vse_exp.text.vocabulary import Vocabulary

HOSTILE = "<script>document.title = 'taken'</script>"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a data set `tiny` under data/, a model, and files of one's own."""
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "data")
    vocabulary = Vocabulary.build([*random_captions(30), HOSTILE])
    save_model(small_model(vocabulary), tmp_path / "model.ckpt")
    np.save(tmp_path / "mine_ims.npy", random_features(5, seed=9))
    (tmp_path / "mine_images.txt").write_text("".join(f"photo {i}.jpg\n" for i in range(5)))
    (tmp_path / "mine_caps.txt").write_text("\n".join([*random_captions(6), HOSTILE]) + "\n")
    return tmp_path


def run(
    command: Callable[[], None], *arguments: str, capsys: pytest.CaptureFixture, code: int = 0
) -> str:
    """What a command prints; on standard error where it ends with `code`."""
    printed = run_command(command, "checkpoint=model.ckpt", *arguments, capsys=capsys, code=code)
    return printed.err if code else printed.out


TINY = ("data=custom", "data.name=tiny", "paths.data_dir=data", "split=dev")


def test_all_splits_of_a_data_set_at_once(files: Path, capsys) -> None:
    keys = ("data=custom", "data.name=tiny", "paths.data_dir=data")
    run(index.main, *keys, "split=all", "output=whole", capsys=capsys)
    whole = open_gallery("whole")
    parts = []
    for split in ("train", "dev", "test"):
        run(index.main, *keys, f"split={split}", f"output={split}", capsys=capsys)
        parts.append(open_gallery(split))
    for kind in ("images", "captions"):
        vectors = np.concatenate([part.items(kind).vectors for part in parts])
        np.testing.assert_array_equal(whole.items(kind).vectors, vectors)
    names = [name for part in parts for name in part.items("captions").names]
    assert whole.items("captions").names == names
    assert whole.caption_image is not None
    assert whole.caption_image[36:39].tolist() == [12, 12, 12]
    assert whole.about["source"] == "tiny all"
    told = run(
        index.main, *keys[:1], "data.name=no", "split=all", "output=x", capsys=capsys, code=1
    )
    assert "No train split of data set 'no'" in told


def test_a_data_set_is_indexed_and_searched(files: Path, capsys) -> None:
    printed = run(index.main, *TINY, "output=gallery", capsys=capsys)
    assert "12 images" in printed
    assert "36 captions" in printed
    printed = run(
        retrieve.main,
        "gallery=gallery",
        "query=a dog, running",
        "k=3",
        "format=json",
        capsys=capsys,
    )
    (found,) = json.loads(printed)
    assert found["query"] == "a dog, running"
    assert found["target"] == "images"
    model = load_model("model.ckpt")
    images = model.encode_images(np.load("data/tiny/tiny_dev_ims.npy"))
    scores = images @ model.encode_sentences(["a dog, running"])[0]
    assert [hit["item"] for hit in found["hits"]] == np.argsort(-scores)[:3].tolist()
    assert found["hits"][0]["score"] == pytest.approx(float(scores.max()), abs=1e-6)


def test_files_of_ones_own_are_indexed(files: Path, capsys) -> None:
    run(index.main, "features=mine_ims.npy", "output=images", capsys=capsys)
    run(index.main, "captions=mine_caps.txt", "output=captions", capsys=capsys)
    printed = run(retrieve.main, "gallery=images", "query=a dog", "k=2", capsys=capsys)
    assert "photo " in printed
    printed = run(retrieve.main, "gallery=captions", "query=mine_ims.npy", capsys=capsys)
    assert printed.count("mine_ims.npy row") == 5
    # text to text, for there are only captions
    caption = (files / "mine_caps.txt").read_text().splitlines()[2]
    printed = run(
        retrieve.main, "gallery=captions", f"query={caption}", "format=json", capsys=capsys
    )
    assert json.loads(printed)[0]["hits"][0]["score"] == pytest.approx(1, abs=1e-5)


def test_shares_of_an_index_are_the_bytes_of_one_run(files: Path, capsys, monkeypatch) -> None:
    """One of them broken off after a block, and all of them with one command."""
    monkeypatch.setattr(build, "BLOCK_CAPTIONS", 8)
    monkeypatch.setattr(build, "BATCHES", 2)
    monkeypatch.setattr(VSE, "features_at_once", 3)
    run(index.main, *TINY, "output=one", capsys=capsys)
    embedded: list[str] = []
    encode = VSE.encode_sentences

    def broken_off(self, captions, *rest, **keys):
        embedded.append(captions[0])
        if len(embedded) == 3:
            raise UserError("broken off")
        return encode(self, captions, *rest, **keys)

    monkeypatch.setattr(VSE, "encode_sentences", broken_off)
    many = (*TINY, "output=many")
    assert "broken off" in run(index.main, *many, "shard=1/2", capsys=capsys, code=1)
    assert "share 0/2 is done" in run(index.main, *many, "shard=0/2", capsys=capsys)
    assert not Path("many").exists()
    assert "12 images" in run(index.main, *many, "shards=2", capsys=capsys)
    assert len(embedded) == 5 + 1  # each block once, and the one that broke
    one, two = (
        {path.name: path.read_bytes() for path in Path(n).iterdir()} for n in ("one", "many")
    )
    about = [json.loads(each.pop("gallery.json")) | {"created": ""} for each in (one, two)]
    assert about[0] == about[1]
    assert one == two
    assert [path.name for path in files.glob(".many*")] == []
    assert "12 images" in run(index.main, *many, "shard=0/2", capsys=capsys)  # done before
    told = run(
        index.main, "features=mine_ims.npy", "output=many", "shard=0/2", capsys=capsys, code=1
    )
    assert "exists" in told


def test_shares_that_stay_apart_are_searched_as_one_gallery(files: Path, capsys) -> None:
    run(index.main, *TINY, "output=apart", "merge=false", "shards=3", capsys=capsys)
    parts = "[apart/0-of-3,apart/1-of-3,apart/2-of-3]"
    asked = ("query=a dog", "k=3", "format=json")
    found = [
        run(retrieve.main, *where, *asked, capsys=capsys)
        for where in ([f"gallery={parts}"], ["gallery=apart"], TINY)
    ]
    assert found[0] == found[1]
    hits = [[(hit["item"], hit["name"]) for hit in json.loads(each)[0]["hits"]] for each in found]
    assert hits[0] == hits[2]
    Path("apart/1-of-3").rename("elsewhere")
    assert "lacks 1-of-3" in run(retrieve.main, "gallery=apart", *asked, capsys=capsys, code=1)


def test_a_gallery_is_built_at_first_use_and_reused(files: Path, capsys) -> None:
    arguments = ("gallery=gallery", 'query=["a dog","a cat"]', "output=out.json", *TINY)
    printed = run(retrieve.main, *arguments, capsys=capsys)
    assert "a dog" in printed
    first = Path("out.json").read_text()
    built = Path("gallery/gallery.json").stat().st_mtime_ns
    run(retrieve.main, *arguments, capsys=capsys)
    assert Path("gallery/gallery.json").stat().st_mtime_ns == built
    assert Path("out.json").read_text() == first
    assert [len(found["hits"]) for found in json.loads(first)] == [10, 10]


def test_pictures_are_queries_where_their_features_are_known(files: Path, capsys) -> None:
    Image.new("RGB", (40, 30), "red").save("red.png")
    run(index.main, "captions=mine_caps.txt", "output=gallery", capsys=capsys)
    told = run(retrieve.main, "gallery=gallery", "query=red.png", capsys=capsys, code=1)
    assert "vse_exp.extract" in told
    Path("record.json").write_text('{"backbone": "scenes"}')
    run(
        index.main,
        *("captions=mine_caps.txt", "output=gallery", "overwrite=true", "provenance=record.json"),
        capsys=capsys,
    )
    told = run(retrieve.main, "gallery=gallery", "query=red.png", capsys=capsys, code=1)
    assert "rows of 12" in told  # the built-in descriptor is larger


def test_a_page_shows_what_was_found(files: Path, capsys) -> None:
    run(
        retrieve.main,
        *("captions=mine_caps.txt", f"query={HOSTILE}", "target=captions", "page=page"),
        capsys=capsys,
    )
    text = Path("page/index.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 2  # the query, and the caption
    assert "http" not in text.replace("http-equiv", "")
    shown = dump_dom((files / "page" / "index.html").as_uri())
    assert "<title>What was found</title>" in shown
    Path("pictures").mkdir()
    for i in range(4):  # the fifth is missing
        Image.new("RGB", (50, 50), "blue").save(f"pictures/photo {i}.jpg")
    run(
        retrieve.main,
        *("features=mine_ims.npy", "query=a dog", "page=page", "overwrite=true"),
        "pictures=pictures",
        capsys=capsys,
    )
    text = Path("page/index.html").read_text(encoding="utf-8")
    assert text.count("<img") == 4
    assert text.count('<div class="picture no-picture">') == 1
    assert len(list(Path("page/pictures").iterdir())) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["query=a dog"], "nothing to put into the gallery"),
        (["query=a dog", "gallery=none"], "No gallery in none"),
        (["query=none.jpg", "features=mine_ims.npy"], "No picture none.jpg"),
        (["query=none.npy", "features=mine_ims.npy"], "No feature file none.npy"),
        (
            ["query=a", "features=mine_ims.npy", "target=words"],
            "target=words must be 'images' or 'captions'.",
        ),
        (["query=a", "features=mine_ims.npy", "target=captions"], "holds no captions"),
        (
            ["query=a", "features=mine_ims.npy", "format=xml"],
            "format=xml must be 'table' or 'json'.",
        ),
        (["query=a", "features=mine_ims.npy", "k=0"], "k=0 must be at least 1."),
        (["query=a", "features=mine_ims.npy", *TINY], "either data=… or files"),
        (["query=a", "features=mine_ims.npy", "pictures=none"], "No file or folder none"),
        (
            ["query=a", "features=mine_ims.npy", "provenance=none"],
            "Cannot read none: No such file or directory.",
        ),
        (["features=mine_ims.npy"], "query=… is required"),
    ],
)
def test_mistakes_are_one_sentence(files: Path, capsys, arguments: list[str], message: str) -> None:
    told = run(retrieve.main, *arguments, capsys=capsys, code=1)
    assert told.startswith("error: ")
    assert message in told
    assert told.count("\n") == 1


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(blacklist_categories=("Cs", "Cc"))))
def test_queries_reach_the_program_as_typed(text: str) -> None:
    assume(text != "???")  # in every config a value that is missing, which the command then says
    argument = verbatim(f"query={text}")
    if text.lstrip()[:1] in ("[", "'", '"'):  # quoted or a list already
        assert argument == f"query={text}"
        return
    override = OverridesParser.create().parse_override(argument)
    assert OmegaConf.create({"query": override.value()}).query == text


def test_other_arguments_are_left_alone() -> None:
    for argument in ("k=3", "output=query=1", 'query=["a","b"]', "query='a'", "--help"):
        assert verbatim(argument) == argument


def test_sentences_may_end_like_file_names(tmp_path: Path) -> None:
    assert read_queries(["the file is called a.jpg"]) == [("the file is called a.jpg",) * 2]
    with pytest.raises(UserError, match="no query"):
        read_queries([])
