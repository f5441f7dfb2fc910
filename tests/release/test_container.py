"""The image: its recipe by the linter's rules and ours, and its entry point where only two folders can be written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.setup.paths import ROOT, VENV, is_required

from .newest import Environment, clean_environment

RECIPE = ROOT / "packaging" / "oci" / "Containerfile"
ENTRY_POINT = ROOT / "packaging" / "oci" / "entrypoint.sh"

# Remount everything read-only but what is no disk; then run without any privilege, as the engine would.
READ_ONLY = """
set -e
home=$1 temporary=$2; shift 2
mount -t tmpfs -o mode=0700 tmpfs "$home"
mount -t tmpfs tmpfs "$temporary"
while read -r _ _ _ _ point _; do
    case $point in /proc*|/sys*|/dev*|"$home"|"$temporary") continue ;; esac
    mount -o remount,bind,ro "$point" 2>/dev/null || true
done < /proc/self/mountinfo
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""


def instructions() -> list[tuple[str, str]]:
    """Of the recipe, continuation lines joined."""
    text = re.sub(r"\\\n", " ", RECIPE.read_text())
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, " ".join(rest.split())) for word, _, rest in (line.partition(" ") for line in lines)]


class TestRecipe:
    def test_hadolint_has_nothing_to_say(self) -> None:
        hadolint = VENV / "bin" / "hadolint"
        if not hadolint.exists():
            if is_required():
                pytest.fail("hadolint is missing; `make setup` installs it")
            pytest.skip("hadolint is not installed")
        done = subprocess.run([str(hadolint), str(RECIPE)], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and not done.stdout, done.stdout + done.stderr

    def test_it_runs_as_nobody_in_particular(self) -> None:
        last_stage = instructions()[[word for word, _ in instructions()].index("FROM", 2) :]
        users = [rest for word, rest in last_stage if word == "USER"]
        assert len(users) == 1 and re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", users[0])
        after = last_stage[[word for word, _ in last_stage].index("USER") :]
        assert not [word for word, _ in after if word in ("RUN", "COPY", "ADD")]

    def test_build_tools_stay_behind_and_hashes_are_asked_for(self) -> None:
        words = [word for word, _ in instructions()]
        assert words.count("FROM") == 2 and "ADD" not in words
        installs = [rest for word, rest in instructions() if word == "RUN" and "pip install" in rest]
        assert installs and all("--require-hashes" in rest and "--no-index" in rest for rest in installs)
        second = words.index("FROM", words.index("FROM") + 1)
        runs = [rest for word, rest in instructions()[second:] if word == "RUN"]
        assert not [rest for rest in runs if "pip" in rest or "apt" in rest]

    def test_it_names_no_secret_and_no_address(self) -> None:
        text = "\n".join(line for line in RECIPE.read_text().splitlines() if not line.startswith("#"))
        assert "://" not in text and "password" not in text.lower()

    def test_exec_forms(self) -> None:
        forms = {word: rest for word, rest in instructions() if word in ("ENTRYPOINT", "CMD", "VOLUME")}
        assert json.loads(forms["ENTRYPOINT"]) == ["collegium-entrypoint"]
        assert json.loads(forms["VOLUME"]) == ["/var/lib/collegium"]
        (health,) = (rest for word, rest in instructions() if word == "HEALTHCHECK")
        assert json.loads(health.partition("CMD ")[2]) == ["collegium", "health"]

    def test_only_what_is_copied_reaches_the_engine(self) -> None:
        ignored = (ROOT / ".dockerignore").read_text().split()
        assert ignored[0] == "*"
        for word, rest in instructions():
            if word == "COPY" and "--from" not in rest:
                for source in rest.split()[:-1]:
                    assert source.startswith("--") or source.startswith(tuple(each[1:] for each in ignored[1:])), source


def can_remount() -> bool:
    if shutil.which("unshare") is None or shutil.which("setpriv") is None:
        return False
    command = ["unshare", "-Urm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.returncode == 0


class TestEntryPoint:
    def run(self, *arguments: str, code: int, path: str, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            arguments, env={"PATH": path, **environment}, capture_output=True, text=True, timeout=120, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    @pytest.fixture
    def path(self) -> str:
        return f"{Path(sys.executable).parent}:{os.defpath}"

    def test_it_says_what_is_missing(self, tmp_path: Path, path: str) -> None:
        absent = self.run(str(ENTRY_POINT), "doctor", code=3, path=path, COLLEGIUM_HOME=str(tmp_path / "none"))
        assert "Mount a volume" in absent.stderr
        unwritable = self.run(str(ENTRY_POINT), "doctor", code=3, path=path, COLLEGIUM_HOME="/proc")
        assert "chown" in unwritable.stderr
        full = self.run(str(ENTRY_POINT), "doctor", code=3, path=path, COLLEGIUM_HOME=str(tmp_path), TMPDIR="/proc")
        assert "--tmpfs /proc" in full.stderr
        nothing = self.run(str(ENTRY_POINT), "doctor", code=3, path="/usr/bin:/bin", COLLEGIUM_HOME=str(tmp_path))
        assert "not on PATH" in nothing.stderr

    def test_words_choose_the_program(self, tmp_path: Path, path: str) -> None:
        own = {"COLLEGIUM_HOME": str(tmp_path), "path": path}
        assert "train" in self.run(str(ENTRY_POINT), "--help", code=0, **own).stdout
        assert "enlist" in self.run(str(ENTRY_POINT), "coordinator", "--help", code=0, **own).stdout
        # A coordinator without a home: its own clear error, not the shell's.
        assert "collegium.toml" in self.run(str(ENTRY_POINT), "coordinator", "run", code=3, **own).stderr


@pytest.mark.slow
@pytest.mark.xdist_group("newest")
@pytest.mark.skipif(not can_remount(), reason="this system lets nobody mount anything")
class TestReadOnlyRoot:
    @pytest.fixture
    def folders(self, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
        home, temporary = tmp_path / "home", tmp_path / "tmp"
        home.mkdir()
        temporary.mkdir()
        yield home, temporary

    def test_init_doctor_and_train_run(self, newest: Environment, folders: tuple[Path, Path], tmp_path: Path) -> None:
        """The installed wheel, whose files nobody can change; the chain is not there, which is said at once."""
        home, temporary = folders
        (tmp_path / "password").write_text("correct horse\n")
        script = f"""
        touch /probe 2>/dev/null || touch {newest.packages}/probe 2>/dev/null || echo READ-ONLY
        grep -q '^CapEff:.0*$' /proc/self/status && echo UNPRIVILEGED
        start={ENTRY_POINT}
        $start init; echo "init $?"
        $start keys new node --light >/dev/null; echo "keys $?"
        $start doctor --json > $COLLEGIUM_HOME/doctor.json; echo "doctor $?"; cat $COLLEGIUM_HOME/doctor.json
        echo; $start train run 1; echo "train $?"
        $start coordinator run; echo "coordinator $?"
        """
        command = ["unshare", "-Urm", "sh", "-c", READ_ONLY, "sh", str(home), str(temporary), "sh", "-c", script]
        environment = clean_environment() | {
            "PATH": f"{newest.bin}:{os.defpath}", "COLLEGIUM_HOME": str(home), "TMPDIR": str(temporary),
            "COLLEGIUM_PASSWORD_FILE": str(tmp_path / "password"), "COLLEGIUM_NETWORK_RETRY_FOR": "0.2",
            "COLLEGIUM_NETWORK_RPC_URL": "http://127.0.0.1:9",
            "COLLEGIUM_TRAINING_READ": json.dumps([str(newest.borrowed)]),
            "COLLEGIUM_NETWORK_DEPLOYMENT": str(self.write_deployment(tmp_path)),
        }  # fmt: skip
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
        told = done.stdout + done.stderr
        lines = done.stdout.splitlines()
        assert lines[:2] == ["READ-ONLY", "UNPRIVILEGED"], told
        assert "init 0" in lines and "keys 0" in lines, told
        assert "doctor 3" in lines, told
        text = done.stdout[done.stdout.index("doctor 3") + len("doctor 3") :]
        checks = {row["check"]: row for row in json.JSONDecoder().raw_decode(text.strip())[0]["data"]["checks"]}
        assert checks["home"]["result"] == checks["torch"]["result"] == checks["node key"]["result"] == "ok", checks
        assert checks["confinement of tasks"]["result"] in ("ok", "warning"), checks
        assert checks["chain"]["result"] == "failed" and "does not answer" in checks["chain"]["detail"], checks
        assert "train 5" in lines and "does not answer" in done.stderr, told
        assert "coordinator 5" in lines, told
        assert "Traceback" not in told

    def write_deployment(self, folder: Path) -> Path:
        names = ("Collegium", "Refutations", "Referee", "Members", "Bonds", "CollegiumToken")
        content = {
            "chainId": 31337, "startBlock": 0, "deployer": f"0x{1:040x}",
            "contracts": {name: {"address": f"0x{at + 2:040x}"} for at, name in enumerate(names)},
        }  # fmt: skip
        (folder / "deployment.json").write_text(json.dumps(content))
        return folder / "deployment.json"
