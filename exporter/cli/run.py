"""`anomaly-exporter run`."""

from typing import Annotated

import typer

from exporter.cli.common import CONFIG, Config, Profile, fail


def run(
    config: Config = CONFIG,
    profile: Profile = None,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT to listen on, instead of web.listen.")] = None,
    shard: Annotated[
        str,
        typer.Option(
            help="Evaluate one of N shards: 0/N, 1/N and so on; auto/N in a StatefulSet.",
            envvar="ANOMALY_EXPORTER_SHARD",
        ),
    ] = "0/1",
) -> None:
    """Run the exporter until SIGTERM or Ctrl-C. SIGHUP reloads the configuration."""
    from exporter.config.load import ConfigError
    from exporter.observe.stages import TelemetryError
    from exporter.pipeline.shard import Shard
    from exporter.service.app import App  # numpy and more: only where they are needed, so that --help is quick
    from exporter.service.election import ElectionError
    from exporter.service.free_memory import share_one_heap
    from exporter.sinks.base import SinkError
    from exporter.web.server import ServerError

    try:
        share = Shard.parse(shard)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--shard") from None
    share_one_heap()
    try:
        App(config, profile, listen, share).run()
    except ConfigError as error:
        fail(error, code=2)
    except (ElectionError, ServerError, SinkError, TelemetryError) as error:
        fail(error, code=1)
