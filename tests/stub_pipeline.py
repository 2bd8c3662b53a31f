"""The repository's pipeline with stubs in place of its scripts: real DVC, stages that take a fraction of a second."""

import contextlib
import json
import os
import re
import sys
import warnings
from pathlib import Path
from unittest.mock import patch

import yaml
from conftest import ROOT
from dvc.repo import Repo

STUB = '''"""Writes the outputs of a stage: a digest of its parameters and dependencies, and nothing else."""
import hashlib, json, re, sys
from pathlib import Path
import yaml

name = sys.argv[1]
with open("ran.txt", "a") as file:
    file.write(name + "\\n")
stage = json.loads(Path("stubs.json").read_text())[name]
params = yaml.safe_load(Path("params.yaml").read_text())
digest = hashlib.sha256()

def setting(key):
    value = params
    for name in key.split("."):
        value = value[name]
    return value

for key in stage["params"]:
    digest.update(repr([key, setting(key)]).encode())
deps = [re.sub("[$]{([^}]+)}", lambda match: setting(match[1]), dep) for dep in stage["deps"]]
for path in map(Path, deps):
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(str(file).encode() + file.read_bytes())
for out in map(Path, stage["outs"]):
    file = out if out.suffix else out / "content"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([str(out), digest.hexdigest()]))
'''


def leaves(tree, prefix=""):
    """{"train.lr": 0.002} of nested settings."""
    flat = {}
    for key, value in tree.items():
        flat |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def covers(declared, key):
    return key == declared or key.startswith(f"{declared}.")


def paths(entries):
    """The paths of outputs or dependencies, which may have options: ["a", {"b": {"cache": False}}] -> a, b."""
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


@contextlib.contextmanager
def libyaml():
    """DVC reads and writes YAML through libyaml in this block: in pure Python that takes most of its time."""

    def dump(_, contents, stream):
        yaml.dump(json.loads(json.dumps(contents)), stream, yaml.CSafeDumper, sort_keys=False)

    load = patch("ruamel.yaml.YAML.load", lambda _, text: yaml.load(text, yaml.CSafeLoader))
    with load, patch("ruamel.yaml.YAML.dump", dump):
        yield


class StubPipeline:
    """A DVC project in `folder` with the stages, dependencies, parameters and outputs of this repository's dvc.yaml.

    `params`: its settings by their full names. `run()` is `dvc repro` in this process, whose current
    folder must be `folder`.
    """

    def __init__(self, folder, params, files=("dvc.yaml", "data/dvc.yaml")):
        self.folder, self.params, self.stages = Path(folder), params, {}
        for file in files:
            pipeline = {"stages": yaml.safe_load((ROOT / file).read_text())["stages"]}
            for name, stage in pipeline["stages"].items():
                stage["cmd"] = f"'{sys.executable}' stub.py {name}"
                outs = [path for kind in ("outs", "metrics", "plots") for path in paths(stage.get(kind, []))]
                self.stages[name] = {"params": stage.get("params", []), "deps": paths(stage["deps"]), "outs": outs}
            self.write(file, yaml.safe_dump(pipeline, sort_keys=False))
        self.write("stub.py", STUB)
        self.write("stubs.json", json.dumps(self.stages))
        self.set(params)
        outputs = {path for stage in self.stages.values() for path in stage["outs"]}
        for path in {self.resolve(dep) for stage in self.stages.values() for dep in stage["deps"]} - outputs:
            self.write(path if Path(path).suffix else f"{path}/content", path)
        (self.folder / ".dvcignore").write_bytes((ROOT / ".dvcignore").read_bytes())
        Repo.init(str(self.folder), no_scm=True).close()

    def write(self, path, text):
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    def set(self, params):
        """Write params.yaml from settings by their full names."""
        tree = {}
        for key, value in params.items():
            *groups, name = key.split(".")
            branch = tree
            for group in groups:
                branch = branch.setdefault(group, {})
            branch[name] = value
        self.write("params.yaml", yaml.safe_dump(tree, sort_keys=False))

    def resolve(self, dependency):
        """A dependency such as ${dataset}, with the setting's value."""
        return re.sub(r"\$\{([\w.]+)\}", lambda match: self.params[match[1]], dependency)

    def run(self):
        """Run `dvc repro`; returns the stages whose command ran, in order: not those restored from the run cache."""
        log = self.folder / "ran.txt"
        log.unlink(missing_ok=True)
        with warnings.catch_warnings(action="ignore"), libyaml(), Repo(os.curdir) as repo:  # DVC's libraries warn
            repo.reproduce()
        return log.read_text().split() if log.exists() else []

    def following(self, names):
        """These stages and all that depend on their outputs, directly or through others."""
        reached = set(names)
        while True:
            outputs = {path for name in reached for path in self.stages[name]["outs"]}
            more = {name for name, stage in self.stages.items() if outputs & set(map(self.resolve, stage["deps"]))}
            if more <= reached:
                return reached
            reached |= more

    def outputs(self):
        """{path: content} of all outputs of all stages."""
        outs = [self.folder / path for stage in self.stages.values() for path in stage["outs"]]
        return {path: (path / "content" if path.is_dir() else path).read_text() for path in outs}
