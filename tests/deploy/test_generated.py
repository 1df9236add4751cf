"""The generated files below deploy/ are those that the builders make today."""

from deploy import generate


def test_what_is_committed_is_what_the_builders_make():
    assert generate.outdated() == {}, "run python -m deploy.generate"


def test_check_writes_nothing_and_says_what_is_out_of_date(tmp_path, capsys):
    assert generate.main(["--check"], tmp_path) == 1
    assert list(tmp_path.iterdir()) == []
    assert (
        "deploy/manifests/anomaly-exporter.yaml: out of date; run python -m deploy.generate" in capsys.readouterr().err
    )
    assert generate.main([], tmp_path) == 0
    assert generate.main(["--check"], tmp_path) == 0
    (tmp_path / "deploy/manifests/kustomization.yaml").write_text("edited by hand\n")
    assert generate.main(["--check"], tmp_path) == 1
