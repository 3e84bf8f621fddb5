"""The built-in data set: pictures that the program draws, with captions from a grammar.

Everything in it follows from a seed: scenes (`sampling`, of what `world` holds), pictures
(`drawing`), captions (`grammar`) and image features (`descriptor`).
"""

from vse_exp.data.scenes.build import cache_folder, prepare_scenes, prepare_twins
from vse_exp.data.scenes.descriptor import describe
from vse_exp.data.scenes.drawing import draw
from vse_exp.data.scenes.export import write_folder, write_pictures
from vse_exp.data.scenes.grammar import captions
from vse_exp.data.scenes.sampling import TWINS, named_scene, sample_scene, scene_name
from vse_exp.data.scenes.world import Relation, Scene, Thing

__all__ = [
    "TWINS",
    "Relation",
    "Scene",
    "Thing",
    "cache_folder",
    "captions",
    "describe",
    "draw",
    "named_scene",
    "prepare_scenes",
    "prepare_twins",
    "sample_scene",
    "scene_name",
    "write_folder",
    "write_pictures",
]
