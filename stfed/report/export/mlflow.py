"""A run as an MLflow run, found again by the tag `stfed.identity`: a second export logs the points that are not there yet.

Nothing is sent anywhere but to the tracking URI. MLflow's own usage reports are switched off unless MLFLOW_DISABLE_TELEMETRY says
otherwise, and a server that does not answer is given up on after two more tries unless MLFLOW_HTTP_REQUEST_MAX_RETRIES does.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote, unquote, urlsplit

from stfed import __version__
from stfed.errors import LocalError
from stfed.report.export.points import Begin, End, Item, Scalar, Settings, Words

INSTALL = "pip install 'stfed[mlflow]'"
EXPERIMENT = "stfed"
DATABASE = "mlflow.db"
_IDENTITY = "stfed.identity"
_DESCRIPTION = "mlflow.note.content"
"""The tag that MLflow shows as a run's description, as Markdown."""
_BATCH = 1000
_PARAMS = 100
_VALUE_LETTERS = 6000
"""MLflow's limits of one request, and of a parameter."""
_STRANGE = re.compile(r"[^\w\-. /]", re.ASCII)
"""What MLflow allows in no name."""
_ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_PATHS = ("sqlite", "file")
"""Schemes of addresses that are paths, in which an @ hides nothing."""
_HIDDEN = "***"
_SHORT = 4
"""Letters; fewer occur in words by chance."""

Point: TypeAlias = tuple[str, int, int]
"""Name, step, and time in milliseconds."""


class Mlflow:
    """Logs one run.

    Args:
        place: a tracking URI, such as https://mlflow.example:5000 or sqlite:///mlflow.db, or a folder, which gets a database mlflow.db.
        name: of the run there, when it is made.
        experiment: in which it is; made if it is not there.

    Raises:
        LocalError: MLflow is not installed, or the place cannot be used.
    """

    def __init__(self, place: str, name: str, *, experiment: str = EXPERIMENT) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # a library does not print
        try:
            from mlflow.tracking import MlflowClient
        except ImportError:
            raise LocalError(
                "an export to MLflow needs the package mlflow-skinny or mlflow, which is not installed", hint=INSTALL
            ) from None
        logging.getLogger("mlflow").setLevel(logging.ERROR)  # it tells of every table that it makes, and quotes a database's error
        logging.getLogger("alembic").setLevel(logging.WARNING)
        self.uri: str = _uri(place)
        self._shown, self._hidden = _parted(self.uri)
        self._name = name
        artifacts = None if _ADDRESS.match(place) else (Path(place).resolve() / "artifacts").as_uri()
        with self._speaking():
            self._client: Any = MlflowClient(tracking_uri=self.uri)
            found = self._client.get_experiment_by_name(experiment)
            self._experiment: str = (
                found.experiment_id if found else self._client.create_experiment(experiment, artifact_location=artifacts)
            )
        self.run_id: str | None = None
        self._there: set[Point] = set()

    @property
    def place(self) -> str:
        """MLflow's id of the run."""
        return self.run_id or ""

    @property
    def viewer(self) -> str:
        """What shows it."""
        if self._shown.startswith("http"):
            return f"{self._shown.rstrip('/')}/#/experiments/{self._experiment}/runs/{self.run_id}"
        return f"mlflow server --backend-store-uri {self._shown}"

    def write(self, items: Sequence[Item]) -> None:
        """Adds items.

        Raises:
            LocalError: MLflow cannot be reached, or refuses.
        """
        waiting: list[Scalar] = []
        with self._speaking():
            for item in items:
                match item:
                    case Begin():
                        waiting = []
                        self._begin(item)
                    case Scalar():
                        waiting.append(item)
                    case Settings():
                        self._settings(item)
                    case Words(name=name, text=text):
                        self._client.set_tag(self.run_id, _DESCRIPTION if name == "protection" else f"stfed.{name}", text)
                    case End(time_s, failed):
                        self._scalars(waiting)
                        waiting = []
                        self._client.set_terminated(self.run_id, "FAILED" if failed else "FINISHED", round(time_s * 1000))
            self._scalars(waiting)

    def _begin(self, item: Begin) -> None:
        found = self._client.search_runs([self._experiment], f"tags.\"{_IDENTITY}\" = '{item.identity}'", max_results=1)
        if found:
            run = found[0]
        else:
            tags = {_IDENTITY: item.identity, "stfed.run": item.run, "stfed.version": __version__}
            run = self._client.create_run(self._experiment, start_time=round(item.time_s * 1000), tags=tags, run_name=self._name)
        self.run_id = run.info.run_id
        self._there = {
            (name, metric.step, metric.timestamp)
            for name in run.data.metrics
            for metric in self._client.get_metric_history(self.run_id, name)
        }

    def _settings(self, item: Settings) -> None:
        from mlflow.entities import Param

        params = [Param(_STRANGE.sub("_", name), str(value)[:_VALUE_LETTERS]) for name, value in item.values.items()]
        for begin in range(0, len(params), _PARAMS):
            self._client.log_batch(self.run_id, params=params[begin : begin + _PARAMS])

    def _scalars(self, scalars: Sequence[Scalar]) -> None:
        from mlflow.entities import Metric

        new = []
        for one in scalars:
            name, time_ms = _STRANGE.sub("_", one.name), round(one.time_s * 1000)
            if (name, one.step, time_ms) not in self._there:
                self._there.add((name, one.step, time_ms))
                new.append(Metric(name, one.value, time_ms, one.step))
        for begin in range(0, len(new), _BATCH):
            self._client.log_batch(self.run_id, metrics=new[begin : begin + _BATCH])

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """MLflow's errors, and those of what it stands on, as one sentence."""
        try:
            yield
        except LocalError:
            raise
        except Exception as error:
            raise LocalError(
                f"MLflow at {self._shown} did not take the run: {self._reason(error)}", hint="check --mlflow and that it is up"
            ) from (None if self._hidden != [] else error)  # a traceback would print the cause

    def _reason(self, error: Exception) -> str:
        text = str(error).strip().split("\n")[0].replace(self.uri, self._shown)
        if not text or self._hidden is None:
            return type(error).__name__
        for secret in self._hidden:
            hidden = re.escape(secret)
            if len(secret) < _SHORT:
                hidden = rf"(?<!\w){hidden}(?!\w)"  # a letter that is missing in every word would be known by that
            text = re.sub(hidden, _HIDDEN, text.replace(f"{secret}@", ""))
        return text


def _parted(uri: str) -> tuple[str, list[str] | None]:
    """An address without what may be secret in it, and that, longest first.

    A password with a stroke in it ends the host early, and then nothing tells it from a path: of such an address only the scheme is shown,
    nothing else may be quoted (None), and a server's is refused, because what asks it would read it wrongly, too.
    """
    scheme = uri.partition(":")[0]
    try:
        parts = urlsplit(uri)
        behind = "@" in parts.path + parts.query + parts.fragment and (parts.netloc or scheme.partition("+")[0].lower() not in _PATHS)
        certain = not behind and (parts.port is None or parts.port >= 0)  # reading the port checks it
    except ValueError:
        certain = False
    if not certain:
        if scheme.lower() in ("http", "https"):
            raise LocalError(
                f"the address of the MLflow server, {scheme}://{_HIDDEN}, cannot be read for certain",
                hint="write the strange letters of a password as %40 for @, %2F for /, %3F for ?, %23 for #",
            )
        return f"{scheme}://{_HIDDEN}", None
    user, _, host = parts.netloc.rpartition("@")
    shown = f"{scheme}://{host}{parts.path}" if uri.startswith(f"{scheme}://") else uri.partition("?")[0].partition("#")[0]
    pieces = [user, *user.split(":", 1), *re.split("[:@]", user), parts.fragment, parts.query]
    pieces += [pair.partition("=")[2] or pair for pair in parts.query.split("&")]
    return shown, sorted({form for one in pieces for form in (one, unquote(one), quote(one, safe="")) if form}, key=len, reverse=True)


def _uri(place: str) -> str:
    if _ADDRESS.match(place) or place == "databricks":
        return place
    folder = Path(place)
    database = folder.resolve() / DATABASE
    strange = sorted(set(str(database)) & set("?#%"))
    if strange:
        raise LocalError(
            f"the folder {folder.resolve()} cannot hold MLflow's database: {strange[0]} means something else in a database's address",
            hint="choose a folder without ?, # and % in its path",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.close(os.open(database, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite would let everybody read it
    except OSError as error:
        raise LocalError(f"the folder {folder} cannot be made or written: {error.strerror}") from error
    return f"sqlite:///{database}"
