"""The ClientApp that this node's owner installed, in the place of whatever code a run brings.

In a deployment of Flower a run brings its app along as a bundle (FAB), and a SuperNode unpacks and imports the ClientApp in it, as its own
user. No mod can watch over the code that imports it. So a party whose updates are to stay secret from whoever starts runs has to run its
own ClientApp, and this module is what its SuperNode starts for each message, in the place of Flower's `flwr-clientapp`; `stfed supernode`
sees to that (docs/adr/0019).

It runs Flower's own `run_clientapp` with three of the functions replaced that this one calls: nothing is unpacked, nothing is installed,
and what is loaded is the owner's app. Everything else is Flower's. What still comes from the run is data: the message, the run config
(which its SuperNode reads as TOML from the bundle), and a name to log. If Flower is not a version this was tested with, or does not look
as it did, nothing runs at all.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from flwr.clientapp import ClientApp
from flwr.clientapp.client_app import LoadClientAppError

from stfed.errors import LocalError, shown
from stfed.flower.mod import SecAggMod
from stfed.flower.spare import SPARE, wait_for_message

log: logging.Logger = logging.getLogger("flwr")

TESTED = frozenset({"1.41.0"})
"""Versions of Flower that tests/deployment/test_pinned_app.py passed with."""

PROBE = "--probe"
"""In the place of Flower's arguments: check everything that a message would need, and end."""

_RUNNER = "flwr.supernode.runtime.run_clientapp"
_COMMAND = "flwr.supernode.cli.flwr_clientapp"
_PARAMETERS = {
    "install_from_fab": ("fab_file", "install_dir", "skip_prompt"),
    "install_app_dependencies": ("project_dir", "launch_id", "run_id", "index_context"),
    "get_load_client_app_fn": ("default_app_ref", "app_path", "multi_app"),
}
"""What is replaced, and the parameters that it has in the versions tested."""


class PinnedAppError(LocalError):
    """This node's own ClientApp cannot be run, or it cannot be said that nothing else would be."""


def check_flower() -> ModuleType:
    """Flower's module that runs ClientApps, if it is as it was when this was tested.

    Raises:
        PinnedAppError: it is not, so that what is replaced here might not be all that runs.
    """
    found = version("flwr")
    if found not in TESTED:
        raise PinnedAppError(
            f"whether flwr {found} would run a coordinator's code has not been tested",
            hint=f"pip install flwr=={max(TESTED)}, or a version of stfed that knows {found}",
        )
    runner, command = import_module(_RUNNER), import_module(_COMMAND)
    run: Callable[..., None] = runner.run_clientapp
    if getattr(command, "run_clientapp", None) is not run or inspect.unwrap(run).__globals__ is not vars(runner):
        raise PinnedAppError(f"flwr {found} runs ClientApps in another way than it did when this was tested", hint="install flwr anew")
    for name, parameters in _PARAMETERS.items():
        function = getattr(runner, name, None)
        if name not in run.__code__.co_names or function is None or tuple(inspect.signature(function).parameters) != parameters:
            raise PinnedAppError(f"{name} of flwr {found} is not as it was when this was tested", hint="install flwr anew")
    return runner


def load(reference: str) -> tuple[ClientApp, SecAggMod, Path]:
    """The owner's app, its `SecAggMod`, which is outermost, and the file that it comes from.

    Args:
        reference: MODULE:ATTRIBUTE of something importable.

    Raises:
        PinnedAppError: it cannot be imported, is no ClientApp, or lets messages past the mod.
    """
    name, _, attribute = reference.partition(":")
    if not name or not attribute:
        raise PinnedAppError(f"{shown(reference)} names no ClientApp", hint="write MODULE:ATTRIBUTE, as in hospital.client_app:app")
    try:
        module = import_module(name)
        app = attrgetter(attribute)(module)
    except Exception as error:
        raise PinnedAppError(
            f"{reference} cannot be imported: {type(error).__name__}: {error}",
            hint=f"install the package that has it into the environment of {sys.executable}",
        ) from error
    if not isinstance(app, ClientApp):
        raise PinnedAppError(f"{reference} is a {type(app).__name__}, and a ClientApp of flwr is needed")
    return app, _outermost(app, reference), Path(module.__file__ or "")


def _outermost(app: ClientApp, reference: str) -> SecAggMod:
    """The mod that sees each message first and each reply last.

    A ClientApp has no public name for its mods, and wraps its functions in those that it has when they are registered. So the wrapping
    itself is looked at: of each function, the mod that the outermost layer calls.
    """
    functions = dict(app._registered_funcs) | ({"client_fn": app._call} if app._call else {})
    if not functions:
        raise PinnedAppError(f"{reference} has no function that a message could reach", hint="register one with @app.train()")
    mod = None
    for name, function in functions.items():
        mod = inspect.getclosurevars(function).nonlocals.get("_mod") if inspect.isfunction(function) else None
        if not isinstance(mod, SecAggMod):
            raise PinnedAppError(
                f"a {name.removesuffix('.default')} message reaches {reference} without SecAggMod as the outermost mod, so that what it "
                "returns could leave in clear",
                hint="put secagg_mod first: ClientApp(mods=[secagg_mod, ...])",
            )
    assert isinstance(mod, SecAggMod)
    return mod


def pin(reference: str, file: str) -> None:
    """From now on, `flwr-clientapp` in this process runs the owner's app and none other.

    Args:
        reference: MODULE:ATTRIBUTE.
        file: where the module was when the node was started; another place is another app.

    Raises:
        PinnedAppError: as `check_flower`.
    """
    runner = check_flower()

    def not_unpacked(fab_file: Path | bytes, install_dir: Path | None = None, skip_prompt: bool = False) -> Path:
        content = fab_file if isinstance(fab_file, bytes) else fab_file.read_bytes()
        log.info("This run's own app (SHA-256 %s) is left alone: this node runs %s", hashlib.sha256(content).hexdigest(), reference)
        return Path()

    def not_installed(*_: Any, **__: Any) -> NoReturn:
        raise PinnedAppError("nothing is installed for a run on this node")

    def loader(default_app_ref: str, app_path: str | None, multi_app: bool) -> Callable[[str, str, str], ClientApp]:
        return lambda fab_id, fab_version, fab_hash: _load(reference, file)

    for name, replacement in zip(_PARAMETERS, (not_unpacked, not_installed, loader), strict=True):
        setattr(runner, name, replacement)


def _load(reference: str, file: str) -> ClientApp:
    """What is wrong is said in this node's log, and the coordinator is told that something is."""
    try:
        return _same(reference, file)
    except PinnedAppError:
        log.exception("This node's own ClientApp cannot be loaded")
        raise LoadClientAppError("this node's own ClientApp cannot be loaded") from None


def _same(reference: str, file: str) -> ClientApp:
    app, _, found = load(reference)
    if str(found) != file:
        raise PinnedAppError(f"{reference} was in {file} when it was checked, and is in {found} here", hint="start the node anew")
    return app


def main(arguments: Sequence[str]) -> None:
    """Handles one message, as `flwr-clientapp` would.

    Args:
        arguments: reference and file as `pin` takes them, then what Flower says, or `PROBE`, or `SPARE` and the folder to wait in.
    """
    reference, file, *rest = arguments
    try:
        pin(reference, file)
        if rest == [PROBE]:
            _same(reference, file)
            return
        if rest[:1] == [SPARE]:
            _same(reference, file)
            rest = wait_for_message(rest[1])
    except PinnedAppError as error:
        sys.exit(f"error: {error}")
    sys.argv = ["flwr-clientapp", *rest]
    import_module(_COMMAND).flwr_clientapp()


if __name__ == "__main__":
    main(sys.argv[1:])
