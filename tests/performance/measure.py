#!/usr/bin/env python3
"""How many requests a second the endpoint answers, as a share of what any endpoint could answer at most.

    tests/performance/measure.py [--runs N] [--seconds S]

Builds bench-endpoint and limit-endpoint, runs them in turns, each alone on the first core and the load on the
second, and prints a table of medians and their ratios. Then it says how much memory an idle connection keeps.
Ratios of one run can be compared; requests a second say more about the machine.
"""

import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIZES = {"3 KB": 3072, "30 KB": 30720}
CONNECTIONS = 16


def build():
    command = ["cargo", "build", "--release", "-p", "router-performance", "--bins", "--message-format=json"]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    built = (json.loads(line) for line in output.splitlines())
    return {
        pathlib.Path(made["executable"]).name: made["executable"] for made in built if made.get("executable")
    }


class Server:
    """A server on the first core."""

    def __init__(self, program, **env):
        self.process = subprocess.Popen(
            ["taskset", "-c", "0", program],
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.address = self.process.stdout.readline().split()[-1]

    def memory(self):
        """What it keeps in memory, in KiB."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def rate(programs, server, size, events):
    command = ["taskset", "-c", "1", programs["load"], server.address, str(size), str(events), str(CONNECTIONS)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def throughput(programs, runs, seconds):
    print(f"{'body':>6}  {'limit':>9}  {'one field':>17}  {'the event':>17}   (requests a second, share of the limit)")
    for name, size in SIZES.items():
        with (
            Server(programs["limit-endpoint"]) as limit,
            Server(programs["bench-endpoint"], HANDLER="field") as field,
            Server(programs["bench-endpoint"], HANDLER="event") as event,
        ):
            servers = [limit, field, event]
            # As many as take about so long.
            events = int(rate(programs, limit, size, 5000) * seconds)
            rates = [[rate(programs, server, size, events) for server in servers] for _ in range(runs)]
        rates = list(zip(*rates))
        medians = [statistics.median(of) for of in rates]
        shares = [statistics.median(a / b for a, b in zip(of, rates[0])) for of in rates]
        columns = (f"{median:9.0f}  {share:5.3f}" for median, share in zip(medians[1:], shares[1:]))
        print(f"{name:>6}  {medians[0]:9.0f}  {'  '.join(columns)}")


def idle_memory(programs, connections=1000):
    with Server(programs["bench-endpoint"]) as server:
        rate(programs, server, 3072, 5000)
        before = server.memory()
        host, port = server.address.rsplit(":", 1)
        held = [socket.create_connection((host, int(port))) for _ in range(connections)]
        # One answered request each, as a connection that is kept alive has had.
        for one in held:
            one.sendall(b"GET /webhook HTTP/1.1\r\nHost: a\r\n\r\n")
        for one in held:
            one.recv(4096)
        print(f"memory of an idle connection: {(server.memory() - before) / connections:.1f} KiB")
        for one in held:
            one.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    programs = build()
    throughput(programs, options.runs, options.seconds)
    idle_memory(programs)


main()
