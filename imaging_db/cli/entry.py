"""What every command does around its work: signals, errors to exit codes, pipes that close."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from imaging_db import __version__, failpoints
from imaging_db.cli import output
from imaging_db.cli.exit_codes import BUG
from imaging_db.errors import ImagingDBError, used_up

Run = Callable[[argparse.Namespace], int]


class Terminated(KeyboardInterrupt):
    """SIGTERM, told like Ctrl-C so that one path cleans up after both."""

    signal_number = signal.SIGTERM.value


def make_parser(prog: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """Return a parser with what all commands share."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"imaging_db {__version__}")
    return parser


def run(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Return the exit code of the command that ``argv`` spells; never raises."""
    _tolerant_streams()
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)
    try:
        args = parser.parse_args(argv)
    except SystemExit as stop:  # argparse: 0 after --help and --version, 2 for a mistake
        return int(stop.code or 0)
    _listen_for_sigterm()
    logging.basicConfig(level=logging.WARNING, format="note: %(message)s", stream=sys.stderr)
    with _stops_repeated():
        return _guarded(args.run, args)


def _guarded(work: Run, args: argparse.Namespace) -> int:
    debug = bool(getattr(args, "debug", False))
    try:
        failpoints.arm()
        code = work(args)
        output.finish()
    except ImagingDBError as error:
        if debug:
            traceback.print_exc()
        output.errors(error)
        return error.exit_code
    except KeyboardInterrupt as stop:
        output.errors(InterruptedError("interrupted; rerun to continue"))
        return 128 + int(getattr(stop, "signal_number", signal.SIGINT))
    except Exception as error:  # noqa: BLE001 - the one place where a bug becomes an exit code
        told = used_up(error)
        if told is not None:
            output.errors(told)
            return told.exit_code
        traceback.print_exc()
        output.errors(RuntimeError("this is a bug in imaging_db; please report the lines above"))
        return BUG
    finally:
        failpoints.arm("")  # whoever called us in their own process goes on
    return code


def _tolerant_streams() -> None:
    """A name that the terminal's encoding lacks is escaped, instead of ending the command.

    A stream that the caller has closed (``>&-``) leads nowhere.
    """
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - to the end
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _listen_for_sigterm() -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    try:
        signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread: a caller of main(), who has its own handlers
        return


@contextmanager
def _stops_repeated() -> Iterator[None]:
    """Repeat a stop that Python could not raise where it arrived, such as in the lock of an import."""
    told_before = sys.unraisablehook
    again: list[threading.Timer] = []

    def told(found: sys.UnraisableHookArgs) -> None:
        if not isinstance(found.exc_value, KeyboardInterrupt):
            told_before(found)
            return
        number = int(getattr(found.exc_value, "signal_number", signal.SIGINT))
        again.append(threading.Timer(0.05, _stop_main_thread, (number,)))
        again[-1].daemon = True
        again[-1].start()

    sys.unraisablehook = told
    try:
        yield
    finally:
        sys.unraisablehook = told_before
        for timer in again:
            timer.cancel()


def _stop_main_thread(number: int) -> None:
    if sys.platform == "win32":
        signal.raise_signal(number)
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, number)  # which wakes it, too
