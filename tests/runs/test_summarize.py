"""The table over runs, from folders written by hand."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from vse_exp.runs.summary import order, short_keys
from vse_exp.summarize import main


def write_run(folder: Path, encoder: str, seed: int, rsum: float | None, failed: str = "") -> None:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"seed: {seed}\nmodel:\n  encoder: {encoder}\n")
    overrides = [f"model.encoder={encoder}", f"seed={seed}"]
    (folder / "overrides.json").write_text(json.dumps(overrides))
    lines = "".join(f"{step},{step / 10 + seed}\n" for step in (100, 200, 300))
    (folder / "metrics.csv").write_text("step,val/rsum\n" + lines)
    if rsum is not None:
        metrics = {f"{side}R@{k}": rsum / 6 for side in "as" for k in (1, 5, 10)}
        metrics |= {"aMedr": 3.0, "sMedr": 4.0, "rsum": rsum}
        results = {"dev": metrics, "test": metrics, "seconds": 10.0, "parameters": 1000}
        (folder / "results.json").write_text(json.dumps(results))
    if failed:
        (folder / "failed.txt").write_text(failed)


@pytest.fixture
def runs(tmp_path) -> Path:
    for seed, rsum in enumerate((200.0, 204.0, 211.0)):
        write_run(tmp_path / "runs" / f"bow{seed}", "bow", seed, rsum)
    write_run(tmp_path / "runs" / "gru0", "gru", 0, 250.0)
    write_run(tmp_path / "runs" / "gru1", "gru", 1, None, failed="The loss is nan")
    return tmp_path / "runs"


def test_a_group_that_was_not_asked_for_has_its_choice(runs, tmp_path, capsys):
    """The experiment of a run without one is what the command chose by itself."""
    (folder, *others) = sorted(runs.iterdir())
    (folder / "overrides.json").write_text('["model.encoder=bow", "experiment=siglip", "seed=0"]')
    for other in others:
        (other / "about.json").write_text('{"choices": {"experiment": "best", "seed": "no"}}')
    arguments = [str(runs), "--group", "experiment", "--group", "seed", "--sort", "experiment"]
    assert main([*arguments, "--csv", str(tmp_path / "t.csv")]) == 0
    found = [(row["experiment"], row["seed"]) for row in table(tmp_path / "t.csv")]
    assert set(found) == {("siglip", "0"), ("best", "0"), ("best", "1"), ("best", "2")}
    (folder / "about.json").write_text('{"choices": 1}')
    capsys.readouterr()
    assert main([str(runs)]) == 0
    assert "about.json is broken: its choices are no mapping" in capsys.readouterr().out


def table(path: Path) -> list[dict[str, str]]:
    head, *lines = [line.split(",") for line in path.read_text().splitlines()]
    return [dict(zip(head, line, strict=True)) for line in lines]


def test_grouped_over_seeds_best_first(runs, tmp_path, capsys):
    assert main([str(runs), "--csv", str(tmp_path / "t.csv")]) == 0
    best, second = table(tmp_path / "t.csv")
    assert (best["model.encoder"], best["runs"], best["dev.rsum"]) == ("gru", "1/2", "250.0")
    deviation = statistics.stdev([200, 204, 211])
    assert (second["dev.rsum"], second["dev.rsum std"]) == ("205.0", f"{deviation:.1f}")
    assert (second["parameters"], best["dev.rsum std"]) == ("1000", "")
    assert second["runs"] == "3/3"
    assert "failed" in capsys.readouterr().out


def test_columns(runs, tmp_path, capsys):
    arguments = [str(runs), "--group", "model.encoder", "--columns", "test.rsum,parameters"]
    assert main([*arguments, "--markdown", str(tmp_path / "t.md")]) == 0
    head, _, _, bow = (tmp_path / "t.md").read_text().splitlines()
    assert head == "| model.encoder | runs | test.rsum | parameters |"
    assert bow == f"| bow | 3/3 | 205.0 ± {statistics.stdev([200, 204, 211]):.1f} | 1000 |"
    assert main([str(runs), "--columns", "dev.rum"]) == 1
    assert "No run has the figure 'dev.rum'" in capsys.readouterr().err


def test_filter_group_sort(runs, tmp_path):
    arguments = ["--filter", "model.encoder=bow", "--group", "seed", "--sort", "seed"]
    assert main([str(runs), *arguments, "--csv", str(tmp_path / "t.csv")]) == 0
    assert [row["seed"] for row in table(tmp_path / "t.csv")] == ["0", "1", "2"]


def test_page_markdown_and_plots(runs, tmp_path):
    pytest.importorskip("matplotlib")
    page, markdown, plots = tmp_path / "p.html", tmp_path / "t.md", tmp_path / "plots"
    assert main([str(runs), "--html", str(page), "--markdown", str(markdown),
                 "--plots", str(plots)]) == 0  # fmt: skip
    assert {path.name for path in plots.iterdir()} == {"curves.png", "effect_model.encoder.png"}
    assert 'src="plots/curves.png"' in page.read_text()
    assert markdown.read_text().startswith("| model.encoder | runs |")


def test_levels_of_a_key_stand_in_order():
    assert order(["0.5", "10", "0.1", "10"]) == ["0.1", "0.5", "10"]
    assert order(["gru", "bow", ""]) == ["", "bow", "gru"]


def test_records_give_the_table_of_the_folders(tmp_path):
    for seed, rsum in enumerate((200.004, 204.0, 211.012345)):
        write_run(tmp_path / "runs" / f"bow{seed}", "bow", seed, rsum)
    records, again = tmp_path / "runs.csv", tmp_path / "again.csv"
    asked = ["--group", "model.encoder", "--columns", "dev.rsum,test.aR@1,seconds"]
    tables = tmp_path / "a.csv", tmp_path / "b.csv"
    runs = str(tmp_path / "runs")
    assert main([runs, *asked, "--records", str(records), "--csv", str(tables[0])]) == 0
    assert main([str(records), *asked, "--records", str(again), "--csv", str(tables[1])]) == 0
    assert tables[0].read_text() == tables[1].read_text()
    assert again.read_text() == records.read_text()
    assert records.read_text().splitlines()[0] == "model.encoder,seed,dev.rsum,test.aR@1,seconds"
    assert [row["seed"] for row in table(records)] == ["0", "1", "2"]
    assert [row["dev.rsum"] for row in table(records)] == ["200.004", "204", "211.012345"]


def test_records_beside_new_runs(runs, tmp_path):
    """A run that is in both is counted once; one of another seed is added."""
    records, grouped = tmp_path / "runs.csv", tmp_path / "t.csv"
    asked = ["--group", "model.encoder"]
    assert main([str(runs), *asked, "--records", str(records)]) == 0
    write_run(tmp_path / "new" / "bow3", "bow", 3, 213.0)
    write_run(tmp_path / "new" / "bow2", "bow", 2, 211.0)
    write_run(tmp_path / "new" / "bow1", "bow", 1, None)  # begun anew
    places = [str(records), str(tmp_path / "new"), str(records)]
    assert main([*places, *asked, "--csv", str(grouped)]) == 0
    assert [(row["runs"], row["dev.rsum"]) for row in table(grouped)] == [
        ("1/1", "250.0"), ("4/5", "207.0"),
    ]  # fmt: skip


def test_records_beside_runs_of_another_recipe(runs, tmp_path):
    """Also where the table's keys do not tell them apart."""
    records, grouped = tmp_path / "runs.csv", tmp_path / "t.csv"
    bow = ["--filter", "model.encoder=bow", "--group", "seed"]
    assert main([str(runs), *bow, "--records", str(records)]) == 0
    write_run(tmp_path / "new" / "gru0", "gru", 0, 250.0)
    other = tmp_path / "new" / "bow0"
    write_run(other, "bow", 0, 300.0)
    (other / "overrides.json").write_text('["model.encoder=bow", "seed=0", "model.dim=5"]')
    (other / "config.yaml").write_text("seed: 0\nmodel: {encoder: bow, dim: 5}\n")
    assert main([str(records), str(tmp_path / "new"), "--csv", str(grouped)]) == 0
    assert [(row["model.encoder"], row["model.dim"], row["runs"]) for row in table(grouped)] == [
        ("bow", "5", "1/1"), ("gru", "", "1/1"), ("bow", "", "3/3"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", "a: ["),
        ("config.yaml", "5"),
        ("config.yaml", "a: &a [x]\nb: [*a, *a]\n"),
        ("config.yaml", "a: " + "[" * 100_000),
        ("results.json", '{"dev": '),
        ("results.json", "{}"),
        ("results.json", "[" * 100_000),
        ("overrides.json", "{}"),
        ("overrides.json", "[5]"),
        ("metrics.csv", "step,val/rsum\n1\n,\nx,y\n1,z\n"),
    ],
)
def test_a_broken_run_is_named_and_hides_no_other(runs, tmp_path, capsys, name, content):
    """In the table; a training there refuses it by name."""
    broken = runs / "gru1"
    (broken / name).write_text(content)
    plots = ["--plots", str(tmp_path / "plots")]
    assert main([str(runs), "--csv", str(tmp_path / "t.csv"), *plots]) == 0
    assert [row["runs"] for row in table(tmp_path / "t.csv") if row["model.encoder"]] in (
        [["1/2", "3/3"], ["1/1", "3/3"]]
    )
    if name != "metrics.csv":
        assert f"broken: {broken} {broken / name}" in capsys.readouterr().out


def test_data_sets_are_never_one_group(runs, tmp_path):
    for number, name in enumerate(("f8k", "f30k", "f30k")):
        folder = tmp_path / "mixed" / str(number)
        write_run(folder, "bow", number, 200.0 + number)
        text = (folder / "config.yaml").read_text()
        (folder / "config.yaml").write_text(f"{text}data: {{name: {name}}}\n")
        group = (
            "f8k" if name == "f8k" else ("custom", "f30k")[number % 2]
        )  # another way to the same
        (folder / "overrides.json").write_text(f'["data={group}", "data.name={name}"]')
    grouped = tmp_path / "t.csv"
    for asked in ([], ["--group", "model.encoder"]):
        assert main([str(tmp_path / "mixed"), *asked, "--csv", str(grouped)]) == 0
        rows = table(grouped)
        assert [(row["data.name"], row["runs"]) for row in rows] == [
            ("f30k", "2/2"),
            ("f8k", "1/1"),
        ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n", "does not hold runs"),
        (b"", "does not hold runs"),
        (b"SQLite format 3\0\xff\xfe", "does not hold runs"),
        (b"seed,dev.rsum\n", "No run in"),
        (b"seed,dev.rsum\n1,many\n", "t.csv:2, dev.rsum: 'many' is not a number"),
        (b"seed,dev.rsum\n1\n", "t.csv:2 has 1 cells, and the first line 2"),
        (b"seed,dev.rsum\n1,2,3\n", "t.csv:2 has 3 cells, and the first line 2"),
    ],
)
def test_files_that_are_no_records(tmp_path, capsys, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    assert main([str(tmp_path / "t.csv")]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "No folder or file nowhere"),
        (["--filter", "model.dim=3"], "no run has the config key 'model.dim'"),
        (["--group", "loss"], "No run has the config key 'loss'"),
        (["--sort", "test.x"], "no finished run has 'test.x'"),
    ],
)
def test_mistakes(runs, capsys, arguments, message):
    folders = [] if arguments == ["nowhere"] else [str(runs)]
    assert main([*folders, *arguments]) == 1
    assert message in capsys.readouterr().err


def test_headings_are_as_short_as_they_can_be():
    named = short_keys(["data", "data.name", "model.dim", "loss.margin"])
    assert named == {"data": "data", "data.name": "data.name", "model.dim": "dim",
                     "loss.margin": "margin"}  # fmt: skip
