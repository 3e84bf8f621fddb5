"""A workspace of vse_exp's curves on W&B: python docs/wandb_workspace.py ENTITY [PROJECT]

Needs `pip install wandb-workspaces` and an account, and prints the workspace's address.
"""

from __future__ import annotations

import sys

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

RECALLS = [f"val/{way}R@{k}" for way in "as" for k in (1, 5, 10)]
SWEPT = ["lrate", "model.dim", "loss.temperature"]


def workspace(entity: str, project: str) -> ws.Workspace:
    """Dev recall by group of runs, what a sweep shows, the answers of the best model, the speed."""
    columns = [*(wr.ParallelCoordinatesPlotColumn(f"c::{key}") for key in SWEPT),
               wr.ParallelCoordinatesPlotColumn("val/rsum")]  # fmt: skip
    sections = {
        "Recall on dev": [
            wr.LinePlot(title="rsum", x="Step", y=["val/rsum"], max_runs_to_show=100),
            wr.LinePlot(title="recalls", x="Step", y=RECALLS),
            wr.BarPlot(title="best rsum", metrics=["val/rsum"]),
        ],
        "Sweep": [
            wr.ParallelCoordinatesPlot(columns=columns),
            wr.ParameterImportancePlot(with_respect_to="val/rsum"),
        ],
        "Answers": [
            wr.WeavePanelSummaryTable(table_name=f"answers/{way}")
            for way in ("annotation", "search")
        ],
        "Training": [
            wr.LinePlot(title=name, x="Step", y=[f"train/{name}"])
            for name in ("loss", "lr", "grad_norm", "captions_per_second")
        ],
    }
    return ws.Workspace(
        entity=entity,
        project=project,
        name="vse_exp",
        sections=[
            ws.Section(name=name, panels=panels, is_open=True) for name, panels in sections.items()
        ],
        runset_settings=ws.RunsetSettings(groupby=[ws.Metric("Group")]),
    )


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("error: say whose project: python docs/wandb_workspace.py ENTITY [PROJECT]")
    print(workspace(sys.argv[1], (sys.argv[2:] or ["vse_exp"])[0]).save().url)
