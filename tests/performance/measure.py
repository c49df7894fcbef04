#!/usr/bin/env python3
"""Measures the requests per second of the endpoint, as a share of the limit of any endpoint.

    tests/performance/measure.py [--runs N] [--seconds S]

Builds bench-endpoint and limit-endpoint and runs them alternately, each alone on the first core, with the load
generator on the second. Prints a table of medians and their ratios, with and without the one log line per event.
Then prints the memory of an idle connection and of a request in flight.
Ratios of one run can be compared; requests per second depend on the machine.
"""

import argparse
import contextlib
import hmac
import json
import os
import pathlib
import socket
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIZES = {"3 KB": 3072, "30 KB": 30720}
HANDLERS = {"field": "reads a field", "event": "takes the event"}
LEVELS = {"info": "one log line per event", "off": "no logging"}
CONNECTIONS = 16
SECRET = b"whsec_of_the_benchmarks"


def build(*options):
    command = ["cargo", "build", "--release", "-p", "router-performance", "--bins", "--message-format=json", *options]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    built = (json.loads(line) for line in output.splitlines())
    return {
        pathlib.Path(made["executable"]).name: made["executable"] for made in built if made.get("executable")
    }


class Server:
    """A server that runs on the first core."""

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
        """Returns the resident memory, in KiB."""
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
    print("requests per second, and their share of the limit")
    for name, size in SIZES.items():
        with contextlib.ExitStack() as stack:
            servers = {"the limit": stack.enter_context(Server(programs["limit-endpoint"]))}
            for handler, what in HANDLERS.items():
                for level, logged in LEVELS.items():
                    server = Server(programs["bench-endpoint"], HANDLER=handler, RUST_LOG=level)
                    servers[f"{what}, {logged}"] = stack.enter_context(server)
            # The number of events that takes about this many seconds.
            events = int(rate(programs, servers["the limit"], size, 5000) * seconds)
            rates = [[rate(programs, server, size, events) for server in servers.values()] for _ in range(runs)]
        rates = list(zip(*rates))
        for server, server_rates in zip(servers, rates):
            share = statistics.median(a / b for a, b in zip(server_rates, rates[0]))
            print(f"{name:>6}  {server:<40} {statistics.median(server_rates):8.0f}  {share:5.3f}")


def ask(connection):
    """Sends a request that is refused at once."""
    connection.sendall(b"GET /webhook HTTP/1.1\r\nHost: a\r\n\r\n")
    connection.recv(4096)


def event(number):
    """Returns a request with a small signed event."""
    body = b'{"object":"event","id":"evt_%d","type":"invoice.paid","data":{"object":{}}}' % number
    now = b"%d" % time.time()
    mac = hmac.new(SECRET, now + b"." + body, "sha256").hexdigest().encode()
    head = b"POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nStripe-Signature: t=%s,v1=%s\r\n\r\n"
    return head % (len(body), now, mac) + body


def memory(programs, connections=1000):
    with Server(programs["bench-endpoint"], HANDLER="wait", RUST_LOG="error") as server, contextlib.ExitStack() as stack:
        host, port = server.address.rsplit(":", 1)

        def connect():
            return stack.enter_context(socket.create_connection((host, int(port))))

        for _ in range(100):
            ask(connect())
        before = server.memory()
        open_connections = [connect() for _ in range(connections)]
        for connection in open_connections:
            # A keep-alive connection has served a request before.
            ask(connection)
        idle = server.memory()
        for number, connection in enumerate(open_connections):
            connection.sendall(event(number))
        # The server has one thread, so after this answer it has read all requests before.
        ask(connect())
        print(f"memory of an idle connection: {(idle - before) / connections:.1f} KiB")
        print(f"additional memory of a request in flight: {(server.memory() - idle) / connections:.1f} KiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    programs = build()
    throughput(programs, options.runs, options.seconds)
    memory(programs)


if __name__ == "__main__":
    main()
