#!/usr/bin/env python3
"""How much more 2 and 4 workers do than one, each a process of its own.

    tests/performance/scaling.py [--runs N] [--events N] [--handler MILLISECONDS]

An endpoint, which is another process, receives the events over HTTP; then the workers begin. A handler waits, as one
does that asks another server. Prints a table of ratios: medians of runs that take turns. The database's server has the
same machine, so where that has no core left, more workers do no more.
"""

import argparse
import statistics
import subprocess
import time

from inbox import BYTES, bench, over_http
from measure import build
from servers import nats, postgres

WORKERS = (1, 2, 4)


def worked(programs, url, workers, milliseconds):
    """Deliveries a second, and each worker's share."""
    command = [programs["bench-inbox"], "work", url, str(milliseconds)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(workers)]
    told = [process.communicate()[0].split() for process in running]
    if any(process.returncode for process in running):
        raise SystemExit("a worker failed")
    done = [int(count) for count, _, _ in told]
    first, last = min(float(first) for _, first, _ in told), max(float(last) for _, _, last in told)
    return sum(done), sum(done) / (last - first), min(done) / max(done)


def kept(programs, name, store, events):
    """What events of 3 KB that have been handled take, each: on the disk, and in the memory of a NATS server."""
    def taken():
        if name != "JetStream, one server":
            return store.disk(url), 0
        # What says only that something moved goes by itself, and what the server has read and written it forgets.
        time.sleep(90)
        store.servers[0].tell("stop", "start")
        time.sleep(10)
        return store.disk(url), store.servers[0].memory()

    url = store.fresh()
    bench(programs, "store", url, 100, BYTES)
    bench(programs, "deliver", url)
    disk, memory = taken()
    bench(programs, "more", url, 100, events, BYTES)
    bench(programs, "deliver", url)
    disk, memory = ((now - before) / events for now, before in zip(taken(), (disk, memory)))
    in_memory = f", and {memory:.0f} bytes in the server's memory" if memory else ""
    print(f"{name}: an event of {BYTES} bytes that was handled takes {disk:.0f} bytes on the disk{in_memory}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--events", type=int, default=4_000, help="for each worker")
    parser.add_argument("--kept", type=int, help="instead, what so many events take that were handled")
    parser.add_argument("--handler", type=int, default=50, help="how long it waits, in milliseconds")
    options = parser.parse_args()
    programs = build()
    stores = {"PostgreSQL": postgres(), "JetStream, one server": nats(), "JetStream, three": nats(nodes=3)}
    time.sleep(5)  # until the three agree who leads
    if options.kept:
        for name, store in stores.items():
            kept(programs, name, store, options.kept)
            store.end()
        return
    print(f"{'store':<24} {'workers':>7}  {'to one':>7}  {'a second':>8}  least busy to busiest")
    for name, store in stores.items():
        if store is None:
            print(f"{name} is not installed, and is left out")
            continue
        figures = {workers: [] for workers in WORKERS}
        for _ in range(options.runs):
            for workers in WORKERS:
                url, events = store.fresh(), options.events * workers
                over_http(programs, url, events)
                done, rate, share = worked(programs, url, workers, options.handler)
                if done != events:
                    raise SystemExit(f"{done} of {events} were handled")
                figures[workers].append((rate, share))
        for workers in WORKERS:
            ratios = [rate / one for (rate, _), (one, _) in zip(figures[workers], figures[1])]
            rates, shares = zip(*figures[workers])
            medians = [statistics.median(values) for values in (ratios, rates, shares)]
            print("{:<24} {:>7}  {:>7.2f}  {:>8.0f}  {:.2f}".format(name, workers, *medians), flush=True)
        store.end()


if __name__ == "__main__":
    main()
