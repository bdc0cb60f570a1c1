"""A set of shards appears whole: whenever a save is killed, what loads is the old set or the new one, never a mix."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from engine.weights import store

ROOT = Path(__file__).resolve().parents[1]
NAME = "lite"

SAVES = """
import os, signal, sys
from pathlib import Path
import torch
from engine.weights import store

store.SHARD_BYTES = 100
home, moments, old, new = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
for moment in range(moments):
    folder = home / str(moment)
    store.save(folder, "lite", {f"t{i}": torch.full((40,), 1.0) for i in range(old)}, {"which": "old"})
    if os.fork() == 0:
        left = [moment]
        def until_the_moment(act):
            def acting(*arguments, **more):
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
                return act(*arguments, **more)
            return acting
        os.replace, os.unlink = until_the_moment(os.replace), until_the_moment(os.unlink)
        store.save(folder, "lite", {f"t{i}": torch.full((40,), 2.0) for i in range(new)}, {"which": "new"})
        os._exit(0)
    print(os.WTERMSIG(os.wait()[1]), flush=True)
"""


def saved(folder: Path, *arguments: int) -> list[int]:
    """The signals that ended the saves, one per moment."""
    ended = subprocess.run([sys.executable, "-c", SAVES, str(folder), *map(str, arguments)], cwd=ROOT, text=True,
                           capture_output=True, check=True)
    return [int(line) for line in ended.stdout.split()]


@pytest.mark.parametrize(("old", "new"), [(3, 3), (2, 3), (3, 2)])
def test_a_save_that_is_killed_anywhere_leaves_the_old_set_or_the_new_one(tmp_path, old, new):
    """Killed before its n-th rename or removal: 2 a shard, and one for each old shard that has no successor."""
    moments = 2 * new + 1
    assert saved(tmp_path, moments, old, new)[: 2 * new] == [9] * 2 * new
    seen = []
    for moment in range(moments):
        folder = tmp_path / str(moment)
        seen.append(store.config(folder, NAME)["which"])
        values = store.load(folder, NAME)
        value, count = {"old": (1.0, old), "new": (2.0, new)}[seen[-1]]
        assert sorted(values) == [f"t{i}" for i in range(count)]
        assert all((tensor == value).all() for tensor in values.values())
        assert len(store.fingerprint(folder, NAME)) == 64
        store.save(folder, NAME, {"t": torch.ones(4)}, {"which": "after"})
        assert [path.name for path in folder.iterdir()] == ["lite-1-of-1.safetensors"]
    assert seen == sorted(seen, reverse=True) and set(seen) == {"old", "new"}


def test_shards_of_two_saves_are_refused_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SHARD_BYTES", 100)
    for which in ("one", "two"):
        store.save(tmp_path / which, NAME, {f"t{i}": torch.rand(40) for i in range(2)}, {"which": "same"})
    (tmp_path / "one" / "lite-2-of-2.safetensors").unlink()
    with pytest.raises(store.BadWeights, match="1 of 2 shards of lite found in"):
        store.load(tmp_path / "one", NAME)
    (tmp_path / "two" / "lite-2-of-2.safetensors").rename(tmp_path / "one" / "lite-2-of-2.safetensors")
    for read in (store.load, store.config, store.shards, store.fingerprint):
        with pytest.raises(store.BadWeights, match="are of 2 saves, and none is whole: expected one; in") as refused:
            read(tmp_path / "one", NAME)
        assert "\n" not in str(refused.value)
