"""`anomaly-exporter deploy`."""

from pathlib import Path
from typing import Annotated

import typer

from exporter.cli.common import CONFIG, Config, Profile, fail


def deploy(
    config: Config = CONFIG,
    profile: Profile = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the objects as YAML; needs no cluster.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Print what --apply would change; exit 3 if anything.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Create and update the objects.")] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Delete them, except volume claims and namespace.")] = False,
    rbac: Annotated[bool, typer.Option("--rbac", help="Print the least privileges that --apply needs.")] = False,
    values: Annotated[bool, typer.Option("--values", help="Print values for the Helm chart.")] = False,
    name: Annotated[str | None, typer.Option(help="Name of the objects. Default: anomaly-exporter.")] = None,
    namespace: Annotated[str | None, typer.Option(help="Namespace. Default: anomaly-exporter.")] = None,
    image: Annotated[str | None, typer.Option(help="Container image.")] = None,
    shards: Annotated[
        int | None, typer.Option("--shards", "--replicas", min=1, max=1000, help="Replicas that share the entities.")
    ] = None,
    secret: Annotated[str | None, typer.Option(help="Use this existing Secret instead of creating one.")] = None,
    secret_folder: Annotated[
        Path | None, typer.Option(help="Folder with the values of the Secret, one file per key.")
    ] = None,
    schedule: Annotated[str | None, typer.Option(help="Cron schedule of the training.")] = None,
    storage_class: Annotated[str | None, typer.Option(help="Storage class. Default: the cluster's.")] = None,
    scrape_namespace: Annotated[
        str | None, typer.Option(help="Allow connections only from this namespace of Prometheus. Default: from all.")
    ] = None,
    scrape_secret: Annotated[
        str | None, typer.Option(help="Secret with username and password for Prometheus, if web.users is set.")
    ] = None,
    operator: Annotated[
        bool, typer.Option("--operator/--no-operator", help="Create ServiceMonitor and PrometheusRule.")
    ] = True,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig. Default: the current one.")] = None,
) -> None:
    """Run the exporter and the training on Kubernetes: print, compare, apply or delete the objects."""
    from deploy import command
    from deploy.kubernetes.cluster import Cluster
    from deploy.kubernetes.errors import DeployError
    from exporter.config.load import ConfigError

    if sum((dry_run, diff, apply, delete, rbac, values)) != 1:
        raise typer.BadParameter("give exactly one of --dry-run, --diff, --apply, --delete, --rbac and --values")
    try:
        planned = command.plan(
            config,
            profile,
            name=name,
            namespace=namespace,
            image=image,
            shards=shards,
            secret=secret,
            schedule=schedule,
            storage_class=storage_class,
            scrape_namespace=scrape_namespace,
            scrape_secret=scrape_secret,
            operator=operator,
        )
        if dry_run:
            command.print_objects(planned)
        elif rbac:
            command.print_rbac(planned)
        elif values:
            command.print_values(planned)
        elif diff:
            raise typer.Exit(command.print_changes(planned, Cluster.connect(context), secret_folder))
        elif apply:
            command.apply_objects(planned, Cluster.connect(context), secret_folder)
        else:
            command.delete_objects(planned, Cluster.connect(context))
    except ConfigError as error:
        fail(error, code=2)
    except DeployError as error:
        fail(error, code=1)
