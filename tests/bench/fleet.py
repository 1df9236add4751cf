"""`python -m tests.bench.fleet`: one of ten replicas that share 1,000,000 series, beside a source of this repository.

The source answers as Prometheus does, from memory: 4,000 nodes of 250 series each. The replica is a process of its own
that splits the question by `node`. A fleet is ten of these; what the source itself would need for it is not measured.
"""

import argparse
import re
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import median
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from exporter.pipeline.shard import Shard
from tests.bench.history import STEP, labels
from tests.bench.peer import Contender
from tests.bench.report import ROOT, Row, finish, machine, say, seconds
from tests.support.stub import Reply, Request, serve

FIRST = 1_700_000_040.0
_PATTERN = re.compile(r'node=~"([^"]*)"')


@dataclass
class Fleet:
    """The source, and what was asked of it since the last look."""

    nodes: int
    each: int
    sent: int = 0
    queries: list[int] = field(default_factory=list)

    def __call__(self, request: Request) -> Reply:
        """Answer a range query, or which nodes there are."""
        if urlsplit(request.path).path.endswith("/values"):
            body = msgspec.json.encode({"status": "success", "data": [name(node) for node in range(self.nodes)]})
        elif request.method == "GET":  # the metadata
            body = msgspec.json.encode({"status": "success", "data": {}})
        else:
            body = self._range(request.body.decode())
        self.sent += len(body)
        return Reply(body)

    def _range(self, form: str) -> bytes:
        asked = dict(parse_qsl(form))
        query = asked["query"]
        self.queries.append(len(query))
        found = _PATTERN.search(query)
        nodes = [int(each[5:]) for each in found[1].split("|")] if found else []  # node="": no series is without it
        start, end = (float(asked[key]) for key in ("start", "end"))
        times = [start + STEP * at for at in range(round((end - start) / STEP) + 1)]
        text = [
            ",".join(
                f'[{time:.0f},"{100 + (salt * 7919 + round(time / STEP) * 104_729) % 997 / 100:.2f}"]' for time in times
            )
            for salt in range(97)
        ]
        series = (
            f'{{"metric":{head},"values":[{text[(node + at) % 97]}]}}'
            for node in nodes
            for at, head in enumerate(heads(node, self.each))
        )
        return f'{{"status":"success","data":{{"resultType":"matrix","result":[{",".join(series)}]}}}}'.encode()

    def whole(self) -> float:
        """Return the bytes of the answer with every series, from one node in fifty."""
        some = Fleet(max(self.nodes // 50, 1), self.each)
        query = f'level{{node=~"{"|".join(map(name, range(some.nodes)))}"}}'
        body = some._range(urlencode({"query": query, "start": FIRST, "end": FIRST}))
        return len(body) * self.nodes / some.nodes

    def taken(self) -> tuple[int, int, int]:
        """Return bytes, queries and the longest query since the last time."""
        found = self.sent, len(self.queries), max(self.queries, default=0)
        self.sent, self.queries = 0, []
        return found


def name(node: int) -> str:
    return f"node-{node:05d}"


@cache
def heads(node: int, each: int) -> list[str]:
    """Return the label sets of a node's series as JSON."""
    return [
        msgspec.json.encode({"__name__": "level", **labels(node * each + at), "node": name(node)}).decode()
        for at in range(each)
    ]


def measure(nodes: int, each: int, count: int, rounds: int) -> list[Row]:
    """Run one replica with each of two detectors."""
    owners = [next(i for i in range(count) if Shard(i, count).owns_value(name(node))) for node in range(nodes)]
    shares = [owners.count(index) * each for index in range(count)]
    index = max(range(count), key=shares.__getitem__)
    say(f"shares of {count} replicas: {min(shares):,} to {max(shares):,} series; measured: the largest")
    rows = []
    for detector, history in (("robust", 0.0), ("auto", 60 * STEP)):
        fleet = Fleet(nodes, each)
        with serve(fleet) as stub:
            asked = {"url": stub.url, "expr": "level", "detector": detector, "pods": [], "history": history}
            with Contender("exporter", **asked, shard=f"{index}/{count}", shard_by="node") as exporter:
                cold = exporter.ask(now=FIRST)
                read = f"{fleet.taken()[0] / 1e6:.0f} MB"
                say(f"{detector}: first cycle {seconds(cold['wall'])}, {cold['peak']:.0f} MiB, {read}")
                cycles = []
                for turn in range(1, rounds + 3):
                    fleet.taken()
                    cycles.append(exporter.ask(now=FIRST + turn * STEP, reset_peak=turn == 2))
                size, queries, longest = fleet.taken()
        steady = cycles[2:] or cycles
        entities, whole = steady[-1]["entities"], fleet.whole()
        wrong = "" if entities == shares[index] else f"{entities} series judged, {shares[index]} are ours"
        if not size < 1.5 * whole / count:
            wrong = wrong or f"read {size} bytes of {whole:.0f}"
        peak = max(each["peak"] for each in steady)
        rows.append(
            Row(
                f"replica_of_{count}_{detector}",
                median(each["cpu"] for each in steady),
                "s",
                f"{entities:,} of {nodes * each:,} series: CPU of a cycle; highest {peak:.0f} MiB,"
                f" first fill {cold['peak']:.0f} MiB in {seconds(cold['wall'])}",
                f"reads {size / 1e6:.1f} MB in {queries} queries of at most {longest:,} characters;"
                f" the whole answer: {whole / 1e6:.0f} MB",
                f"shares of all {count}: {min(shares):,} to {max(shares):,} series, none twice",
                wrong,
            )
        )
    return rows


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fleet", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny: shows that it works, its figures mean nothing")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench-fleet.json", help="the JSON file")
    options = parser.parse_args(arguments)
    for line in machine():
        say(line)
    rows = measure(80, 5, 4, 2) if options.quick else measure(4_000, 250, 10, 5)
    return finish(rows, options.output)


if __name__ == "__main__":
    sys.exit(main())
