"""Examples in `--help`: a test parses every one of them."""

from typing import Final

PROGRAM: Final = "anomaly-exporter"
EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "run": ("run --config anomaly.yml", "run --config anomaly.yml --profile prod --listen 127.0.0.1:9877"),
    "check-config": (
        "check-config anomaly.yml",
        "check-config --config anomaly.yml --profile prod --output json",
        "check-config anomaly.yml --against http://localhost:9877",
        "check-config --declared team-jobs.yaml --namespace shop",
    ),
    "accept": ("accept --job api", "accept --job api --entity 'service=\"cart\"'"),
    "backtest": (
        "backtest --config anomaly.yml --since 7d",
        "backtest --config anomaly.yml --job api --since 14d --incidents incidents.yml --tune",
        "backtest --config anomaly.yml --since 7d --backend dask --scheduler tcp://dask:8786",
        "backtest --data series.csv --detector robust --output yaml",
    ),
    "train": ("train --config anomaly.yml", "train --job api --force --output json"),
    "report": ("report --config anomaly.yml --out report.html",),
    "rules": ("rules --config anomaly.yml --out generated", "rules --config anomaly.yml --out generated --check"),
    "init": ("init --preset node",),
    "deploy": ("deploy --config anomaly.yml --dry-run", "deploy --config anomaly.yml --namespace monitoring --apply"),
    "demo": ("demo",),
    "mcp": ("mcp --url http://localhost:9877",),
    "related": (
        "related --job api --entity 'instance=\"a\"'",
        "related --job api --entity 'instance=\"a\"' --expr 'rate(http_requests_total[5m])' --output json",
    ),
    "models list": ("models list --config anomaly.yml", "models list --job api --output json"),
    "models show": ("models show --job api",),
    "models diff": ("models diff --job api",),
    "models rollback": ("models rollback --job api",),
    "models verify": ("models verify --output yaml",),
    "models prune": ("models prune --keep 3",),
    "feedback expected": (
        "feedback expected --job api --entity 'instance=\"a\"' --why 'load test'",
        "feedback expected --job api --entity 'instance=\"a\"' --why 'backup' --when weekly",
    ),
    "feedback normal": ("feedback normal --job api --entity 'instance=\"a\"' --why 'bigger machine'",),
    "feedback silence": ("feedback silence --job api --entity 'instance=\"a\"' --why 'known' --until 2d",),
    "feedback incident": ("feedback incident --job api --entity 'instance=\"a\"' --why 'outage of the cart'",),
    "feedback list": ("feedback list --job api --standing", "feedback list --output yaml"),
    "feedback undo": ("feedback undo 0123456789ab",),
    "feedback export": ("feedback export --format incidents",),
}


def epilog(command: str) -> str:
    """Return the examples of a command as `--help` ends with them."""
    return "\n\n".join(("Examples:", *(f"{PROGRAM} {each}" for each in EXAMPLES[command])))
