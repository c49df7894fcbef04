#!/usr/bin/env python3
"""Measures how deliveries scale from one worker process to two and four.

    tests/performance/scaling.py [--runs N] [--events N] [--handler MILLISECONDS]

An endpoint in another process receives the events over HTTP; then the workers start. The handler waits, like a handler
that calls another server. Prints a table of ratios: medians of interleaved runs. The database server shares the
machine, so once no core is left, more workers do not help.
"""

import argparse
import statistics
import subprocess
import time

from inbox import BYTES, bench, over_http
from measure import build
from servers import nats, postgres

WORKERS = (1, 2, 4)


def delivery_rate(programs, url, workers, milliseconds):
    """Returns the deliveries, their rate per second, and the ratio of the least to the most deliveries of a worker."""
    command = [programs["bench-inbox"], "work", url, str(milliseconds)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(workers)]
    outputs = [process.communicate()[0].split() for process in running]
    if any(process.returncode for process in running):
        raise SystemExit("a worker failed")
    done = [int(count) for count, _, _ in outputs]
    first, last = min(float(first) for _, first, _ in outputs), max(float(last) for _, _, last in outputs)
    return sum(done), sum(done) / (last - first), min(done) / max(done)


def space(programs, name, store, events):
    """Prints the space per handled event of 3 KB: on disk, and in the memory of a NATS server."""
    def used():
        if name != "JetStream, one server":
            return store.disk(url), 0
        # Wait until tombstones have expired, and restart the server to empty its caches.
        time.sleep(90)
        store.servers[0].send("stop", "start")
        time.sleep(10)
        return store.disk(url), store.servers[0].memory()

    url = store.fresh()
    bench(programs, "store", url, 100, BYTES)
    bench(programs, "deliver", url)
    disk, memory = used()
    bench(programs, "more", url, 100, events, BYTES)
    bench(programs, "deliver", url)
    disk, memory = ((now - before) / events for now, before in zip(used(), (disk, memory)))
    in_memory = f", and {memory:.0f} bytes in the server's memory" if memory else ""
    print(f"{name}: a handled event of {BYTES} bytes takes {disk:.0f} bytes on disk{in_memory}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--events", type=int, default=4_000, help="events per worker")
    parser.add_argument("--kept", type=int, metavar="EVENTS", help="measure the space of this many handled events instead")
    parser.add_argument("--handler", type=int, default=50, metavar="MILLISECONDS", help="time that the handler waits")
    options = parser.parse_args()
    programs = build("--features=inbox")
    stores = {"PostgreSQL": postgres(), "JetStream, one server": nats(), "JetStream, three": nats(nodes=3)}
    time.sleep(5)  # until the cluster has elected a leader
    if options.kept:
        for name, store in stores.items():
            space(programs, name, store, options.kept)
            store.close()
        return
    print(f"{'store':<24} {'workers':>7}  {'ratio':>7}  {'per sec':>8}  least to most busy worker")
    for name, store in stores.items():
        if store is None:
            print(f"skipped: {name} is not installed")
            continue
        figures = {workers: [] for workers in WORKERS}
        for _ in range(options.runs):
            for workers in WORKERS:
                url, events = store.fresh(), options.events * workers
                over_http(programs, url, events)
                done, rate, share = delivery_rate(programs, url, workers, options.handler)
                if done != events:
                    raise SystemExit(f"only {done} of {events} events were handled")
                figures[workers].append((rate, share))
        for workers in WORKERS:
            ratios = [rate / base for (rate, _), (base, _) in zip(figures[workers], figures[1])]
            rates, shares = zip(*figures[workers])
            medians = [statistics.median(values) for values in (ratios, rates, shares)]
            print("{:<24} {:>7}  {:>7.2f}  {:>8.0f}  {:.2f}".format(name, workers, *medians), flush=True)
        store.close()


if __name__ == "__main__":
    main()
