"""The process that runs approved task code: no keys, no network, nothing readable but Python, code and data.

One process serves a client for as long as it lives, so torch is imported once. What comes back is checked before
anything uses it: exact names, shapes and types, every number finite.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save_file

import collegium
from collegium.errors import PreconditionError

from .confinement import Policy, system_paths
from .errors import TaskFailed, TaskResultRejected, TaskTimedOut
from .settings import SandboxSettings
from .task import TaskSource
from .worker import MAX_FRAME, write_frame

__all__ = ["Confinement", "Sandbox", "SandboxSettings", "TaskDescription", "Trained"]

State = dict[str, NDArray[Any]]

_START_SECONDS = 180.0
_END_SECONDS = 2.0
_HEADER_BYTES = 1 << 20
_MOST_PREDICTIONS = 1 << 30
_SEATBELT = Path("/usr/bin/sandbox-exec")
_PASSED_ON = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "SYSTEMROOT", "TZ")
_BOOTSTRAP = "import sys; sys.path[:0] = sys.argv[2:]; from collegium_client.worker import main; main()"


@dataclass(frozen=True)
class Confinement:
    """What the system enforces on the task's process, by mechanism."""

    mechanisms: Mapping[str, bool]

    @property
    def no_network(self) -> bool:
        """No socket reaches anything."""
        names = ("network_namespace", "system_call_filter", "seatbelt")
        return any(self.mechanisms.get(name, False) for name in names)

    @property
    def no_keystore(self) -> bool:
        """The keystore cannot be read."""
        names = ("filesystem_allowlist", "keystore_covered", "seatbelt")
        return any(self.mechanisms.get(name, False) for name in names)

    @property
    def no_writes(self) -> bool:
        """Nothing outside the scratch folder can be written."""
        return any(self.mechanisms.get(name, False) for name in ("filesystem_allowlist", "seatbelt"))

    def explain(self) -> str:
        """One line for people."""
        parts = [("network", self.no_network), ("keystore", self.no_keystore), ("writes outside", self.no_writes)]
        return ", ".join(f"{name} {'blocked' if on else 'NOT BLOCKED by this system'}" for name, on in parts)


@dataclass(frozen=True)
class TaskDescription:
    """What a task federates."""

    tensors: tuple[tuple[str, tuple[int, ...]], ...]
    buffers: tuple[tuple[str, tuple[int, ...]], ...]
    hyperparameters: Mapping[str, Any]


@dataclass(frozen=True)
class Trained:
    """A checked result of local training."""

    state: State
    """float32 by parameter name."""
    buffers: bytes
    """safetensors of what stays local; empty when the model has no buffers."""
    num_examples: int
    report: Mapping[str, Any]


class Sandbox:
    """Runs one task. Use as a context manager; `start` is called on first need."""

    def __init__(
        self,
        source: TaskSource,
        settings: SandboxSettings,
        *,
        protect: Sequence[Path],
        scratch: Path | None = None,
        log: Path | None = None,
    ) -> None:
        """`protect` are folders the task must never read: keystore, state, store, tls.

        `scratch` is emptied and used; without it a temporary folder is made. `log` gets what the task prints.
        """
        self._source, self._settings, self._log = source, settings, log
        self._protect = tuple(path.resolve() for path in protect)
        if scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="collegium-task-")).resolve()
        else:
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(parents=True)
            self._scratch = scratch.resolve()
        self._process: subprocess.Popen[bytes] | None = None
        self._pending = b""
        self._description: TaskDescription | None = None
        self.confinement = Confinement({})

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the process ------------------------------------------------------------------------------------------

    def start(self) -> Confinement:
        """Start the process when it does not run, and return what is enforced on it.

        Raises `TaskFailed` when it does not come up, `PreconditionError` when confinement is required and missing.
        """
        if self._process is not None and self._process.poll() is None:
            return self.confinement
        self._pending = b""
        code, given, taken = (self._scratch / name for name in ("code", "in", "out"))
        for folder in (code, given, taken):
            folder.mkdir(exist_ok=True)
        if not (code / "task.py").exists():
            self._source.write(code)
        roots = [str(Path(module).resolve().parent.parent) for module in (__file__, str(collegium.__file__))]
        sites = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
        policy = Policy(
            read=tuple(
                str(path)
                for path in (
                    Path(__file__).resolve().parent,
                    Path(str(collegium.__file__)).resolve().parent,
                    code,
                    given,
                    *map(Path, sites),
                    *(Path(path).expanduser().resolve() for path in self._settings.read),
                )
            ),
            write=(str(taken),),
            hide=tuple(str(path) for path in self._protect),
            memory_bytes=self._settings.memory_bytes,
            file_bytes=max(64 << 20, 4 * _size_of_tensors(self._description)) if self._description else 8 << 30,
        )
        self._refuse_readable_secrets(policy)
        answers, child_answers = os.pipe()
        paths = list(dict.fromkeys([*roots, *sites]))
        arguments = [sys.executable, "-I", "-c", _BOOTSTRAP, str(child_answers), *paths]
        seatbelt = _seatbelt_prefix(policy)
        log = self._log.open("ab") if self._log else subprocess.DEVNULL
        try:
            self._process = subprocess.Popen(
                [*seatbelt, *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=taken,
                env=self._environment(taken),
                pass_fds=(child_answers,),
                start_new_session=True,
            )
        finally:
            os.close(child_answers)
            if self._log and not isinstance(log, int):
                log.close()
        self._answers = answers
        first = {
            "policy": asdict(policy),
            "task": str(code),
            "data": dict(self._settings.data),
            "device": self._settings.device,
            "threads": self._settings.threads,
        }
        answer = self._call(first, _START_SECONDS)
        self.confinement = Confinement({**answer["enforced"], "seatbelt": bool(seatbelt)})
        if self._settings.require_confinement and not (
            self.confinement.no_network and self.confinement.no_keystore and self.confinement.no_writes
        ):
            self.close()
            raise PreconditionError(
                f"This system cannot confine task code as required: {self.confinement.explain()}.",
                hint="Use Linux 5.13 or newer, or set training.require_confinement = false.",
            )
        return self.confinement

    def close(self) -> None:
        """End the process and everything it started, and remove the scratch folder."""
        self._kill()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin:
            with suppress(OSError):
                process.stdin.close()
        os.close(self._answers)

    def _environment(self, folder: Path) -> dict[str, str]:
        passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        threads = {"OMP_NUM_THREADS": str(self._settings.threads)} if self._settings.threads > 0 else {}
        return (
            passed
            | threads
            | {
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "HOME": str(folder),
                "TMPDIR": str(folder),
                "MPLCONFIGDIR": str(folder),
                "CUDA_CACHE_PATH": str(folder),
                "PYTHONDONTWRITEBYTECODE": "1",
                "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
            }
        )

    def _refuse_readable_secrets(self, policy: Policy) -> None:
        readable = [Path(path) for path in (*system_paths(), *policy.read, *policy.write)]
        for secret in self._protect:
            for path in readable:
                if secret == path or path in secret.parents:
                    raise PreconditionError(
                        f"{secret} lies inside {path}, which task code must be able to read.",
                        hint="Move the home folder elsewhere, or take the folder out of training.read.",
                    )

    def _call(
        self, request: dict[str, Any], timeout: float, progress: Callable[[int, int], None] | None = None
    ) -> dict[str, Any]:
        """Send a request and wait for its answer; any trouble ends the process."""
        process = self._process
        assert process is not None and process.stdin is not None
        deadline = time.monotonic() + timeout
        try:
            write_frame(process.stdin, request)  # type: ignore[arg-type]
            while True:
                answer = self._receive(deadline, timeout)
                if "progress" in answer:
                    if progress:
                        progress(*(int(value) for value in answer["progress"][:2]))
                    continue
                break
        except (OSError, ValueError, TypeError, KeyError) as error:
            self._kill()
            raise TaskFailed(f"The task's process failed: {error}.", hint=self._where()) from error
        except BaseException:
            self._kill()
            raise
        if answer.get("ok") is not True:
            if self._log:
                with self._log.open("a") as log:
                    log.write(str(answer.get("trace", "")))
            raise TaskFailed(f"The task failed: {answer.get('error')}.", hint=self._where())
        return answer

    def _receive(self, deadline: float, timeout: float) -> dict[str, Any]:
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            while True:
                if len(self._pending) >= 4:
                    length = int.from_bytes(self._pending[:4], "big")
                    if length > MAX_FRAME:
                        raise ValueError(f"an answer of {length} bytes is too long")
                    if len(self._pending) >= 4 + length:
                        body, self._pending = self._pending[4 : 4 + length], self._pending[4 + length :]
                        answer = json.loads(body)
                        if not isinstance(answer, dict):
                            raise ValueError("an answer must be an object")
                        return answer
                left = deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise TaskTimedOut(
                        f"The task took longer than {timeout:.0f} s and was ended.",
                        hint="Raise training.timeout_seconds or train less per round.",
                    )
                data = os.read(self._answers, 1 << 20)
                if not data:
                    raise ValueError("it ended without an answer")
                self._pending += data

    def _where(self) -> str:
        return f"Its output is in {self._log}." if self._log else "Run `collegium train dry-run` to see its output."

    # -- what it does -----------------------------------------------------------------------------------------

    def describe(self) -> TaskDescription:
        """Return what the task federates; asked once."""
        if self._description is None:
            self.start()
            self._description = _parse_description(self._call({"do": "describe"}, self._settings.timeout_seconds))
        return self._description

    def genesis(self, seed: int) -> State:
        """Return the seeded initial parameters, float32 by name."""
        shapes = dict(self.describe().tensors)
        self.start()
        out = self._scratch / "out" / "genesis.safetensors"
        self._call({"do": "describe", "genesis": str(out), "seed": seed}, self._settings.timeout_seconds)
        return _read_state(out, shapes)

    def train(
        self,
        base: Mapping[str, NDArray[Any]],
        *,
        seed: int,
        round: int,
        buffers: bytes = b"",
        epochs: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Trained:
        """Train from `base` (float32 by name) and return the checked result.

        Raises `TaskFailed`, `TaskTimedOut` or `TaskResultRejected`.
        """
        self.describe()
        self.start()
        out, buffers_out = (self._scratch / "out" / f"{name}.safetensors" for name in ("state", "buffers"))
        answer = self._call(
            {
                "do": "train",
                "base": self._give("base", base),
                "buffers": self._give_bytes("buffers", buffers),
                "seed": seed,
                "round": round,
                "epochs": epochs,
                "out": str(out),
                "buffers_out": str(buffers_out),
            },
            self._settings.timeout_seconds,
            progress,
        )
        state = _read_state(out, {name: value.shape for name, value in base.items()})
        kept = self._read_buffers(buffers_out) if answer.get("has_buffers") else b""
        report = answer.get("report")
        if not isinstance(report, dict) or not isinstance(report.get("num_examples"), int):
            raise TaskResultRejected("The task's report is malformed.")
        return Trained(state, kept, max(1, report["num_examples"]), report)

    def evaluate(self, state: Mapping[str, NDArray[Any]], *, buffers: bytes = b"") -> dict[str, float]:
        """Return the task's metrics on the local holdout."""
        self.describe()
        self.start()
        request = {
            "do": "evaluate",
            "state": self._give("base", state),
            "buffers": self._give_bytes("buffers", buffers),
        }
        metrics = self._call(request, self._settings.timeout_seconds).get("metrics", {})
        return {str(name): float(value) for name, value in metrics.items()}

    def predict(
        self, state: Mapping[str, NDArray[Any]], *, buffers: bytes = b""
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Return checked probabilities and labels (0 or 1) of the local holdout, [n] each; None without `Task.predict`.

        Raises `TaskResultRejected` for anything else.
        """
        self.describe()
        self.start()
        out = self._scratch / "out" / "predictions.safetensors"
        request = {
            "do": "predict",
            "state": self._give("base", state),
            "buffers": self._give_bytes("buffers", buffers),
            "out": str(out),
        }
        if self._call(request, self._settings.timeout_seconds).get("predicted") is not True:
            return None
        found = _parse_tensors(_read_regular(out, _MOST_PREDICTIONS))
        scores, labels = found.get("scores"), found.get("labels")
        if scores is None or labels is None or scores.ndim != 1 or scores.shape != labels.shape:
            raise TaskResultRejected("Task.predict must return two vectors of one length: probabilities and labels.")
        if not (((scores >= 0) & (scores <= 1)).all() and np.isin(labels, (0, 1)).all()):
            raise TaskResultRejected(
                "Task.predict returned something else than probabilities and labels.",
                hint="Probabilities lie between 0 and 1, labels are 0 or 1.",
            )
        return scores.astype(np.float32), labels.astype(np.float32)

    def export_onnx(self, state: Mapping[str, NDArray[Any]], *, buffers: bytes = b"") -> tuple[bytes, dict[str, Any]]:
        """Return the model as an ONNX file, unchecked bytes of the task's process, and what it says of them."""
        self.describe()
        self.start()
        out = self._scratch / "out" / "model.onnx"
        request = {
            "do": "export",
            "state": self._give("base", state),
            "buffers": self._give_bytes("buffers", buffers),
            "out": str(out),
        }
        answer = self._call(request, self._settings.timeout_seconds)
        return _read_regular(out, 4 * _size_of_tensors(self._description) + (16 << 20)), answer

    def _give(self, name: str, state: Mapping[str, NDArray[Any]]) -> str:
        path = self._scratch / "in" / f"{name}.safetensors"
        save_file({key: np.ascontiguousarray(value, np.float32) for key, value in state.items()}, path)
        return str(path)

    def _give_bytes(self, name: str, data: bytes) -> str | None:
        if not data:
            return None
        path = self._scratch / "in" / f"{name}.safetensors"
        path.write_bytes(data)
        return str(path)

    def _read_buffers(self, path: Path) -> bytes:
        shapes = dict(self.describe().buffers)
        limit = sum(8 * int(np.prod(shape, dtype=np.int64)) for shape in shapes.values()) + _HEADER_BYTES
        data = _read_regular(path, limit)
        tensors = _parse_tensors(data)
        if {name: value.shape for name, value in tensors.items()} != shapes:
            raise TaskResultRejected("The model's buffers have other names or shapes than the task described.")
        if not all(np.isfinite(value).all() for value in tensors.values()):
            raise TaskResultRejected("A buffer of the trained model is not finite.")
        return data


def _parse_description(answer: Mapping[str, Any]) -> TaskDescription:
    def read(items: Any) -> tuple[tuple[str, tuple[int, ...]], ...]:
        return tuple((str(name), tuple(int(size) for size in shape)) for name, shape in items)

    try:
        found = TaskDescription(read(answer["tensors"]), read(answer["buffers"]), dict(answer["hyperparameters"]))
    except (KeyError, TypeError, ValueError) as error:
        raise TaskResultRejected(f"The task's description is malformed: {error}.") from error
    if not found.tensors or len(dict(found.tensors)) != len(found.tensors):
        raise TaskResultRejected("The model has no parameters, or two of the same name.")
    return found


def _size_of_tensors(description: TaskDescription | None) -> int:
    items = (*description.tensors, *description.buffers) if description else ()
    return sum(8 * int(np.prod(shape, dtype=np.int64)) for _, shape in items)


def _read_state(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> State:
    """Read and check what a task wrote: regular file, right size, exact names and shapes, float32, finite."""
    limit = sum(4 * int(np.prod(shape, dtype=np.int64)) for shape in shapes.values()) + _HEADER_BYTES
    tensors = _parse_tensors(_read_regular(path, limit))
    if set(tensors) != set(shapes):
        odd = sorted(set(tensors) ^ set(shapes))[:5]
        raise TaskResultRejected(f"The task returned other tensors than promised: {', '.join(odd)}.", tensors=odd)
    for name, shape in shapes.items():
        value = tensors[name]
        if value.dtype != np.float32 or value.shape != tuple(shape):
            raise TaskResultRejected(
                f"Tensor {name} is {value.dtype}{list(value.shape)}; float32{list(shape)} was promised.",
                hint="The model must not change its shapes while training.",
                tensor=name,
            )
        if not np.isfinite(value).all():
            raise TaskResultRejected(
                f"Tensor {name} holds NaN or Inf after training, so nothing was committed.",
                hint="Lower the learning rate or clip gradients in the task's loss.",
                tensor=name,
            )
    return tensors


def _read_regular(path: Path, limit: int) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise TaskResultRejected(f"The task left no readable result: {error}.") from error
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            raise TaskResultRejected(
                f"The task's result has {status.st_size} bytes; at most {limit} were promised.", size=status.st_size
            )
        return file.read(limit)


def _parse_tensors(data: bytes) -> State:
    if len(data) < 8 or int.from_bytes(data[:8], "little") > _HEADER_BYTES:
        raise TaskResultRejected("The task's result is no safetensors file, or its header is too long.")
    try:
        return dict(load_tensors(data))
    except Exception as error:
        raise TaskResultRejected(f"The task's result is no valid safetensors file: {error}.") from error


def _seatbelt_prefix(policy: Policy) -> list[str]:
    """macOS: the same rules as a sandbox profile, when the system still accepts one."""
    if sys.platform != "darwin" or not _SEATBELT.exists():
        return []
    quote = json.dumps
    profile = "(version 1)(allow default)(deny network*)(deny file-write*)"
    profile += '(allow file-write* (literal "/dev/null"))'
    profile += "".join(f"(allow file-write* (subpath {quote(path)}))" for path in policy.write)
    profile += "".join(f"(deny file-read* (subpath {quote(path)}))" for path in policy.hide)
    prefix = [str(_SEATBELT), "-p", profile]
    tried = subprocess.run([*prefix, "/usr/bin/true"], capture_output=True, timeout=20, check=False)
    return prefix if tried.returncode == 0 else []
