"""Each annotation format as its source writes it, with the oddities it is known for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vse_exp.data.annotations import find_annotations, gather, read_annotations
from vse_exp.data.annotations.flickr import find_split_lists, read_split_lists
from vse_exp.data.annotations.records import clean
from vse_exp.errors import UserError


def written(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(text.encode())
    return path


def read(path: Path, content: Any, **options: Any):
    reading = read_annotations(written(path, content), **options)
    return reading, [record[:3] for record in reading.records]


def test_flickr8k_tokens(tmp_path):
    reading, records = read(
        tmp_path / "Flickr8k.token.txt",
        "1000_a.jpg#0\tA child , in pink .\r\n1000_a.jpg#1\tA girl\tplays\n"
        "2258_b.jpg.1#0\tOne name is odd\nno number\tor so\n\n",
    )
    assert records == [
        ("1000_a.jpg", "A child , in pink .", None),
        ("1000_a.jpg", "A girl\tplays", None),
        ("2258_b.jpg.1", "One name is odd", None),
    ]
    assert reading.malformed == ["Flickr8k.token.txt line 4: not image#number, tab, caption"]


def test_flickr8k_cn_says_the_language(tmp_path):
    reading, records = read(
        tmp_path / "flickr8kzhc.caption.txt",
        "667626_a.jpg#zhc#0 一个女人躺在海水里。\n667626_a.jpg#zhc#1 泳装 女人 #1\n"
        "1000_b.jpg#enc#0\tA girl\n2000_c.jpg#0\tA boy\n",
    )
    assert records == [
        ("667626_a.jpg", "一个女人躺在海水里。", None),
        ("667626_a.jpg", "泳装 女人 #1", None),
        ("1000_b.jpg", "A girl", None),
        ("2000_c.jpg", "A boy", None),
    ]
    assert [record.language for record in reading.records] == ["zhc", "zhc", "enc", None]


def test_a_column_of_languages(tmp_path):
    table = "image,caption,lang\na.jpg,a dog,en\na.jpg,ein Hund,de\na.jpg,un chien,\n"
    reading, _ = read(tmp_path / "captions.csv", table)
    assert [record.language for record in reading.records] == ["en", "de", None]


def test_flickr8k_split_lists(tmp_path):
    written(tmp_path / "Flickr_8k.trainImages.txt", "a.jpg\nb.jpg\n")
    written(tmp_path / "Flickr_8k.devImages.txt", "c.jpg\n")
    lists = find_split_lists(tmp_path)
    assert read_split_lists(lists) == {"a.jpg": "train", "b.jpg": "train", "c.jpg": "dev"}
    written(tmp_path / "Flickr_8k.testImages.txt", "c.jpg\n")
    with pytest.raises(UserError, match="is in the splits dev and test"):
        read_split_lists(find_split_lists(tmp_path))
    with pytest.raises(UserError, match="No file lost"):
        read_split_lists({"dev": Path("lost")})


def test_kaggles_flickr8k(tmp_path):
    _, records = read(
        tmp_path / "captions.txt",
        'image,caption\na.jpg,"A dog, brown , runs ."\na.jpg,A cat, too, sits .\n',
    )
    assert records == [
        ("a.jpg", "A dog, brown , runs .", None),
        ("a.jpg", "A cat, too, sits .", None),  # not quoted
    ]


def test_kaggles_flickr30k(tmp_path):
    reading, records = read(
        tmp_path / "results.csv",
        'image_name| comment_number| comment\n1.jpg| 0| A "dog , runs .\n'
        "2199200615.jpg| 4   A dog runs across the grass .\n2.jpg| 0| Two .\n",
    )
    assert [(image, clean(caption)) for image, caption, _ in records] == [
        ("1.jpg", 'A "dog , runs .'),
        ("2.jpg", "Two ."),
    ]
    assert reading.malformed == ["results.csv row 3: no caption"]


KARPATHY = {
    "dataset": "coco",
    "images": [
        {
            "filepath": "val2014",
            "filename": f"{number}.jpg",
            "split": split,
            "sentences": [{"tokens": ["x"], "raw": f"X {number}!", "sentid": 40 + number}]
            * (number > 0),
        }
        for number, split in enumerate(["train", "train", "restval", "val", "test"])
    ],
}


@pytest.mark.parametrize(
    ("restval", "expected"),
    [
        ("train", ["train", "train", "dev", "test"]),
        ("keep", ["train", "rest", "dev", "test"]),
        ("drop", ["train", "dev", "test"]),
    ],
)
def test_karpathy(tmp_path, restval, expected):
    path = written(tmp_path / "dataset_coco.json", KARPATHY)
    reading = read_annotations(path, restval=restval)
    annotations = gather([reading])
    assert list(annotations.splits.values()) == expected
    assert annotations.captions["val2014/1.jpg"] == ["X 1!"]
    assert annotations.ids["val2014/1.jpg"] == [41]
    assert reading.images_without_captions == 1
    with pytest.raises(UserError, match="restval=both"):
        read_annotations(path, restval="both")


def test_numbers_of_other_sets_are_no_ids_of_coco(tmp_path):
    path = written(tmp_path / "dataset_flickr8k.json", KARPATHY | {"dataset": "flickr8k"})
    assert {record.id for record in read_annotations(path).records} == {None}


@pytest.mark.parametrize(
    ("name", "split"),
    [("captions_val2017.json", "val"), ("captions_train2014.json", "train"), ("mine.json", None)],
)
def test_coco(tmp_path, name, split):
    content = {
        "images": [{"id": 7, "file_name": "0007.jpg"}, {"id": 8, "file_name": "0008.jpg"}],
        "annotations": [
            {"id": 1, "image_id": 7, "caption": "A dog.\n"},
            {"id": 2, "image_id": 9, "caption": "Lost."},
        ],
    }
    reading, records = read(tmp_path / name, content)
    assert records == [("0007.jpg", "A dog.\n", split)]
    assert reading.records[0].id == 1
    assert reading.malformed == [f"{name} annotation 1: image_id 9 is not among the images"]
    assert reading.images_without_captions == 1


ROWS = [
    {"file_name": "a.jpg", "text": "One,\n  two “three”", "split": "Validation"},
    {"file_name": "b.jpg", "text": "Été", "split": "train"},
]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_tables(tmp_path, suffix):
    path = tmp_path / f"table.{suffix}"
    if suffix == "parquet":
        pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow (extra tables)")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    elif suffix == "json":
        written(path, ROWS)
    elif suffix == "jsonl":
        written(path, "".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        mark = "," if suffix == "csv" else "\t"
        lines = [mark.join(f'"{cell}"' for cell in row.values()) for row in ROWS]
        written(path, "\n".join([mark.join(ROWS[0]), *lines]))
    annotations = gather([read_annotations(path)])
    assert annotations.captions == {"a.jpg": ["One, two “three”"], "b.jpg": ["Été"]}
    assert annotations.splits == {"a.jpg": "dev", "b.jpg": "train"}


def test_lists_of_captions_in_a_cell(tmp_path):
    content = '{"image": {"path": "a.jpg", "bytes": null}, "caption": ["One", "Two"]}\n'
    _, records = read(tmp_path / "x.jsonl", content)
    assert records == [("a.jpg", "One", None), ("a.jpg", "Two", None)]
    table = 'raw,split,filename\n"[""One"", ""Two, three""]",train,a.jpg\n'
    _, records = read(tmp_path / "annotations.csv", table)
    assert records == [("a.jpg", "One", "train"), ("a.jpg", "Two, three", "train")]


def test_columns_by_name(tmp_path):
    table = "photo,words\na.jpg,One\n,Two\n"
    columns = {"image": "photo", "caption": "words", "split": None}
    reading, records = read(tmp_path / "x.csv", table, columns=columns)
    assert records == [("a.jpg", "One", None)]
    assert reading.malformed == ["x.csv row 3: no image"]
    with pytest.raises(UserError, match=r"called like an image .*columns.image="):
        read_annotations(tmp_path / "x.csv")
    with pytest.raises(UserError, match=r"has no column 'text' .columns\.caption"):
        read_annotations(tmp_path / "x.csv", columns=columns | {"caption": "text"})


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("x.json", {"info": 1}, {}, "JSON of no known kind"),
        ("x.json", [1], {"format": "karpathy"}, "JSON of no known kind"),
        ("x.json", "{", {}, "line 1 is broken JSON"),
        ("x.json", {"images": [{"id": 1}], "annotations": []}, {}, "lacks 'file_name'"),
        ("x.json", {"images": [{"sentences": []}]}, {}, "lacks 'split'"),
        ("x.csv", "image,caption\n", {"format": "csv"}, "Unknown format=csv"),
        ("x.csv", "image,caption\n", {"format": "coco"}, "read from a .json file"),
        ("x.csv", 'image,caption\na.jpg,"open' + "x" * 200_000, {}, "quote left open"),
        ("x.jsonl", "3\n", {}, "row 1 is not an object"),
    ],
)
def test_broken_files(tmp_path, name, content, options, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path / name, content, **options)


def test_folders(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="No annotations in the folder"):
        find_annotations([tmp_path / "empty"])
    with pytest.raises(UserError, match="No file or folder"):
        find_annotations([tmp_path / "lost"])
    both = [written(tmp_path / "coco" / f"captions_{s}2017.json", {}) for s in ("train", "val")]
    assert find_annotations([tmp_path / "coco"]) == both
    written(tmp_path / "k" / "dataset_coco.json", {})
    written(tmp_path / "k" / "dataset_flickr8k.json", {})
    with pytest.raises(UserError, match="several annotations"):
        find_annotations([tmp_path / "k"])


def test_names_and_captions_of_no_text_are_left_out_and_listed(tmp_path):
    path = tmp_path / "captions_train.json"
    images = [
        {"id": 1, "file_name": "a.jpg"},
        {"id": 2, "file_name": None},
        {"id": 3, "file_name": ""},
    ]
    annotations = [
        {"image_id": 1, "caption": "a dog"},
        {"image_id": 1, "caption": None},
        {"image_id": 2, "caption": "a cat"},
        {"image_id": 3, "caption": "a cow"},
        {"image_id": 4, "caption": "a hen"},
    ]
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    reading = read_annotations(path)
    assert [record.image for record in reading.records] == ["a.jpg"]
    assert [line.partition(": ")[2] for line in reading.malformed] == [
        "the caption is no text",
        "the image 2 has no file_name",
        "the image 3 has no file_name",
        "image_id 4 is not among the images",
    ]


@pytest.mark.parametrize("name", ["two\nlines.jpg", "caf\udce9.jpg"])
def test_a_picture_name_that_no_list_could_hold(tmp_path, name):
    path = tmp_path / "captions_train.json"
    content = {
        "images": [{"id": 1, "file_name": name}],
        "annotations": [{"image_id": 1, "caption": "a dog"}],
    }
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="rename it"):
        gather([read_annotations(path)])


def test_control_characters_of_captions_become_blanks(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("image,caption\na.jpg,a\x1b[2Jdog\x07 runs\n")
    assert gather([read_annotations(path)]).captions == {"a.jpg": ["a [2Jdog runs"]}
