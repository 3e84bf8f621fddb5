"""Models of other programs, by a prefix of their names: a file a prefix, with its `load`."""

from __future__ import annotations

import importlib.util
import logging
import pkgutil
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from PIL.Image import Image

from vse_exp.errors import UserError
from vse_exp.models.dual import DualEncoder, Tokenized
from vse_exp.similarity import Cosine


def prefix_of(source: str) -> str | None:
    """The prefix of a name like `hf:openai/clip-vit-base-patch32`; None of a file's.

    UserError where no such prefix is known.
    """
    found = re.match(r"([a-z_]{2,}):", source)
    if found is None:
        return None
    known = sorted(one.name for one in pkgutil.iter_modules(__path__))
    if found[1] not in known:
        prefixes = ", ".join(f"{one}:…" for one in known)
        raise UserError(f"Unknown kind of model {source}: there are files, and {prefixes}.")
    return found[1]


def load_other(source: str, prefix: str, trust: Sequence[str] = ()) -> DualEncoder:
    """The model that a prefix and a name say, on the CPU; `trust` as for a checkpoint. UserError
    where it cannot be had."""
    return import_module(f"{__name__}.{prefix}").load(source.removeprefix(f"{prefix}:"), trust)


def needs(package: str, extra: str, prefix: str) -> None:
    """UserError where the library that a prefix needs is not installed."""
    if importlib.util.find_spec(package) is None:
        raise UserError(f"{prefix}:… needs the extra `{extra}`: pip install 'vse_exp[{extra}]'.")


@contextmanager
def loading(source: str) -> Iterator[None]:
    """What a library raises or says while it loads `source`, as one sentence."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # no network, no such name, a broken folder: many kinds
        # the first sentence says what is wrong, and those behind it what is online
        reason = re.split(r"(?<=[^.])\.\s|\n\n", str(error).strip())[0]
        reason = " ".join(reason.split())[:250].rstrip(".")
        raise UserError(
            f"Cannot load {source} ({type(error).__name__}: {reason}): give the folder of a model, "
            "or a name on its hub where there is a network."
        ) from error
    finally:
        logging.disable(before)


class Pictures:
    """Pictures as `cut` of a library makes them, all at once, into what its model takes."""

    squares, shape = False, ()

    def __init__(self, cut: Any) -> None:
        self.cut = cut

    def prepare(self, pictures: Sequence[Image]) -> Any:
        return self.cut(list(pictures))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pictures) and repr(other.cut) == repr(self.cut)

    def __hash__(self) -> int:
        return hash(repr(self.cut))


class OtherEncoder(DualEncoder):
    """A dual encoder of a library; `tokens` makes ids of sentences."""

    captions_at_once = 256

    def __init__(
        self, model: Any, tokens: Callable[[Sequence[str]], Tokenized], pictures: Pictures
    ) -> None:
        super().__init__()
        self.model, self.tokens, self.pictures = model, tokens, pictures
        self.similarity = Cosine()
        scale = getattr(model, "logit_scale", None)
        self.logit_scale = None if scale is None else float(scale.detach().exp())
        self.dim = self.measured_dim()

    @property
    def preprocessing(self) -> Pictures:
        return self.pictures

    def tokenize(self, captions: Sequence[str]) -> Tokenized:
        return self.tokens(captions)
