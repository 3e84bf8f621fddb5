"""What a command does not use it does not load: start-up is quick because of that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lazy_compiler import MARKS_APART
from small_models import small_model
from vse_exp.models.checkpoint import save_model
from vse_exp.text.vocabulary import Vocabulary

HEAVY = {"matplotlib", "pandas", "scipy", "sklearn", "timm", "torchvision", "transformers", "wandb"}
HEAVY |= {"sympy"}  # which comes with torch's compiler


def loaded(code: str, *arguments: str) -> set[str]:
    """Top-level packages that a fresh process has loaded after running `code`."""
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_a_training_loads_no_more_than_it_needs(tiny: Path, tmp_path: Path) -> None:
    code = "from vse_exp.train import main; main()\nfrom scipy.signal import windows  # as ever"
    arguments = ["data=custom", "data.name=tiny", f"paths.data_dir={tiny}", "model.dim=8"]
    arguments += [f"paths.run_dir={tmp_path / 'run'}", "max_epochs=1"]
    packages = loaded(code, *arguments)
    heavy = HEAVY if MARKS_APART else HEAVY - {"sympy"}  # which the optimiser brings there
    assert packages & heavy == {"scipy"}
    assert (tmp_path / "run" / "results.json").is_file()


def test_a_model_is_used_without_what_trains_it(tmp_path: Path) -> None:
    model = small_model(Vocabulary.build(["a dog"]), 3, {"name": "gru"})
    save_model(model, tmp_path / "model.ckpt")
    code = "import sys, vse_exp; vse_exp.load_model(sys.argv[1]).encode_sentences(['a dog'])"
    packages = loaded(code, str(tmp_path / "model.ckpt"))
    assert not packages & (HEAVY | {"hydra", "lightning", "rich", "torchmetrics"})
