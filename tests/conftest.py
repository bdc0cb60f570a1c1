"""What every test outside Blender may ask for: `make_job`, the maker of small valid job folders."""

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def load_support(name: str):
    """A module of tests/support, by path: tests are no package."""
    full = f"shotlock_tests_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, HERE / "support" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
    return sys.modules[full]


@pytest.fixture(scope="session", name="load_support")
def loader_of_support():
    """`load_support(name)`: a module of tests/support."""
    return load_support


@pytest.fixture(scope="session")
def job_maker():
    """The module: make_job, truth, cast, rays, project and the analytic scene."""
    return load_support("job_maker")


@pytest.fixture
def make_job(job_maker):
    """`make_job(folder, frames=9, width=96, height=64, **fields)`: a valid job folder; returns the Job."""
    return job_maker.make_job
