from __future__ import annotations

import pickle
import sys

import pytest
import torch

from vse_exp.errors import UserError
from vse_exp.text.tokenizers import Multilingual, Stems, Whitespace, Words
from vse_exp.text.vocabulary import EOS, PAD, UNK, Vocabulary


def test_split_keeps_case_and_words_drops_punctuation():
    caption = "Two  girls play , in a “Café” t-shirt don't 3 ."
    split = Vocabulary.build([caption], Whitespace())
    words = Vocabulary.build([caption], Words())
    assert split.tokenize(caption) == [
        "Two", "girls", "play", ",", "in", "a", "“Café”", "t-shirt", "don't", "3", "."
    ]  # fmt: skip
    assert words.tokenize(caption) == [
        "two", "girls", "play", "in", "a", "café", "t-shirt", "don't", "3"
    ]  # fmt: skip
    assert words.tokenize("Ещё раз, 東京_タワー") == ["ещё", "раз", "東京", "タワー"]


def test_stems_join_the_forms_of_a_word():
    vocabulary = Vocabulary.build(["Two dogs, running!", "a dog runs"], Stems())
    # by the published algorithm's vocabulary: dogs dog, running run
    assert vocabulary.words == ["dog", "run", "two", "a"]
    tokens, _ = vocabulary.encode(["The dog ran; DOGS run"]).batch(torch.arange(1).numpy())
    assert tokens.tolist() == [[UNK, 3, UNK, 3, 4, EOS]]
    assert vocabulary.tokenize("Ещё t-shirts don't") == ["ещё", "t-shirt", "don't"]


def test_ids_by_frequency_ties_by_appearance():
    vocabulary = Vocabulary.build(["b a a", "c b", "d"], Whitespace())
    assert vocabulary.words == ["b", "a", "c", "d"]
    assert (PAD, EOS, UNK) == (0, 1, 2)
    tokens, lengths = vocabulary.encode(["a d", "zz b"]).batch(torch.arange(2).numpy())
    assert tokens.tolist() == [[4, 6, EOS], [UNK, 3, EOS]]
    assert lengths is None
    assert len(vocabulary) == 7


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"min_count": 2}, ["b", "a"]),
        ({"max_size": 3}, ["b", "a", "c"]),
        ({"drop_rarest": 2}, ["b", "a"]),
    ],
)
def test_limits(options, words):
    assert Vocabulary.build(["b a a", "c b", "d"], Whitespace(), **options).words == words


def test_padding_empty_captions_and_prefix():
    vocabulary = Vocabulary(["<start>", "dog"], Whitespace(), prefix=("<start>",))
    encoded = vocabulary.encode(["", "dog dog"])
    assert encoded.lengths.tolist() == [2, 4]
    tokens, lengths = encoded.batch(torch.tensor([0, 1]).numpy())
    assert tokens.tolist() == [[3, EOS, PAD, PAD], [3, 4, 4, EOS]]
    assert lengths is not None
    assert lengths.tolist() == [2, 4]


def test_round_trip_and_unknown_tokenizers():
    vocabulary = Vocabulary(["x", "a", "b"], Stems(language="german"), prefix=("x",))
    again = Vocabulary.from_dict(vocabulary.to_dict(), trust=[])
    assert again.to_dict() == vocabulary.to_dict()
    assert (
        again.encode(["Katzen a"]).tokens.tolist()
        == vocabulary.encode(["Katzen a"]).tokens.tolist()
    )
    with pytest.raises(UserError, match="The file asks for evil"):
        Vocabulary.from_dict({**vocabulary.to_dict(), "tokenizer": {"_target_": "evil.B"}}, [])
    with pytest.raises(UserError, match="no stemmer for language=klingon"):
        Stems(language="klingon")


def test_prefix_words_come_first():
    vocabulary = Vocabulary.build(["dog cat dog"], Whitespace(), prefix=["<start>"])
    assert vocabulary.words == ["<start>", "dog", "cat"]
    assert vocabulary.encode(["cat"]).tokens.tolist() == [3, 5, EOS]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ngram": 2}, "3 dog run 狗 狗在 在 在跑 跑 t-shirt い いぬ ぬ"),
        ({"language": None}, "3 dogs running 狗 在 跑 t-shirt い ぬ"),
        ({"ngram": 3}, "3 dog run 狗 狗在 狗在跑 在 在跑 跑 t-shirt い いぬ ぬ"),
    ],
)
def test_words_of_several_scripts(options, words):
    assert Multilingual(**options)("3 Dogs running，狗在跑。T-shirt いぬ!") == words.split()


def test_thai_by_letters():
    assert Multilingual()("หมา dog") == ["ห", "ม", "า", "dog"]


def test_chinese_words(monkeypatch, tmp_path):
    pytest.importorskip("jieba", reason="the extra zh")
    import marshal

    from vse_exp.text import chinese

    # what another user left in the shared folder for jieba to read is not read
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "jieba.cache").write_bytes(marshal.dumps(({"女": 1, "女人在海": 10**9}, 10**9)))
    chinese._cutter.cache_clear()
    caption = "穿着泳装的女人在海水里，Two dogs"
    words = ["穿着", "泳装", "的", "女人", "在", "海水", "里"]
    assert chinese.Jieba(characters=False)(caption) == [*words, "two", "dog"]
    pairs = chinese.Jieba(characters=False, ngram=2)("女人在海水里")
    assert pairs == ["女人", "女人在", "在", "在海水", "海水", "海水里", "里"]
    both = pickle.loads(pickle.dumps(chinese.Jieba(language=None)))
    assert both("女人在跑。Dogs") == ["女人", "在", "跑", "女", "人", "dogs"]
    assert [p.name for p in tmp_path.iterdir()] == ["jieba.cache"]


def test_without_jieba(monkeypatch):
    from vse_exp.text import chinese

    monkeypatch.setitem(sys.modules, "jieba", None)
    chinese._cutter.cache_clear()
    with pytest.raises(UserError, match=r"pip install 'vse_exp\[zh\]'"):
        chinese.Jieba()


def test_pairs_of_neighbours_are_words_too():
    assert Words(ngram=2)("A red circle.") == ["a", "a red", "red", "red circle", "circle"]
    assert Words(ngram=3)("so it is") == ["so", "so it", "so it is", "it", "it is", "is"]
    stems = pickle.loads(pickle.dumps(Stems(ngram=2)))
    assert stems("dogs running") == ["dog", "dog run", "run"]
    assert stems("") == []
