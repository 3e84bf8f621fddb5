"""Weights & Biases: tables of answers with pictures, histograms, code and the best model."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import wandb
from lightning.pytorch.loggers import WandbLogger

from vse_exp.errors import UserError
from vse_exp.files import write_text
from vse_exp.training.dashboards import TOP, Answer, Answers, Dashboard

Mode = Literal["online", "offline", "disabled"]


class WandbDashboard(Dashboard, WandbLogger):
    """A W&B run whose id is kept in the run folder, so that a resumed run draws on the same curves.

    The summary of `val/rsum` is its best value. Raises UserError for an unknown mode.
    """

    def __init__(
        self,
        run_dir: str,
        mode: Mode = "online",
        project: str = "vse_exp",
        entity: str | None = None,
        name: str | None = None,
        group: str | None = None,
        job_type: str = "train",
        tags: Sequence[str] = (),
    ) -> None:
        if mode not in get_args(Mode):
            modes = ", ".join(get_args(Mode))
            raise UserError(f"Unknown logger.wandb.mode={mode}: choose one of {modes}.")
        id_file = Path(run_dir) / "wandb_id"
        agent = "WANDB_SWEEP_ID" in os.environ  # `wandb agent` says whose run this is
        if agent or not id_file.is_file():
            write_text(id_file, os.environ["WANDB_RUN_ID"] if agent else secrets.token_hex(4))
        super().__init__(
            save_dir=run_dir,
            project=project,
            entity=entity,
            name=name and name.rpartition("/")[2],
            id=id_file.read_text().strip(),
            group=group,
            job_type=job_type,
            tags=list(tags),
            mode=mode,
            resume="allow" if mode == "online" else None,  # offline W&B warns that it does not
            settings=wandb.Settings(silent=True),
        )
        # W&B warns of settings that have no effect
        for key in ("anonymous", *(("project", "entity", "id") if agent else ())):
            self._wandb_init.pop(key, None)

    def start(self) -> None:
        try:
            self.experiment  # noqa: B018 (the run begins when it is first asked for)
        except wandb.Error as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise UserError(
                f"W&B does not begin ({reason}): log in with `wandb login`, or keep the run here "
                "with logger.wandb.mode=offline."
            ) from error
        self.experiment.define_metric("val/rsum", summary="max")
        package = Path(__file__).resolve().parents[1]
        self.experiment.log_code(str(package), name=f"source-{self.experiment.id}")

    def show_answers(self, answers: Answers, step: int) -> None:
        places = [f"{place}." for place in range(1, TOP + 1)]
        captions = answers.split.captions

        def picture(row: int, mark: str = "") -> Any:
            if answers.picture is None:
                return f"image {row} {mark}".strip()
            return wandb.Image(answers.picture(row), caption=mark)

        def told(answer: Answer) -> str:
            return f"{answer.mark} {captions[answer.row]}"

        annotation = [
            [picture(row), *map(told, found)] for row, found in answers.annotation.items()
        ]
        search = [
            [captions[row], *(picture(one.row, one.mark) for one in found)]
            for row, found in answers.search.items()
        ]
        for name, query, rows in (
            ("annotation", "image", annotation),
            ("search", "caption", search),
        ):
            columns = [query, *places[: len(rows[0]) - 1]]
            self.log_table(f"answers/{name}", columns=columns, data=rows)
        ranks = {"annotation": answers.annotation_ranks, "search": answers.search_ranks}
        self.experiment.log(
            {f"ranks/{name}": wandb.Histogram(of.tolist()) for name, of in ranks.items()}
        )

    def keep_best(self, checkpoint: Path, metrics: dict[str, float]) -> None:
        run = self.experiment
        for name, value in metrics.items():
            run.summary[f"best/{name}"] = value
        artifact = wandb.Artifact(f"model-{run.id}", type="model", metadata=dict(metrics))
        artifact.add_file(str(checkpoint))
        run.log_artifact(artifact, aliases=["best"])

    def finish(self) -> None:
        """Else the next job of a sweep would write into this run."""
        wandb.finish()
