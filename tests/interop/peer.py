"""Stripe's own library as a peer: one JSON request per line of stdin, one JSON answer per line.

{"op":"version"}                                          -> {"version":"…"}
{"op":"sign","secret":…,"timestamp":…,"body_hex":…}       -> {"header":"t=…,v1=…"}
{"op":"verify","secret":…,"header":…,"body_hex":…,"tolerance":300}
                                                          -> {"ok":true}
                                                          or {"ok":false,"error":"class: text"}
{"op":"parse","thin":false,"secret":…,"header":…,"body_hex":…}
                                                          -> {"id":…,"type":…,"object":…,"object_id":…}

`verify` and `parse` go by the real clock; a tolerance of 0 leaves the age unjudged. The library makes
signatures of text only, so `sign` needs a body of UTF-8. `parse` answers with what the library made of
the event: the `type` of a thin one is null where it has no class for it, and so is the `object` of a
snapshot event. A request that cannot be served is answered with {"error":"class: text"}, and the peer stays.
"""

import json
import sys

import stripe

# No request is made with it, so that its API key can be anything.
client = stripe.StripeClient("sk_test_none")


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
    if op == "parse":
        parse = parse_thin if request["thin"] else parse_snapshot
        return parse(body, request["header"], request["secret"])
    raise ValueError(f"unknown op {op!r}")


def parse_snapshot(body, header, secret):
    event = stripe.Webhook.construct_event(body, header, secret)
    carried = event.data.object
    return {
        "id": event.id,
        "type": event.type,
        "object": getattr(type(carried), "OBJECT_NAME", None),
        "object_id": getattr(carried, "id", None),
    }


def parse_thin(body, header, secret):
    event = client.parse_event_notification(body, header, secret)
    related = getattr(event, "related_object", None)
    return {
        "id": event.id,
        "type": getattr(type(event), "LOOKUP_TYPE", None),
        "object": getattr(related, "type", None),
        "object_id": getattr(related, "id", None),
    }


for line in sys.stdin.buffer:  # JSON is UTF-8, whatever the locale
    try:
        reply = answer(json.loads(line))
    except Exception as error:
        reply = {"error": described(error)}
    print(json.dumps(reply), flush=True)
