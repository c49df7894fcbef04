"""The stores that are measured, each on a server of the tests' kind."""

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


class Told:
    """A shell that starts and ends a server as it is told, and ends when its input does."""

    def __init__(self, *command, **options):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, **options
        )

    def tell(self, *commands):
        for command in commands:
            print(command, file=self.process.stdin, flush=True)
            if (said := self.process.stdout.readline().strip()) != "ok":
                raise SystemExit(f"the server does not {command}: {said}")

    def memory(self):
        """What the server that it has started has in memory, in bytes."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        status = pathlib.Path(f"/proc/{children[0]}/status").read_text()
        return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Postgres:
    PASSWORD = "of-the-benchmarks"

    def __init__(self, bin):
        script = (ROOT / "router-inbox/tests/support/postgres.sh").read_text()
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
        self.server = Told(*user, "sh", "-c", script, "sh", str(bin), self.PASSWORD, cwd="/")
        self.bin = bin
        self.port = unused_port()
        self.server.tell("make", f"start {self.port}")
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
        """What a database has on the disk, in bytes."""
        database = url.rsplit("/", 1)[1]
        return int(self.run("psql", "-qAt", "-d", database, input="select pg_database_size(current_database())"))

    def sql(self, url, text):
        self.run("psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", url.rsplit("/", 1)[1], input=text)

    def end(self):
        self.server.end()


class Sqlite:
    def __init__(self):
        # On the disk that the project is on: the usual place for temporary files can be memory.
        self.folder = tempfile.TemporaryDirectory(dir=ROOT / "target")
        self.files = 0

    def fresh(self):
        self.files += 1
        return f"sqlite:{self.folder.name}/{self.files}.db"

    def sql(self, url, text):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:"))) as db:
            db.executescript(text)

    def end(self):
        self.folder.cleanup()


class Nats:
    """A server with JetStream, or three in a cluster."""

    PASSWORD = "of-the-benchmarks"

    def __init__(self, program, nodes=1, sync="always"):
        script = (ROOT / "router-inbox/tests/support/nats.sh").read_text()
        self.ports = [unused_port() for _ in range(nodes)]
        routes = [f"127.0.0.1:{unused_port()}" for _ in range(nodes)]
        every = ", ".join(f'"nats://{route}"' for route in routes)
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
                configuration += f'cluster {{ name: bench, listen: "{route}", routes: [{every}] }}'
                ready = "Listening for route connections"
            # On the disk that the project is on: the usual place for temporary files can be memory.
            environment = {**os.environ, "TMPDIR": str(ROOT / "target")}
            server = Told("sh", "-c", script, "sh", program, configuration, ready, env=environment)
            server.tell("start")
            self.servers.append(server)
        self.inboxes = 0

    def fresh(self):
        self.inboxes += 1
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"nats://inbox:{self.PASSWORD}@{hosts}/bench_{self.inboxes}"

    def disk(self, url):
        """What a stream has on the disk of the first server, in bytes."""
        shell = self.servers[0].process.pid
        folder = pathlib.Path(os.readlink(f"/proc/{shell}/cwd")) / "store" / "jetstream"
        files = [file for file in folder.rglob("*") if file.is_file() and url.rsplit("/", 1)[1] in file.parts]
        return sum(file.stat().st_size for file in files)

    def end(self):
        for server in self.servers:
            server.end()


def postgres():
    """None, where it is not installed."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return Postgres(found[-1].parent) if found else None


def nats(**options):
    """None, where it is not installed."""
    program = os.environ.get("NATS_SERVER") or shutil.which("nats-server")
    return Nats(program, **options) if program else None
