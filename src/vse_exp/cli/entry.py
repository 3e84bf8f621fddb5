"""From a command line to the function of a verb."""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import NoReturn
from unittest import mock

from hydra import version as hydra_version
from hydra._internal import utils as hydra_cli
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from vse_exp.alive import alive, spoken
from vse_exp.cli.composing import Asked, checked_config, config_dir
from vse_exp.cli.help import help_text
from vse_exp.cli.mistakes import mistakes_told, only_warnings, show_log
from vse_exp.cli.refusals import explained
from vse_exp.errors import UserError
from vse_exp.progress import silence
from vse_exp.schema import Keys
from vse_exp.sharding import spelled_out

Task = Callable[[DictConfig], object]
Main = Callable[..., None]
WORTH_TELLING = 2.0
"""Seconds from which on a command says how long it took."""


def verb(
    name: str,
    schema: type[Keys],
    positions: Sequence[str] = (),
    read: Callable[[str], str] = str,
    around: Callable[[DictConfig, Callable[[], object]], object] | None = None,
    timed: bool = True,
) -> Callable[[Task], Main]:
    """Turn `task(cfg)` into the command NAME over `conf/NAME.yaml`, whose keys `schema` types.

    The command takes its arguments, else those of the process. Those that are no `key=value` are
    the values of the keys `positions`; `read` may rewrite each before Hydra's grammar sees it.
    `around(cfg, job)` may run each job in its own way: `job` checks the config and does the task.
    What took long is told with its time, on standard error, unless it is not `timed`.
    """

    def decorate(task: Task) -> Main:
        if task.__module__ == "__main__":  # so that other processes find it by its name
            return import_module(f"vse_exp.{name}").main

        @functools.wraps(task)
        def job(cfg: DictConfig) -> object:
            show_log()

            def checked_task() -> object:
                chosen = HydraConfig.get()
                config = checked_config(schema, cfg, chosen.overrides.task)
                return _run_task(task, config, timed and chosen.mode != RunMode.MULTIRUN)

            with mistakes_told():
                return around(cfg, checked_task) if around else checked_task()

        def main(arguments: Sequence[str] | None = None) -> None:
            given = list(sys.argv[1:] if arguments is None else arguments)
            quiet = any(one.startswith("quiet=") for one in given)  # or not, as is found later
            with mistakes_told(), alive(name, quiet):
                if "shard" in schema.model_fields:
                    given = spelled_out(given)
                if "--version" in given:
                    print(f"vse_exp {version('vse_exp')}")
                else:
                    _run(
                        name, schema, job, given, lambda typed: map(read, _keyed(typed, positions))
                    )

        main.__dict__["schema"] = schema  # for who wants to know the keys of a verb
        return main

    return decorate


def _run_task(task: Task, config: DictConfig, timed: bool) -> object:
    started = time.monotonic()
    if config.quiet:
        with only_warnings(), silence():
            return task(config)
    found = task(config)
    seconds = time.monotonic() - started
    if timed and seconds >= WORTH_TELLING:
        sys.stdout.flush()
        print(f"Took {spoken(seconds)}.", file=sys.stderr)
    return found


def _run(
    name: str,
    schema: type[Keys],
    job: Task,
    arguments: list[str],
    read: Callable[[list[str]], Iterable[str]],
) -> None:
    """`read` is told what the arguments hold beside options."""
    parser = hydra_cli.get_args_parser()
    parser.error = _refuse
    args = parser.parse_intermixed_args(arguments)
    args.overrides = list(read(args.overrides))
    _check_options(args)
    asked = Asked(args.config_name or name, schema, tuple(args.overrides), args.config_dir)
    hydra_version.setbase("1.3")
    try:
        if args.help:
            print(help_text(asked))
            return
        # Hydra itself would print what is wrong, in several lines
        with mock.patch.object(hydra_cli, "run_and_report", lambda call: call()):
            hydra_cli._run_hydra(args, parser, job, str(config_dir()), name)
    except HydraException as error:
        raise explained(error, asked) from error


def _keyed(arguments: Sequence[str], positions: Sequence[str]) -> list[str]:
    """The arguments with the keys `positions` before those that have none."""
    keys = iter(positions)
    given: list[str] = []
    for one in arguments:
        key = None if "=" in one else next(keys, None)
        given.append(one if key is None else f"{key}='{one}'")
    return given


def _refuse(message: str) -> NoReturn:
    """In place of argparse's usage and exit status 2."""
    wrong = message.removeprefix("unrecognized arguments: ")
    if wrong == message:
        raise UserError(f"{message[:1].upper()}{message[1:]} (--help tells the options).")
    if "=" in wrong:
        raise UserError(f"Unknown option {wrong}: keys are written as key=value, without dashes.")
    raise UserError(f"Unknown option {wrong}: --help tells options and keys.")


def _check_options(args: argparse.Namespace) -> None:
    """UserError for options of Hydra that contradict each other, or that it cannot follow."""
    at_once = {
        "--run": args.run,
        "--cfg": args.cfg,
        "--multirun": args.multirun,
        "-sc": args.shell_completion,
        "--info": args.info,
    }
    given = [option for option, value in at_once.items() if value]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} exclude each other: leave one.")
    if args.resolve and not args.cfg:
        raise UserError("--resolve goes with --cfg: say --cfg job --resolve.")
    if args.experimental_rerun is not None:
        raise UserError("--experimental-rerun would run what a pickle says: type the command.")
    if nameless := [one for one in args.overrides if one.lstrip("+~").startswith("=")]:
        raise UserError(f"{nameless[0]} has no key before its =: write key=value.")
    if args.shell_completion and [one.partition("=")[0] for one in args.overrides] not in (
        ["install"],
        ["uninstall"],
        ["query"],
    ):
        raise UserError("-sc needs what to do: install=bash, install=zsh, install=fish.")
