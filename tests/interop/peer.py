"""Runs Stripe's Python library for a test: reads one JSON request per line of stdin, writes one JSON answer per line.

{"op":"version"}                                          -> {"version":"…"}
{"op":"sign","secret":…,"timestamp":…,"body_hex":…}       -> {"header":"t=…,v1=…"}
{"op":"verify","secret":…,"header":…,"body_hex":…,"tolerance":300}
                                                          -> {"ok":true}
                                                          or {"ok":false,"error":"class: text"}
{"op":"parse","thin":false,"secret":…,"header":…,"body_hex":…}
                                                          -> {"id":…,"type":…,"object":…,"object_id":…}

`verify` and `parse` use the real clock; with a tolerance of 0 the age is not checked. The library signs
only text, so `sign` needs a UTF-8 body. `parse` returns the library's view of the event: the `type` of a thin
event and the `object` of a snapshot event are null if the library has no class for them. If a request fails,
the answer is {"error":"class: text"}, and the program continues.
"""

import json
import sys

import stripe

# It makes no request, so the API key is arbitrary.
client = stripe.StripeClient("sk_test_none")


def describe(error):
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
            # Webhook.construct_event would also require an event in the body.
            stripe.WebhookSignature.verify_header(
                body, request["header"], request["secret"], request["tolerance"]
            )
        except Exception as error:
            return {"ok": False, "error": describe(error)}
        return {"ok": True}
    if op == "parse":
        parse = parse_thin if request["thin"] else parse_snapshot
        return parse(body, request["header"], request["secret"])
    raise ValueError(f"unknown op {op!r}")


def parse_snapshot(body, header, secret):
    event = stripe.Webhook.construct_event(body, header, secret)
    data_object = event.data.object
    return {
        "id": event.id,
        "type": event.type,
        "object": getattr(type(data_object), "OBJECT_NAME", None),
        "object_id": getattr(data_object, "id", None),
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


for line in sys.stdin.buffer:  # JSON is UTF-8 in every locale
    try:
        reply = answer(json.loads(line))
    except Exception as error:
        reply = {"error": describe(error)}
    print(json.dumps(reply), flush=True)
