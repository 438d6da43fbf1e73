from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.console.scene import Scene, Visitor, Watched, watched


@pytest.fixture(name="watched", scope="session")
def fixture_watched() -> Watched:
    return watched()


@pytest.fixture(name="scene")
def fixture_scene(tmp_path: Path, watched: Watched) -> Iterator[Scene]:
    scene = Scene(tmp_path, watched)
    yield scene
    scene.close()


@pytest.fixture(name="ann")
def fixture_ann(scene: Scene) -> Visitor:
    """The owner, who is in."""
    ann = Visitor(scene)
    assert ann.log_in().status_code == 303
    return ann
