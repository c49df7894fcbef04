"""Stripe's own library as a peer: one JSON request per line of stdin, one JSON answer per line.

{"op":"version"}                                          -> {"version":"…"}
{"op":"sign","secret":…,"timestamp":…,"body_hex":…}       -> {"header":"t=…,v1=…"}
{"op":"verify","secret":…,"header":…,"body_hex":…,"tolerance":300}
                                                          -> {"ok":true}
                                                          or {"ok":false,"error":"class: text"}

`verify` goes by the real clock; a tolerance of 0 leaves the age unjudged. The library makes
signatures of text only, so `sign` needs a body of UTF-8. A request that cannot be served is
answered with {"error":"class: text"}, and the peer stays.
"""

import json
import sys

import stripe


def described(error):
    return f"{type(error).__name__}: {error}"


def answer(request):
    op = request["op"]
    if op == "version":
        return {"version": stripe.VERSION}
    body = bytes.fromhex(request["body_hex"])
    if op == "sign":
        header = stripe.WebhookSignature.generate_signature_header(
            body.decode(), request["secret"], request["timestamp"]
        )
        return {"header": header}
    if op == "verify":
        try:
            # Not Webhook.construct_event: that wants an event in the body, besides the signature.
            stripe.WebhookSignature.verify_header(
                body, request["header"], request["secret"], request["tolerance"]
            )
        except Exception as error:
            return {"ok": False, "error": described(error)}
        return {"ok": True}
    raise ValueError(f"unknown op {op!r}")


for line in sys.stdin.buffer:  # JSON is UTF-8, whatever the locale
    try:
        reply = answer(json.loads(line))
    except Exception as error:
        reply = {"error": described(error)}
    print(json.dumps(reply), flush=True)
