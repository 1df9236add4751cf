"""What a kind of receiver is: its keys, how Alertmanager notifies it, and how the exporter itself reaches it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Protocol, TypeVar

from pydantic import AfterValidator

from exporter.config.secrets import Secret
from exporter.config.section_base import Section


def _held_in_file(secret: Secret) -> Secret:
    if secret.file is None or not secret.file.is_absolute():
        raise ValueError("Alertmanager reads this secret itself, from a file: {file: /path/on/its/machine}")
    return secret


def _one_line(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("must be one line of text")
    return text


SecretFile = Annotated[Secret, AfterValidator(_held_in_file)]
Line = Annotated[str, AfterValidator(_one_line)]


class Pending(Protocol):
    """Notifications that a receiver has yet to get; see `exporter.sinks.notify.notification`."""

    @property
    def opened(self) -> Mapping[str, Sequence[object]]:
        """Incidents by job."""

    @property
    def over(self) -> Mapping[str, Sequence[object]]:
        """Incidents that have ended, by job."""

    @property
    def passed(self) -> Mapping[str, int]:
        """How many incidents opened and ended before they could be notified, by job."""

    @property
    def limits(self) -> Sequence[object]:
        """Series near their limit, and such as are far from it again."""


@dataclass(frozen=True, slots=True)
class OwnSender:
    """How the exporter itself reaches a receiver, without Alertmanager.

    Parameters
    ----------
    address : type
        Of the key in `notify`: a reference to the secret that is the address.
    description : str
        Of that key.
    message : callable taking what is pending and its text
        Returns what is posted to the address, as JSON.
    """

    address: Any
    description: str
    message: Callable[[Pending, str], Any]


S = TypeVar("S", bound=Section)
SecretKey = Callable[[Secret], dict[str, str]]
"""Returns where the operator finds a secret: name of a Secret, and key in it."""


class NotInOperatorError(ValueError):
    """An AlertmanagerConfig object has no field for what the configuration asks."""


def camel_case(made: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """Return an entry as the operator's objects write it, with `fields` in place of those that name a file.

    >>> camel_case({"api_url_file": "/x", "title_link": "y", "send_resolved": True}, apiURL={"name": "s", "key": "k"})
    {'apiURL': {'name': 's', 'key': 'k'}, 'titleLink': 'y', 'sendResolved': True}
    """

    def written(name: str) -> str:
        first, *others = name.removesuffix("_file").split("_")
        return first + "".join(part.upper() if part in {"id", "tls", "url"} else part.title() for part in others)

    renamed = {written(name): value for name, value in made.items()}
    return renamed | fields


@dataclass(frozen=True, slots=True)
class ReceiverKind(Generic[S]):
    """One kind of receiver.

    Parameters
    ----------
    section : type
        Its keys in `alerting.receivers.NAME`.
    description : str
        Of the section.
    alertmanager : callable taking the section and whether the end of an alert is notified
        Returns the entry of Alertmanager's `..._configs`.
    operator : callable taking the same and SecretKey
        Returns the entry of an AlertmanagerConfig object of the Prometheus operator. Raises NotInOperatorError.
    group_by : tuple of str
        Labels that separate messages where the configuration says nothing.
    own : OwnSender or None
        How to reach it without Alertmanager, if the exporter can.
    """

    section: type[S]
    description: str
    alertmanager: Callable[[S, bool], dict[str, Any]]
    operator: Callable[[S, bool, SecretKey], dict[str, Any]]
    group_by: tuple[str, ...] = ()
    own: OwnSender | None = None
