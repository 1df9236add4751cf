"""`anomaly-exporter train` spread over processes or a cluster leaves the models that one process leaves."""

from collections.abc import Callable

import pytest

from exporter.models import Store
from exporter.pipeline.shard import Shard
from tests.support.training import dask_cluster
from tests.train.conftest import Past, Trainer

pytestmark = [pytest.mark.servers, pytest.mark.slow]

SHARDS = [Shard(index, 2) for index in range(2)]


def contents(store: Store, job: str) -> dict[str, tuple[str, str]]:
    """Return what each shard's candidate was trained on, and the digest of its model."""
    found = [stored.manifest for shard in SHARDS for stored in store.versions(shard.model_name(job))]
    return {manifest.job: (manifest.fingerprint, manifest.sha256) for manifest in found}


def test_every_backend_leaves_the_same_models(
    trainer: Callable[..., Trainer], past: Past, tmp_path_factory: pytest.TempPathFactory
) -> None:
    train = trainer(detector="auto", shards=len(SHARDS))
    train.config["jobs"]["forest"] = {**train.config["jobs"]["load"], "detector": "isolation_forest"}
    found = {}
    with dask_cluster(tmp_path_factory.mktemp("dask")) as cluster:
        for backend in ("sequential", "loky", "dask"):
            ran = train(f"--to={past.end}", "--stage=fit", f"--backend={backend}", f"--scheduler={cluster.address}")
            assert ran.code == 0, ran
            found[backend] = {job: contents(train.store, job) for job in ("load", "forest")}
            (train.folder / "models").rename(train.folder / backend)

    assert all(found["sequential"].values()), "a shard has learnt something"
    assert found["loky"] == found["sequential"]
    assert found["dask"] == found["sequential"]
