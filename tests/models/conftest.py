"""Model stores: in a folder, and in a real server that speaks S3."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from exporter.config.sections.models import ModelsConfig
from exporter.models import Store
from tests.support.object_store import s3_address, s3_models

__all__ = ["s3_address", "s3_models"]


@pytest.fixture
def s3(s3_models: Callable[..., dict[str, Any]]) -> Callable[..., ModelsConfig]:
    """Return a function that gives the configuration of a store in a bucket of its own."""
    return lambda *address, **settings: ModelsConfig.model_validate(s3_models(*address, **settings))


@pytest.fixture(params=["folder", "s3", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store of each kind: every promise is one of all of them."""
    match request.param:
        case "folder":
            return Store(ModelsConfig(path=tmp_path / "models"))
        case "s3":
            return Store(request.getfixturevalue("s3")())
    return Store(ModelsConfig(url=f"memory://{uuid4().hex}/models"))
