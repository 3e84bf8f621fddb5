"""Eight updates of VSE++, repeated by `experiment=vsepp`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from recipes.repeated import Repeated, ids, part, read, recipe_model, rows
from vse_exp.data.loading import PairBatch

UPDATES = 8


def ours(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Their weights by our names."""
    named = {"img_enc.fc": "image_encoder.projection", "txt_enc.rnn": "sentence_encoder.recurrence"}
    found = {"sentence_encoder.embedding.weight": rows(weights["txt_enc.embed.weight"])}
    for name, weight in weights.items():
        module, _, last = name.rpartition(".")
        if module in named:
            found[f"{named[module]}.{last}"] = weight
    return found


@pytest.mark.parametrize(
    ("name", "loss"),
    [("vsepp_steps", ()), ("vsepp_steps_sum", ("loss=hinge",))],
    ids=["hardest", "all"],
)
def test_updates(name: str, loss: tuple[str, ...], golden: Path) -> None:
    """Weights to 1e-5, losses to 1e-6; measured: 4e-8 and 3e-7."""
    recorded = read(golden / "recipes" / f"{name}.npz")
    cfg, model = recipe_model("vsepp", 46, *loss)
    model.load_state_dict(ours(part(recorded, "init_")))
    tokens, lengths, images = ids(recorded["tokens"]), recorded["lengths"], recorded["images"]
    with torch.no_grad():
        assert_close(model.embed_images(images[0]), recorded["image_emb0"])
        assert_close(model.embed_captions(tokens[0], lengths[0]), recorded["caption_emb0"])
    batches = [
        PairBatch(tokens[i], lengths[i], images[i], torch.arange(8), recorded["image_ids"][i])
        for i in range(UPDATES)
    ]
    repeated = Repeated(cfg, model, batches, epoch=UPDATES)
    assert_close(torch.tensor(repeated.losses), recorded["losses"], rtol=1e-6, atol=0)
    assert_close(torch.tensor(repeated.norms), recorded["grad_norms"], rtol=1e-5, atol=0)
    assert_close(repeated.gradients[0], ours(part(recorded, "grad0_")), rtol=1e-5, atol=1e-5)
    for update in (1, UPDATES):
        after = ours(part(recorded, f"after{update}_"))
        assert_close(repeated.states[update - 1], after, rtol=1e-5, atol=1e-7)
