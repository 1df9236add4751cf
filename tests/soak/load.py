"""More clients than there ever are, and reloads without a pause: `python -m tests.soak.load`."""

import argparse
import asyncio
import json
import math
import multiprocessing
import os
import re
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from deploy.demo.process import get
from deploy.demo.servers import ExporterServer
from tests.soak.source import EMPTY
from tests.soak.usage import MIB, Usage, usage
from tests.support.stub import Reply, Request, serve

_REQUEST: Final = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n"
_LATE: Final = 60.0
JOBS: Final = (("one", "two"), ("three", "four"))
"""The jobs of the two configurations that take turns: a page with verdicts of both is mixed."""
_JUDGED: Final = re.compile(rb'^anomaly_score\{[^\n]*?query="(\w+)"', re.MULTILINE)
"""Not our own metrics: what the last cycle of a removed job counts is dropped a moment after it has ended."""


class Asked(NamedTuple):
    """How scrapes went."""

    seconds: list[float]
    errors: list[str]
    seen: set[str]
    """Jobs that were on a page."""
    again: list[float]
    """When an idle connection was found cut, and another one was taken."""
    busiest: list[Usage]
    """Of the exporter, while all were connected."""

    def figures(self) -> str:
        p50, p99 = np.percentile(self.seconds, [50, 99]) * 1000 if self.seconds else (math.nan, math.nan)
        return f"{p50:.1f} | {p99:.1f} | {len(self.seconds):,} | {len(self.again)} | {len(self.errors)}"


async def _scrape(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    status = head.split(b" ", 2)[1]
    if status != b"200":
        raise OSError(f"status {status.decode()}")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    return await reader.readexactly(length)


async def _scraper(port: int, until: float, pause: float, asked: Asked, plain: bool) -> None:
    """Scrape again and again, over one connection as Prometheus does."""
    request = _REQUEST.replace(b"Accept-Encoding: gzip\r\n", b"") if plain else _REQUEST
    await asyncio.sleep(np.random.default_rng(id(asyncio.current_task()) % 2**32).uniform(0, pause))
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None
    while time.monotonic() < until:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(_LATE):
                body = None
                while body is None:
                    used = reader is not None and writer is not None
                    if not used:
                        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
                    try:
                        body = await _scrape(reader, writer, request)
                    except (ConnectionError, asyncio.IncompleteReadError) as error:
                        if not used or getattr(error, "partial", b""):
                            raise
                        reader = writer = None  # cut while nobody used it: Prometheus asks again too
                        asked.again.append(begun)
            asked.seconds.append(time.monotonic() - begun)
            if plain:
                shown = {name.decode() for name in _JUDGED.findall(body)}
                asked.seen.update(shown)
                if all(shown & {*jobs} for jobs in JOBS):
                    asked.errors.append("a mixed page")
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            asked.errors.append(f"{type(error).__name__}: {error}")
            reader = writer = None
        await asyncio.sleep(max(pause - (time.monotonic() - begun), 0.0))
    if writer is not None:
        writer.close()


async def _silent(port: int, until: float, drip: bool) -> None:
    """Hold a connection without a request, or send one byte in a second; connect again when it is cut."""
    while time.monotonic() < until:
        with suppress(OSError, asyncio.TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with suppress(OSError):
                if drip:
                    writer.write(b"GET /metrics HTTP/1.1\r\nX: ")
                while time.monotonic() < until:
                    if drip:
                        writer.write(b"a")
                    with suppress(asyncio.TimeoutError):
                        if await asyncio.wait_for(reader.read(1), 1.0) == b"":
                            break
            writer.close()
        await asyncio.sleep(1.0)


def _slow(port: int, seconds: float, clients: int) -> None:
    """Be so many silent clients and as many trickling ones, in a process of their own: no scrape waits for it here."""

    async def run() -> None:
        until = time.monotonic() + seconds
        await asyncio.gather(*(_silent(port, until, drip) for drip in (False, True) for _ in range(clients)))

    asyncio.run(run())


def scrapes(server: ExporterServer, scrapers: int, seconds: float, pause: float, slow: int = 0) -> Asked:
    """Scrape for a while, beside so many silent and as many trickling clients."""
    beside = multiprocessing.get_context("spawn").Process(target=_slow, args=(server.port, seconds + 8.0, slow))
    if slow:
        beside.start()
        time.sleep(6.0)

    async def run() -> Asked:
        asked = Asked([], [], set(), [], [])
        until = time.monotonic() + seconds
        await asyncio.gather(*(_scraper(server.port, until, pause, asked, False) for _ in range(scrapers)))
        asked.busiest.append(usage(server.pid))
        return asked

    try:
        return asyncio.run(run())
    finally:
        if slow:
            beside.terminate()
            beside.join()


def source(series: int, step: float) -> Any:
    """Return what answers range queries with so many series."""
    labels = [json.dumps({"__name__": "level", "instance": f"host-{n}:9100", "job": "node"}) for n in range(series)]

    def reply(request: Request) -> Reply:
        form = request.form
        if "level" not in form.get("query", "") or "start" not in form:
            return Reply(EMPTY, headers={"Content-Type": "application/json"})
        most = 100 if "few" in form["query"] else series
        first, last = (round(float(form[name]) / step) for name in ("start", "end"))
        values = ",".join(f'[{tick * step},"{10 + tick % 7}"]' for tick in range(first, last + 1))
        body = ",".join(f'{{"metric":{each},"values":[{values}]}}' for each in labels[:most])
        return Reply(EMPTY.replace(b"[]", f"[{body}]".encode()), headers={"Content-Type": "application/json"})

    return reply


def _config(url: str, jobs: tuple[str, ...], expr: str, step: str) -> dict[str, Any]:
    job = {"expr": expr, "step": step, "window": "10m", "history": "10m", "detector": "robust", "lag": "0s"}
    log = {"format": "json", "level": "warning"}
    return {"prometheus": {"url": url}, "log": log, "jobs": dict.fromkeys(jobs, job)}


def load(folder: Path, series: int, seconds: float, clients: int) -> Iterator[str]:
    """Yield the rows of the table: 50 scrapers, then with silent and trickling clients beside them."""
    with serve(source(series, 60.0)) as stub:
        config = _config(stub.url, ("one",), "level", "1m")
        with ExporterServer(folder / "load", config) as server:
            yield "| clients | p50 ms | p99 ms | scrapes | reconnected | errors |\n|-|-|-|-|-|-|"
            for scrapers in (1, 10, 50):
                asked = scrapes(server, scrapers, seconds, 1.0)
                yield f"| {scrapers} scrapers, each once a second | {asked.figures()} |"
                _check(asked)
            before = usage(server.pid)
            asked = scrapes(server, 10, seconds, 1.0, slow=clients)
            [during] = asked.busiest
            yield f"| 10 scrapers beside {clients} silent and {clients} trickling clients | {asked.figures()} |"
            _check(asked)
            time.sleep(15.0)
            after = usage(server.pid)
            yield (
                f"\nthreads {before.threads}, {during.threads}, {after.threads} and descriptors {before.descriptors}, "
                f"{during.descriptors}, {after.descriptors} before, with them and 15 s later"
            )


def reloads(folder: Path, count: int, seconds: float) -> Iterator[str]:
    """Yield what became of so many reloads, every second one of a wrong file, under ten scrapes a second."""
    with serve(source(100, 60.0)) as stub:
        both = [_config(stub.url, jobs, "few_level", "1m") for jobs in JOBS]
        with ExporterServer(folder / "reloads", both[0]) as server:
            file = server.directory / "anomaly.yml"
            before = usage(server.pid)

            async def run() -> Asked:
                asked = Asked([], [], set(), [], [])
                until = time.monotonic() + seconds
                scraping = asyncio.gather(*(_scraper(server.port, until, 1.0, asked, True) for _ in range(10)))
                for number in range(count):
                    draft = file.with_suffix(".new")
                    draft.write_text(json.dumps(both[number // 2 % 2]) if number % 2 else "jobs: [")
                    draft.rename(file)
                    os.kill(server.pid, signal.SIGHUP)
                    await asyncio.sleep(max((until - time.monotonic()) / (count - number), 0.0))
                await scraping
                return asked

            asked = asyncio.run(run())
            last = both[(count - 1) // 2 % 2]["jobs"]
            end = time.monotonic() + 2 * _LATE
            while (page := get(f"{server.url}/metrics", _LATE).text) and time.monotonic() < end:
                if all(f'query="{job}"' in page for job in last):  # the last ones may still be read
                    asked.seen.update(last)
                    break
                time.sleep(0.1)
            after = usage(server.pid)
            yield "| reloads, half of them refused | p50 ms | p99 ms | scrapes | reconnected | errors |\n|-|-|-|-|-|-|"
            yield f"| {count} in {seconds:g} s | {asked.figures()} |"
            grown = (after.resident - before.resident) / MIB
            assert asked.seen == {*JOBS[0], *JOBS[1]}, f"only {asked.seen} were ever on the page"
            yield f"\nmemory grew by {grown:.1f} MiB; threads {before.threads}, {after.threads}"
            _check(asked)


def _check(asked: Asked) -> None:
    assert asked.seconds
    assert not asked.errors, asked.errors[:3]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.soak.load")
    parser.add_argument("--series", type=int, default=10_000, help="on the page (default: 10,000)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of scraping for each row (default: 30)")
    parser.add_argument("--clients", type=int, default=500, help="silent, and as many trickling (default: 500)")
    parser.add_argument("--reloads", type=int, default=1000, help="(default: 1,000)")
    parser.add_argument("--reload-seconds", type=float, default=600.0, help="that they are spread over (default: 600)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="load") as name:
        folder = Path(name)
        scraping = load(folder, asked.series, asked.seconds, asked.clients)
        for told in chain(scraping, reloads(folder, asked.reloads, asked.reload_seconds)):
            print(told, flush=True)
    print(f"load of the machine at the end: {', '.join(f'{each:.1f}' for each in os.getloadavg())}")


if __name__ == "__main__":
    main()
