# Runs an SMTP server that requires a login. Reads commands from standard input, one per line, and
# answers each with one line: `ok`, JSON or an error. It ends when standard input is closed.
#
#   start PORT         listens on the loopback interface
#   encrypt MODE CERTIFICATE KEY
#                      from the next start on, requires TLS: MODE is starttls, or tls from the first byte
#   stop               closes the port
#   refuse WHEN REPLY  answers the next RCPT or DATA (WHEN) with REPLY, such as `451 try later`
#   stall              never answers the next DATA
#   defer PERCENT SEED answers this percentage of DATA with 451, at random
#   mails              prints all accepted mails, as a list
import asyncio
import email
import email.policy
import json
import random
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

user, password = (argument.encode() for argument in sys.argv[2:4])


class Server:
    def __init__(self):
        self.mails = []
        self.refusals = []
        self.stalls = False
        self.deferred_percentage = 0
        self.random = random.Random()

    def refusal(self, when):
        for refusal in self.refusals:
            if refusal[0] == when:
                self.refusals.remove(refusal)
                return refusal[1]

    async def handle_RCPT(self, server, session, envelope, address, options):
        refusal = self.refusal("RCPT")
        if refusal is None:
            envelope.rcpt_tos.append(address)
        return refusal or "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.stalls:
            self.stalls = False
            await asyncio.Event().wait()
        refusal = self.refusal("DATA")
        if refusal is None and self.random.random() * 100 < self.deferred_percentage:
            refusal = "451 4.3.0 try later"
        if refusal is None:
            self.mails.append(describe(envelope))
        return refusal or "250 OK"


def describe(envelope):
    # Python's parser decodes the parts and the encoded words of the headers.
    mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
    part = lambda kind: mail.get_body((kind,)).get_content().replace("\r\n", "\n")
    return {
        "from": envelope.mail_from,
        "to": envelope.rcpt_tos,
        "headers": {name.lower(): str(value) for name, value in mail.items()},
        "text": part("plain"),
        "html": part("html"),
    }


def authenticate(server, session, envelope, mechanism, data):
    login = isinstance(data, LoginPassword) and (data.login, data.password) == (user, password)
    # Not handled: the server then answers with 535.
    return AuthResult(success=login, handled=False)


state = Server()
controller = None
encryption = {"auth_require_tls": False}
for line in sys.stdin:
    command, _, rest = line.strip().partition(" ")
    answer = "ok"
    try:
        if command == "start":
            controller = Controller(
                state, hostname="127.0.0.1", port=int(rest), authenticator=authenticate,
                auth_required=True, **encryption,
            )
            controller.start()
        elif command == "encrypt":
            mode, certificate, key = rest.split(" ")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            encryption = {
                "starttls": {"tls_context": context, "require_starttls": True},
                "tls": {"ssl_context": context, "auth_require_tls": False},
            }[mode]
        elif command == "stop":
            controller.stop()
        elif command == "refuse":
            state.refusals.append(rest.split(" ", 1))
        elif command == "stall":
            state.stalls = True
        elif command == "defer":
            percentage, seed = rest.split()
            state.deferred_percentage = float(percentage)
            state.random.seed(seed)
        elif command == "mails":
            answer = json.dumps(state.mails)
    except Exception as error:
        answer = repr(error)
    print(answer, flush=True)
