"""From picture files to image features: reading, backbones, extraction, and its record.

The backbones load torchvision, so this package imports them only when they are used; import
`vse_exp.images.backbones`, `.extraction` and `.encoding` for those.
"""

from vse_exp.images.decoding import UnreadableImage, decode_image, read_image_file, to_rgb
from vse_exp.images.provenance import check_compatible, read_provenance
from vse_exp.images.sources import Pictures, open_pictures

__all__ = [
    "Pictures",
    "UnreadableImage",
    "check_compatible",
    "decode_image",
    "open_pictures",
    "read_image_file",
    "read_provenance",
    "to_rgb",
]
