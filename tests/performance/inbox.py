#!/usr/bin/env python3
"""Measures the inbox against the database that it uses.

    tests/performance/inbox.py [--runs N] [--events N] [--done N] [--only TEXT]

Builds bench-inbox and load, and prints a table of ratios: medians of interleaved runs. Starts its own PostgreSQL
server and NATS server, if these are installed. Ratios of one run can be compared; absolute figures depend on the
machine, above all on the time that its disk takes to sync.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import tempfile

from measure import build
from servers import Sqlite, nats, postgres

BYTES = 3072
CONNECTIONS = 64
WAITING = 100_000


def bench(programs, command, url, *numbers):
    command = [programs["bench-inbox"], command, url, *map(str, numbers)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


@contextlib.contextmanager
def served(programs, url):
    command = [programs["bench-inbox"], "serve", url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.wait()


def over_http(programs, url, events):
    with served(programs, url) as address:
        command = [programs["load"], address, str(BYTES), str(events), str(CONNECTIONS)]
        return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def pgbench(programs, store, seconds):
    """Returns the rate at which pgbench stores the same rows, with 64 clients and a transaction per event."""
    url = store.fresh()
    bench(programs, "store", url, 1, BYTES)  # creates the tables
    script = f"""\\set number random(1, 1000000000000)
begin;
with event as (
  insert into stripe_inbox.events
    (id, identity, endpoint, event_id, generation, type, object, payload, signed_at, stored_at)
  values (stripe_inbox.next_event_ids(1), sha256(:number::text::bytea || :client_id::text::bytea), 'default',
    'evt_' || :number, 0, 'invoice.paid', 'pi_1', convert_to(repeat('x', {BYTES}), 'UTF8'), 0, stripe_inbox.inbox_now())
  on conflict do nothing returning id)
insert into stripe_inbox.deliveries (id, event, handler, due)
  select id * 1024, id, 'shop', stripe_inbox.inbox_now() from event;
commit;
"""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        os.chmod(file.name, 0o644)
        output = store.run(
            "pgbench", "-n", "-c", str(CONNECTIONS), "-j", "1", "-T", str(seconds), "-M", "prepared", "-f", file.name,
            url.rsplit("/", 1)[1],
        )
    return next(float(line.split()[2]) for line in output.splitlines() if line.startswith("tps"))


def fill(programs, name, store, done, waiting):
    url = store.fresh()
    if name == "JetStream":
        # Only the store can write its records, so this takes some minutes.
        if done:
            bench(programs, "store", url, done, 300)
            bench(programs, "deliver", url)
        bench(programs, "more", url, done, waiting, 300)
        return url
    bench(programs, "store", url, 1, BYTES)  # creates the tables
    if name == "SQLite":
        store.sql(url, f"""
            delete from stripe_inbox_deliveries; delete from stripe_inbox_events;
            with recursive n (n) as (select 1 union all select n + 1 from n where n < {done + waiting})
            insert into stripe_inbox_events
                (id, identity, endpoint, account, event_id, generation, type, object, payload, signed_at, stored_at)
                select n, randomblob(32), 'default', '', 'evt_' || n, 0, 'invoice.paid', 'in_' || n, cast(
                    '{{"id":"evt_' || n || '","object":"event","type":"invoice.paid","created":1700000000,"livemode":false,'
                    || '"data":{{"object":{{"id":"in_1","object":"invoice"}}}}}}' as blob), 0, 0 from n;
            insert into stripe_inbox_deliveries (id, event, handler, state, due)
                select id * 1024, id, 'shop', iif(id <= {done}, 2, 0), 0 from stripe_inbox_events;
            analyze;
        """)
    else:
        store.sql(url, f"""
            delete from stripe_inbox.deliveries; delete from stripe_inbox.events;
            insert into stripe_inbox.events
                (id, identity, endpoint, event_id, generation, type, object, payload, signed_at, stored_at)
                select n, sha256(n::text::bytea), 'default', 'evt_' || n, 0, 'invoice.paid', 'in_' || n, convert_to(
                    '{{"id":"evt_' || n || '","object":"event","type":"invoice.paid","created":1700000000,"livemode":false,'
                    || '"data":{{"object":{{"id":"in_1","object":"invoice"}}}}}}', 'UTF8'), 0, 0
                from generate_series(1, {done + waiting}) n;
            insert into stripe_inbox.deliveries (id, event, handler, state, due)
                select n * 1024, n, 'shop', case when n <= {done} then 2 else 0 end, 0 from generate_series(1, {done + waiting}) n;
            vacuum analyze;
        """)
    return url


def memory(programs, name, store):
    """Returns the peak memory of a worker that delivers 100,000 events of 30 KB, above an idle worker, in MiB."""
    def peak(url):
        process = subprocess.Popen([programs["bench-inbox"], "deliver", url], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit("the worker failed")
        return usage.ru_maxrss / 1024

    few, many = store.fresh(), store.fresh()
    bench(programs, "store", few, 1, BYTES)
    bench(programs, "store", many, WAITING, 30 * 1024)
    return peak(many) - peak(few)


def row(name, target, ratios, detail=""):
    print(f"{name:<72} {target:>9}  {statistics.median(ratios):7.2f}   {detail}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--done", type=int, default=1_000_000, help="finished deliveries in the inbox for the claim")
    parser.add_argument("--only", default="", metavar="TEXT", help="only rows whose name contains this text")
    options = parser.parse_args()
    programs = build("--features=inbox")
    stores = {"SQLite": Sqlite(), "PostgreSQL": postgres(), "JetStream": nats()}
    for name in [name for name, store in stores.items() if store is None]:
        print(f"skipped: {name} is not installed")
        del stores[name]
    runs, events = range(options.runs), options.events
    print(f"{'measurement':<72} {'target':>9}  result")
    try:
        for name, store in stores.items():
            def wanted(what):
                return options.only.lower() in f"{name} {what}".lower()

            if wanted(what := "stored over HTTP, 64 connections"):
                http, base = [], []
                for _ in runs:
                    http.append(over_http(programs, store.fresh(), events))
                    if name == "PostgreSQL":
                        base.append(pgbench(programs, store, 5))
                    else:
                        base.append(bench(programs, "bare", store.fresh(), events, BYTES))
                baseline = "pgbench, 64 clients" if name == "PostgreSQL" else "a bare loop, batches of 64"
                detail = f"{statistics.median(http):.0f} per second to {statistics.median(base):.0f}"
                row(f"{name}: {what}, to {baseline}", ">= 0.5", [a / b for a, b in zip(http, base)], detail)
            if wanted(what := "delivered, to stored"):
                stored, delivered = [], []
                for _ in runs:
                    url = store.fresh()
                    stored.append(bench(programs, "store", url, events, BYTES))
                    delivered.append(bench(programs, "deliver", url))
                detail = f"{statistics.median(delivered):.0f} per second to {statistics.median(stored):.0f}"
                row(f"{name}: {what}", ">= 0.7", [a / b for a, b in zip(delivered, stored)], detail)
            if wanted(what := f"a claim among {options.done:,} finished and {WAITING:,} waiting, to a claim among 16"):
                full, empty = (fill(programs, name, store, *rows) for rows in ((options.done, WAITING), (0, 16)))
                pairs = [[bench(programs, "claim", url, 200) for url in (full, empty)] for _ in runs]
                detail = "{:.0f} us to {:.0f} us".format(*map(statistics.median, zip(*pairs)))
                row(f"{name}: {what}", "<= 1.5", [a / b for a, b in pairs], detail)
            if wanted(what := "time from stored to the handler's start, idle, in ms"):
                row(f"{name}: {what}", "< 5", [bench(programs, "latency", store.fresh(), 100) / 1000 for _ in runs])
            if wanted(what := "peak memory with 100,000 events of 30 KB, above idle, in MiB"):
                row(f"{name}: {what}", "< 64", [memory(programs, name, store)])
    finally:
        for store in stores.values():
            store.close()


if __name__ == "__main__":
    main()
