"""The benchmark's arithmetic: which phase took how long, and what its process tree held."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from engine import bench
from engine import job as jobs


def test_phases_lie_between_their_marks():
    meter = bench.Meter(0, looks=[(0.5, 1.0, 0.1), (1.5, 3.0, 0.7), (1.9, 2.0, 1.5), (2.5, 0.5, 9.0)])
    found = bench.phases([(0.0, "load"), (1.0, "sample"), (2.0, "end")], meter)
    assert found == [bench.Phase("load", 1.0, 0.1, 1.0), bench.Phase("sample", 1.0, 1.4, 3.0)]
    assert "| whole job | 2.0 | 1.5 | 3.00 |" in bench.table(found)


def test_the_family_holds_children_and_grandchildren():
    grandchild = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", grandchild], stdin=subprocess.PIPE) as child:
        try:
            for _ in range(200):
                if len(bench.family(child.pid)) == 2:
                    break
                time.sleep(0.05)
            members = bench.family(child.pid)
            assert members[0] == child.pid and len(members) == 2
            assert set(members) < set(bench.family(os.getpid()))
        finally:
            child.communicate(b"\n")


def test_memory_that_is_taken_is_seen():
    """In a process of its own: the heap of this one may hold what other tests gave back, and takes from that."""
    taker = ("import os, sys\nprint('ready', flush=True)\ninput()\n"
             "taken = bytearray(os.urandom(1)) * 200_000_000\nprint('taken', flush=True)\ninput()")
    with subprocess.Popen([sys.executable, "-c", taker], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout.readline() == b"ready\n"
            before = bench.memory(child.pid)
            child.stdin.write(b"\n")
            child.stdin.flush()
            assert child.stdout.readline() == b"taken\n"
            assert bench.memory(child.pid) - before == pytest.approx(0.2, abs=0.01)
        finally:
            child.communicate(b"\n")
    assert bench.memory(2**22 - 1) == 0.0


def test_work_that_is_done_is_seen_also_of_children_that_have_ended():
    before = bench.cpu(os.getpid())
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.5: pass"], check=True)
    assert bench.cpu(os.getpid()) - before >= 0.45


def test_a_measured_job_is_the_job_that_was_captured(make_job, tmp_path):
    """Sun maps, world and pictures come along: without them another, lighter job would be measured."""
    made = make_job(tmp_path / "job", frames=1)
    (made.folder / "pictures").mkdir()
    (made.folder / "pictures" / "known_000001.png").write_bytes(b"picture")
    jobs.write_array(made.folder / "world.npy", np.ones((4, 8, 3), np.float16))
    (made.folder / "suns.npz").write_bytes(b"suns")
    (made.folder / "state").mkdir()
    (made.folder / "report.json").write_text("{}")
    copy = bench.copy_job(made.folder, tmp_path / "copy")
    there, here = (
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (made.folder, copy)
    )
    assert set(there) - set(here) == {"report.json"} and all(there[name] == data for name, data in here.items())
    assert {"suns.npz", "world.npy", "pictures/known_000001.png", "passes/depth.npy"} <= set(here)
