"""What receivers were told, kept over a restart."""

from pathlib import Path
from typing import Final

import structlog

from exporter.files import TooLarge, read_once, write_atomically
from exporter.notify.ledger import Ledger

log = structlog.get_logger()

_LARGEST: Final = 256 * 2**20


def save(file: Path, ledger: Ledger, receiver: str) -> None:
    """Write what `receiver` was told; where that fails the log says so, and telling goes on."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, ledger.encode())
    except OSError as error:
        hint = "a restart may repeat a notice or forget an end; make room or the folder writable"
        log.error("notices_not_saved", receiver=receiver, file=str(file), error=str(error), hint=hint)


def load(file: Path, receiver: str) -> Ledger:
    """Read what `receiver` was told; nothing where there is no file, or it is damaged, which the log says."""
    try:
        return Ledger.decode(read_once(file, _LARGEST))
    except FileNotFoundError:
        pass
    except (OSError, TooLarge, ValueError) as error:
        hint = "incidents that are open are told anew"
        log.warning("notices_refused", receiver=receiver, file=str(file), error=str(error), hint=hint)
    return Ledger()
