"""The frame of every command: Hydra composes its config, a schema checks it, mistakes are told."""

from vse_exp.cli.composing import checked_config, config_dir, plain
from vse_exp.cli.entry import verb
from vse_exp.cli.mistakes import mistakes_told, show_log, user_message
from vse_exp.cli.refusals import composed

__all__ = [
    "checked_config",
    "composed",
    "config_dir",
    "mistakes_told",
    "plain",
    "show_log",
    "user_message",
    "verb",
]
