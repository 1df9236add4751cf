"""Whether the standard OTEL_* variables ask for a signal; the SDK reads the rest, once it is asked for."""

from collections.abc import Collection, Mapping

import structlog

log = structlog.get_logger()


def asked_for(
    environ: Mapping[str, str], what: str, variable: str, endpoints: Collection[str], beside: Collection[str] = ()
) -> bool:
    """Tell whether a signal is to be sent by OTLP.

    Parameters
    ----------
    environ : mapping of str to str
    what : str
        The signal, for the log.
    variable : str
        Names its exporters.
    endpoints : collection of str
        Variables that switch it on where no exporter is named.
    beside : collection of str
        Exporters besides otlp and none that change nothing.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = {name.strip().lower() for name in environ.get(variable, "").split(",")} - {""}
    if unknown := exporters - {"otlp", "none", *beside}:
        log.warning(f"{what}_exporter_unknown", exporters=sorted(unknown), hint=f"{variable} takes otlp or none")
    return "otlp" in exporters if exporters else any(environ.get(name, "").strip() for name in endpoints)
