#!/usr/bin/env python3
"""Measures the time that `#[on_event]` adds to a build: 500 handlers, each with its own struct, against the
same functions and structs with a hand-written match.

    tests/compile-time/measure.py [--handlers N] [--runs N] [--profile dev|release]

Generates both crates in the target folder and builds their dependencies first. Then builds the crates
alternately, without incremental compilation. Prints the median of each and their ratio.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]

STRUCT = """
#[derive(serde::Deserialize)]
pub struct Object{n} {{
    pub id: String,
    pub amount: i64,
    pub currency: Option<String>,
}}
"""

BODY = """pub async fn handler_{n}(object: Object<Object{n}>) -> Result<(), std::io::Error> {{
    std::future::ready(()).await;
    println!("{{}} {{}} {{:?}}", object.id, object.amount, object.currency);
    Ok(())
}}
"""

MANIFEST = """[package]
name = "{name}"
version = "1.0.0"
edition = "2024"
publish = false

[dependencies]
router-core = {{ path = "{root}/router-core" }}
serde = {{ version = "1", features = ["derive"] }}

[workspace]
"""


def event_types(count):
    lines = (ROOT / "router-catalog/data/event-types.tsv").read_text().splitlines()[1:]
    names = [line.split("\t")[0] for line in lines if line.split("\t")[2] == "snapshot"]
    return [names[n % len(names)] for n in range(count)]


def attributes(types):
    yield "use router_core::{Object, on_event};\n"
    for n, event_type in enumerate(types):
        yield STRUCT.format(n=n)
        yield f'\n#[on_event("{event_type}")]\n' + BODY.format(n=n)


def by_hand(types):
    """Yields the source with a match, which calls all handlers of an event type one after the other."""
    yield "use router_core::{Event, Failure, Object};\n"
    for n in range(len(types)):
        yield STRUCT.format(n=n) + "\n" + BODY.format(n=n)
    yield "\npub async fn dispatch(event: Event) -> Result<(), Failure> {\n"
    yield "    match event.event_type() {\n"
    for event_type in sorted(set(types)):
        yield f'        "{event_type}" => {{\n'
        for n, other in enumerate(types):
            if other == event_type:
                yield f"            let object = event.decode_object().map_err(Failure::permanent)?;\n"
                yield f"            handler_{n}(Object(object)).await?;\n"
        yield "        }\n"
    yield "        _ => {}\n    }\n    Ok(())\n}\n\n"
    # A server would spawn the dispatch. Without a caller, most of it would not be compiled.
    yield "pub fn spawn(event: Event) -> std::pin::Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>> {\n"
    yield "    Box::pin(dispatch(event))\n}\n"


def make(folder, name, source):
    (folder / "src").mkdir(parents=True, exist_ok=True)
    (folder / "Cargo.toml").write_text(MANIFEST.format(name=name, root=ROOT))
    (folder / "Cargo.lock").write_bytes((ROOT / "Cargo.lock").read_bytes())
    (folder / "src/lib.rs").write_text("".join(source))


def build(folder, target, profile):
    # Make cargo rebuild only this crate.
    os.utime(folder / "src/lib.rs")
    command = ["cargo", "build", "--offline", "--quiet", "--profile", profile]
    environment = dict(os.environ, CARGO_TARGET_DIR=str(target), CARGO_INCREMENTAL="0")
    start = time.monotonic()
    subprocess.run(command, cwd=folder, env=environment, check=True)
    return time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--handlers", type=int, default=500)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--profile", choices=["dev", "release"], default="dev")
    options = parser.parse_args()

    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "compile-time"
    types = event_types(options.handlers)
    crates = {"by_hand": by_hand(types), "on_event": attributes(types)}
    times = {name: [] for name in crates}
    for name, source in crates.items():
        make(target / name, name, [])
        build(target / name, target, options.profile)  # the dependencies
        make(target / name, name, source)
    for _ in range(options.runs):
        for name in crates:
            times[name].append(build(target / name, target, options.profile))
    medians = {name: statistics.median(times[name]) for name in crates}
    for name, median in medians.items():
        print(f"{name:9} {median:6.2f} s  ({options.handlers} handlers, {options.profile}, median of {options.runs})")
    print(f"ratio     {medians['on_event'] / medians['by_hand']:6.2f}")


if __name__ == "__main__":
    main()
