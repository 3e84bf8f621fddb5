"""Pictures from folders, archives, lists and tables: names, order, contents, and mistakes."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path

import pytest

from vse_exp.errors import UserError
from vse_exp.images.decoding import UnreadableImage
from vse_exp.images.sources import locate, open_pictures, read_names

CONTENTS = {"b/2.png": b"two", "a.jpg": b"one", "b/10.jpeg": b"ten"}
OTHERS = {"readme.txt": b"no", ".hidden.jpg": b"no", "b/._2.png": b"no"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name, content in {**CONTENTS, **OTHERS}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.fixture
def tar(tmp_path: Path) -> Path:
    path = tmp_path / "photos.tar"
    with tarfile.open(path, "w") as archive:
        for name, content in {**CONTENTS, **OTHERS}.items():
            member = tarfile.TarInfo("./" + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return path


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("b")
        for name, content in {**CONTENTS, **OTHERS}.items():
            archive.writestr(name, content)
    return path


def contents(source) -> dict[str, bytes]:
    return {name: source.read(index) for index, name in enumerate(source.names)}


def test_a_folder_is_read_in_depth_and_sorted(folder):
    source = open_pictures(folder)
    assert source.names == ["a.jpg", "b/10.jpeg", "b/2.png"]
    assert contents(source) == CONTENTS


@pytest.mark.parametrize("kind", ["tar", "zipped"])
def test_archives(kind, request):
    source = open_pictures(request.getfixturevalue(kind))
    assert list(source.names) == list(CONTENTS)
    assert contents(source) == CONTENTS
    # as in a worker process
    assert contents(pickle.loads(pickle.dumps(source))) == CONTENTS


@pytest.mark.parametrize("kind", ["folder", "tar", "zipped"])
def test_a_list_selects_and_orders(kind, request, tmp_path):
    names = tmp_path / "names.txt"
    # a line a caption; found by the last part too; one is not there
    names.write_text("b/10.jpeg\nb/10.jpeg\n\nelsewhere/2.png\nlost.jpg\n")
    source = open_pictures(request.getfixturevalue(kind), names)
    assert list(source.names) == ["b/10.jpeg", "elsewhere/2.png", "lost.jpg"]
    assert [source.read(0), source.read(1)] == [b"ten", b"two"]
    with pytest.raises(UnreadableImage, match="no such file"):
        source.read(2)


def test_a_list_of_paths(folder, tmp_path):
    paths = tmp_path / "list.txt"
    paths.write_text(f"photos/a.jpg\n{folder}/b/2.png\n")
    assert contents(open_pictures(paths)) == {
        "photos/a.jpg": b"one",
        f"{folder}/b/2.png": b"two",
    }
    (tmp_path / "short.txt").write_text("a.jpg\n")
    assert contents(open_pictures(tmp_path / "short.txt", root=folder)) == {"a.jpg": b"one"}


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "json"])
def test_the_column_of_a_table(folder, suffix):
    rows = [{"Image": name, "caption": "x, y"} for name in ("a.jpg", "b/2.png", "a.jpg")]
    table = folder / f"table.{suffix}"
    if suffix == "json":
        table.write_text(json.dumps(rows))
    elif suffix == "jsonl":
        table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        mark = "," if suffix == "csv" else "\t"
        lines = [f'{row["Image"]}{mark}"{row["caption"]}"' for row in rows]
        table.write_text("\n".join([f"Image{mark}caption", *lines]))
    expected = {"a.jpg": b"one", "b/2.png": b"two"}
    assert contents(open_pictures(table)) == expected
    assert contents(open_pictures(table, column="Image")) == expected
    with pytest.raises(UserError, match=r"no column 'photo'.*column="):
        open_pictures(table, column="photo")


def test_pictures_inside_a_parquet_table(tmp_path, folder):
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow (extra tables)")
    parquet = pytest.importorskip("pyarrow.parquet")
    cells = [{"bytes": b"one", "path": "a.jpg"}, {"bytes": None, "path": None}]
    cells += [{"bytes": b"two", "path": "a.jpg"}]
    structs = pyarrow.table({"caption": ["x", "y", "z"], "photo": cells})
    parquet.write_table(structs, tmp_path / "structs.parquet", row_group_size=2)
    source = open_pictures(tmp_path / "structs.parquet")
    assert source.names == ["a.jpg", "row-000000001", "row-000000002-a.jpg"]
    assert [source.read(0), source.read(2)] == [b"one", b"two"]
    with pytest.raises(UnreadableImage, match="empty cell"):
        source.read(1)

    plain = pyarrow.table({"content": [b"one", b"two"]})
    parquet.write_table(plain, tmp_path / "plain.parquet")
    assert contents(open_pictures(tmp_path / "plain.parquet", column="content")) == {
        "row-000000000": b"one",
        "row-000000001": b"two",
    }

    paths = pyarrow.table({"filename": ["b/2.png", "a.jpg"]})
    parquet.write_table(paths, folder / "paths.parquet")
    assert contents(open_pictures(folder / "paths.parquet")) == {"b/2.png": b"two", "a.jpg": b"one"}


def test_a_single_picture(folder):
    assert contents(open_pictures(folder / "a.jpg")) == {"a.jpg": b"one"}


def test_a_tar_that_ends_early(tar):
    whole = tar.read_bytes()
    source = open_pictures(tar)
    tar.write_bytes(whole[: 3 * 512 + 2])
    assert source.read(0) == b"two"
    with pytest.raises(UnreadableImage, match="archive ends"):
        source.read(1)


def test_a_damaged_zip_member(zipped):
    whole = bytearray(zipped.read_bytes())
    place = whole.index(b"a.jpg") + len("a.jpg")
    whole[place] ^= 0xFF
    zipped.write_bytes(bytes(whole))
    source = open_pictures(zipped)
    with pytest.raises(UnreadableImage, match="damaged in the archive"):
        source.read(1)
    assert source.read(0) == b"two"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nothing", None, "No file or folder"),
        ("photos.tar.gz", b"x", "compressed"),
        ("photos.tar", b"x" * 1024, "no complete tar"),
        ("photos.zip", b"x", "no complete zip"),
        ("list.txt", b"\n", "is empty"),
        ("list.txt", b"caf\xe9.jpg\n", "line 1 is not UTF-8"),
        ("table.csv", b"", "is empty"),
        ("table.json", b"{", "broken JSON"),
        ("table.jsonl", b'{"image": "a.jpg"}\n{"image"\n', "line 2 is broken JSON"),
        ("table.parquet", b"PAR1", "Parquet"),
    ],
)
def test_mistakes(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        open_pictures(tmp_path / name)


def test_an_empty_folder_and_a_list_of_other_pictures(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="No pictures in the folder"):
        open_pictures(tmp_path / "empty")
    with pytest.raises(UserError, match=r"None of the 1 listed pictures .first: x.jpg."):
        open_pictures(folder, ["x.jpg"])


def test_locating_by_the_last_part_only_where_it_is_clear():
    available = ["x/1.jpg", "y/1.jpg", "y/2.jpg"]
    assert locate(["1.jpg", "2.jpg", "y/1.jpg", "3.jpg"], available) == [
        None,
        "y/2.jpg",
        "y/1.jpg",
        None,
    ]


def test_names_keep_their_unicode(tmp_path):
    path = tmp_path / "names.txt"
    path.write_bytes("\ufeffcafé au lait.jpg\r\n写真.png\r\n".encode())
    assert read_names(path) == ["café au lait.jpg", "写真.png"]
