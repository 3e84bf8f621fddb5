"""Keys of the model group: what they become, and mistakes told."""

from __future__ import annotations

import pytest

from vse_exp.errors import UserError
from vse_exp.models.config import ModelConfig


def test_sizes_follow_from_the_encoder() -> None:
    assert ModelConfig.from_dict({"encoder": "bow", "dim": 64}).dim_word == 64
    assert ModelConfig.from_dict({"encoder": "bow", "dim": 64, "dim_word": 64}).dim_word == 64
    assert ModelConfig.from_dict({"encoder": "gru", "dim": 64}).dim_word == 300
    assert ModelConfig.from_dict({"encoder": "lstm", "dim_word": 20}).dim_word == 20
    assert ModelConfig.from_dict({}).resolve(7).dim_image == 7
    assert ModelConfig.from_dict({"dim_image": 7}).resolve(7).dim_image == 7


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"encodr": "gru"}, "did you mean model.encoder?"),
        ({"xyzzy": 1}, "known: encoder, dim"),
        ({"encoder": "rnn"}, "choose one of bow, gru, lstm"),
        ({"encoder": "bow", "dim": 8, "dim_word": 9}, "model.dim_word=9 contradicts model.dim=8"),
        ({"encoder": "bow", "num_layers": 2}, "model.num_layers=2"),
        ({"encoder": "transformer", "bidirectional": True}, "model.bidirectional"),
        ({"encoder": "gru", "pooling": "sum"}, "for model.encoder=gru: choose one of last, mean"),
        ({"encoder": "bow", "pooling": "last"}, "for model.encoder=bow: choose one of sum"),
        ({"image_encoder": "vgg"}, "choose one of linear"),
        ({"image_pooling": "min"}, "choose one of mean"),
        ({"similarity": "dot"}, "choose one of cosine, order"),
        ({"init": "xavier"}, "choose one of default, original"),
        ({"dim": 0}, "model.dim is 0"),
        ({"dropout": 1.0}, "model.dropout is 1.0"),
        ({"word_dropout": -0.1}, "model.word_dropout"),
    ],
)
def test_mistakes_are_told(values: dict, said: str) -> None:
    with pytest.raises(UserError) as error:
        ModelConfig.from_dict(values)
    assert said in str(error.value)


def test_another_image_size_than_the_datas() -> None:
    with pytest.raises(UserError, match="the image features have 9"):
        ModelConfig.from_dict({"dim_image": 8}).resolve(9)
