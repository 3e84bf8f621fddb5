"""Raw annotation formats (Flickr8k, Flickr30k, COCO, Karpathy's, tables) to captions by picture."""

from vse_exp.data.annotations.reading import find_annotations, read_annotations
from vse_exp.data.annotations.records import Annotations, Reading, Record, gather
from vse_exp.data.annotations.splits import assign_fractions, assign_lists, leave_out_unassigned
from vse_exp.data.annotations.writing import WrittenSplit, write_splits

__all__ = [
    "Annotations",
    "Reading",
    "Record",
    "WrittenSplit",
    "assign_fractions",
    "assign_lists",
    "find_annotations",
    "gather",
    "leave_out_unassigned",
    "read_annotations",
    "write_splits",
]
