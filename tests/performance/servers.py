"""The stores for the benchmarks, each on a server of its own, started by the scripts that the tests use."""

import contextlib
import os
import pathlib
import shutil
import socket
import sqlite3
import subprocess
import tempfile

from measure import ROOT


def unused_port():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


class ServerShell:
    """A shell that starts and stops a server on command. It stops the server and exits when its input is closed."""

    def __init__(self, *command, **options):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, **options
        )

    def send(self, *commands):
        for command in commands:
            print(command, file=self.process.stdin, flush=True)
            if (answer := self.process.stdout.readline().strip()) != "ok":
                raise SystemExit(f"the server failed to {command}: {answer}")

    def memory(self):
        """Returns the resident memory of the server, in bytes."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        status = pathlib.Path(f"/proc/{children[0]}/status").read_text()
        return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Postgres:
    PASSWORD = "benchmarks"

    def __init__(self, bin):
        script = (ROOT / "tests/servers/src/postgres.sh").read_text()
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
        self.server = ServerShell(*user, "sh", "-c", script, "sh", str(bin), self.PASSWORD, cwd="/")
        self.bin = bin
        self.port = unused_port()
        self.server.send("make", f"start {self.port}")
        self.databases = 0

    def url(self, database):
        return f"postgres://postgres:{self.PASSWORD}@127.0.0.1:{self.port}/{database}"

    def run(self, program, *arguments, **options):
        environment = {**os.environ, "PGPASSWORD": self.PASSWORD}
        command = [self.bin / program, "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", *arguments]
        return subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True, **options).stdout

    def fresh(self):
        self.databases += 1
        database = f"bench_{self.databases}"
        self.run("createdb", database)
        return self.url(database)

    def disk(self, url):
        """Returns the size of a database on disk, in bytes."""
        database = url.rsplit("/", 1)[1]
        return int(self.run("psql", "-qAt", "-d", database, input="select pg_database_size(current_database())"))

    def sql(self, url, text):
        self.run("psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", url.rsplit("/", 1)[1], input=text)

    def close(self):
        self.server.close()


class Sqlite:
    def __init__(self):
        # On the project's disk, because the default folder for temporary files can be in memory.
        self.folder = tempfile.TemporaryDirectory(dir=ROOT / "target")
        self.files = 0

    def fresh(self):
        self.files += 1
        return f"sqlite:{self.folder.name}/{self.files}.db"

    def sql(self, url, text):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:"))) as db:
            db.executescript(text)

    def close(self):
        self.folder.cleanup()


class Nats:
    """A NATS server with JetStream, or a cluster of three."""

    PASSWORD = "benchmarks"

    def __init__(self, program, nodes=1, sync="always"):
        script = (ROOT / "tests/servers/src/nats.sh").read_text()
        self.ports = [unused_port() for _ in range(nodes)]
        routes = [f"127.0.0.1:{unused_port()}" for _ in range(nodes)]
        route_urls = ", ".join(f'"nats://{route}"' for route in routes)
        self.servers = []
        for number, (port, route) in enumerate(zip(self.ports, routes)):
            configuration = f"""
                server_name: n{number}
                listen: "127.0.0.1:{port}"
                authorization {{ user: inbox, password: "{self.PASSWORD}" }}
                jetstream {{ store_dir: store, sync_interval: {sync} }}
            """
            ready = "Server is ready"
            if nodes > 1:
                configuration += f'cluster {{ name: bench, listen: "{route}", routes: [{route_urls}] }}'
                ready = "Listening for route connections"
            # On the project's disk, because the default folder for temporary files can be in memory.
            environment = {**os.environ, "TMPDIR": str(ROOT / "target")}
            server = ServerShell("sh", "-c", script, "sh", program, configuration, ready, env=environment)
            server.send("start")
            self.servers.append(server)
        self.inboxes = 0

    def fresh(self):
        self.inboxes += 1
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"nats://inbox:{self.PASSWORD}@{hosts}/bench_{self.inboxes}"

    def disk(self, url):
        """Returns the size of a stream on the disk of the first server, in bytes."""
        shell = self.servers[0].process.pid
        folder = pathlib.Path(os.readlink(f"/proc/{shell}/cwd")) / "store" / "jetstream"
        files = [file for file in folder.rglob("*") if file.is_file() and url.rsplit("/", 1)[1] in file.parts]
        return sum(file.stat().st_size for file in files)

    def close(self):
        for server in self.servers:
            server.close()


def postgres():
    """Starts PostgreSQL. Returns None if it is not installed."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return Postgres(found[-1].parent) if found else None


def nats(**options):
    """Starts NATS. Returns None if it is not installed."""
    program = os.environ.get("NATS_SERVER") or shutil.which("nats-server")
    return Nats(program, **options) if program else None
