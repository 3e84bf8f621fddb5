"""How OpenCLIP's tokenizers clean a caption before they cut it into pieces."""

from __future__ import annotations

import html
import string

from vse_exp.errors import UserError

_NO_PUNCTUATION = str.maketrans("_", " ", string.punctuation.replace("_", ""))


def clean_caption(caption: str, way: str) -> str:
    """`whitespace`: broken characters mended, entities of HTML resolved, white space made single
    blanks; `lower`: and in lower case; `canonicalize`: and without punctuation."""
    try:
        import ftfy
    except ImportError as error:
        raise UserError(
            "OpenCLIP's text towers need the extra `openclip`: pip install 'vse_exp[openclip]'."
        ) from error
    text = html.unescape(html.unescape(ftfy.fix_text(caption)))
    if way == "canonicalize":
        text = text.translate(_NO_PUNCTUATION)
    text = " ".join(text.split())
    return text if way == "whitespace" else text.lower()
