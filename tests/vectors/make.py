"""Prints signature.txt. Started by make.sh; the only argument is the judge for node.

The vectors are written by hand below, each with the outcome we want. Stripe's library for Python
makes the MACs; it and the library for node then judge every vector, and `rules` (our own rules,
told once more) must come to the outcome that was written down.
"""

import hashlib
import hmac
import json
import re
import subprocess
import sys
from unittest.mock import patch

import stripe

T = 1700000000
LATEST = 253402300799  # The end of the year 9999.
A, B, OLD = "whsec_fake_a", "whsec_fake_b", "whsec_fake_old"
BODY = b'{"id":"evt_1","object":"event"}'

HEAD = """\
# Test vectors for the verification of `Stripe-Signature` headers. Made by make.sh: do not edit.
# Judged by the official libraries: `stripe` {python} on PyPI, `stripe` {node} on npm.
#
# secrets  endpoints, comma separated: `name=secret`, or only `secret` (its name is `default`);
#          several secrets of one endpoint are separated by `|`
# header   the header's value; `\\xNN` is a byte outside printable ASCII, a space at either end, or a
#          backslash. No such line: no such header. `header =`: a header with an empty value
# body     `text:` and the UTF-8 text as it stands, without escapes; or `hex:`; or
#          `repeat:BYTE_IN_HEX*COUNT`
# now      our clock, in seconds since the Unix epoch; the tolerance is always 300 s
# expect   `ok` and the name of the endpoint whose secret matched, or the name of the error
# python   what the library says, `accept` if it does so under any one of the secrets. Both get the
# node     body as bytes and the header as Latin-1 text, as web servers hand them over. A crash
#          (an exception other than the library's own) counts as `refuse`
# note     why; where a library's verdict is not ours, why ours is right"""

vectors, macs = [], []


def mac(body=BODY, t=T, secret=A):
    """The right v1; `t` is text where it is to be something that is no number."""
    plain = hmac.new(secret.encode(), b"%s.%s" % (str(t).encode(), body), hashlib.sha256)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return plain.hexdigest()  # The libraries make MACs of text only.
    made = stripe.WebhookSignature._compute_signature(f"{t}.{text}", secret)
    assert made == plain.hexdigest()
    if isinstance(t, int) and 0 < t < 2**53:  # What node's maker takes; it reads 0 as "now".
        macs.append({"secret": secret, "timestamp": t, "body": body.hex(), "mac": made})
    return made


def signed(body=BODY, t=T, secret=A):
    return f"t={t},v1={mac(body, t, secret)}"


def vector(name, header, expect, note, *, body=BODY, secrets=A, now=T):
    if isinstance(header, str):
        header = header.encode("ascii")
    assert re.fullmatch("[a-z0-9_]+", name) and name not in [v["name"] for v in vectors], name
    vectors.append(locals())


def endpoints(secrets):
    """(endpoint, secret) pairs, in order."""
    for item in secrets.split(","):
        name, _, texts = item.rpartition("=")
        yield from ((name or "default", text) for text in texts.split("|"))


def rules(header, body, secrets, now):
    if header is None:
        return "missing_header"
    items = [item.strip(b" \t").partition(b"=") for item in header.split(b",")]
    items = [(key, value) for key, equals, value in items if equals]
    times = [value for key, value in items if key == b"t"]
    v1s = [value for key, value in items if key == b"v1"]
    hexes = [value for value in v1s if re.fullmatch(b"[0-9a-f]{64}", value)]
    if not items:
        return "unreadable_header"
    if not times:
        return "no_timestamp"
    if not re.fullmatch(b"[0-9]+", times[0]) or int(times[0]) > LATEST:
        return "unreadable_timestamp"
    if len(times) > 1:
        return "repeated_timestamp"
    if not v1s:
        return "no_signature"
    if not hexes:
        return "unreadable_signature"
    t = int(times[0])
    for name, secret in endpoints(secrets):
        right = hmac.new(secret.encode(), b"%d.%s" % (t, body), hashlib.sha256).hexdigest()
        if right.encode() in hexes:
            return "too_old" if now - t > 300 else f"ok {name}"
    return "no_match"


def python_verdict(header, body, secrets, now):
    text = None if header is None else header.decode("latin-1")
    for _, secret in endpoints(secrets):
        try:
            with patch("time.time", return_value=now):
                stripe.WebhookSignature.verify_header(body, text, secret, 300)
            return "accept"
        except Exception:
            pass
    return "refuse"


def node_verdicts():
    asked = [
        {
            "secrets": [secret for _, secret in endpoints(v["secrets"])],
            "header": None if v["header"] is None else v["header"].hex(),
            "body": v["body"].hex(),
            "now": v["now"],
        }
        for v in vectors
    ]
    answer = subprocess.run(
        ["node", sys.argv[1]],
        input=json.dumps({"macs": macs, "vectors": asked}).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    answer = json.loads(answer.stdout)
    return answer["version"], answer["verdicts"]


def header_line(value):
    if value is None:
        return []
    ends = len(value) - len(value.lstrip(b" ")), len(value.rstrip(b" "))
    escaped = "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte != 0x5C and ends[0] <= at < ends[1]
        else f"\\x{byte:02x}"
        for at, byte in enumerate(value)
    )
    return [f"header = {escaped}".rstrip()]


def body_text(body):
    if len(body) > 65536 and len(set(body)) == 1:
        return f"repeat:{body[0]:02x}*{len(body)}"
    try:
        text = body.decode()
        if text.isprintable() and text == text.strip():
            return "text:" + text
    except UnicodeDecodeError:
        pass
    return "hex:" + body.hex()


# ---------------------------------------------------------------------------------------------
GOOD = mac()
WRONG = mac(secret=B)  # Readable, but of a secret that is not ours.
ZEROS = "0" * 64

# The header's items.
vector("plain", signed(), "ok default", "as Stripe sends it")
vector("v1_first_of_three", f"t={T},v1={GOOD},v1={WRONG},v1={ZEROS}", "ok default",
       "every v1 is tried")
vector("v1_middle_of_three", f"t={T},v1={WRONG},v1={GOOD},v1={ZEROS}", "ok default",
       "every v1 is tried")
vector("v1_last_of_three", f"t={T},v1={WRONG},v1={ZEROS},v1={GOOD}", "ok default",
       "every v1 is tried")
vector("v1_twice_the_same", f"t={T},v1={GOOD},v1={GOOD}", "ok default",
       "only a repeated t is refused")
vector("v1_before_t", f"v1={GOOD},t={T}", "ok default", "the order of the items is free")
vector("t_between_v1s", f"v1={WRONG},t={T},v1={GOOD}", "ok default",
       "the order of the items is free")
vector("v1_wrong", f"t={T},v1={ZEROS}", "no_match", "a readable v1 that no secret made")
vector("v1_last_digit_changed", f"t={T},v1={GOOD[:-1]}{int(GOOD[-1], 16) ^ 1:x}", "no_match",
       "the whole MAC is compared")
vector("v1_first_digit_changed", f"t={T},v1={int(GOOD[0], 16) ^ 1:x}{GOOD[1:]}", "no_match",
       "the whole MAC is compared")
vector("v1_of_another_timestamp", f"t={T + 1},v1={GOOD}", "no_match",
       "t is signed: a replay cannot be given a newer one")
vector("v0_only", f"t={T},v0={GOOD}", "no_signature",
       "v0 proves nothing, even with the MAC of v1: no downgrade")
vector("v0_beside_v1", f"t={T},v1={GOOD},v0={ZEROS}", "ok default",
       "as Stripe sends it in test mode")
vector("v0_good_beside_v1_wrong", f"t={T},v1={WRONG},v0={GOOD}", "no_match",
       "v0 proves nothing")
vector("v2_only", f"t={T},v2={GOOD}", "no_signature", "only v1 counts")
vector("v10_only", f"t={T},v10={GOOD}", "no_signature", "the key is compared whole")
vector("unknown_schemes_between", f"v2=x,t={T},a=b,v1={GOOD},=,z==", "ok default",
       "unknown schemes are ignored")
LENIENT = "bare words are ignored, as python and node ignore other bare words; "
vector("bare_words_between", f"hello,t={T},a b,v1={GOOD},v2", "ok default",
       "bare words are ignored")
vector("bare_v1_beside_good", f"t={T},v1,v1={GOOD}", "ok default",
       LENIENT + "on this one Python finds no value and gives up, and node crashes as it "
       "compares undefined")
vector("bare_v1_only", f"t={T},v1", "no_signature", "a bare word is no item")
vector("bare_t_before_good", f"t,t={T},v1={GOOD}", "ok default",
       LENIENT + "on this one Python finds no value and gives up")
vector("bare_t_after_good", f"t={T},t,v1={GOOD}", "ok default",
       LENIENT + "on this one Python finds no value and gives up, and node takes the last t, "
       "which here is undefined")
vector("bare_t_only", f"t,v1={GOOD}", "no_timestamp", "a bare word is no item")
vector("trailing_comma", f"t={T},v1={GOOD},", "ok default", "an empty item is a bare word")
vector("empty_items", f",,t={T},,,v1={GOOD},,", "ok default", "an empty item is a bare word")

# White space.
SPACES = "spaces and tabs around an item are no part of it: a proxy that folds two header lines " \
         "into one puts them there, as HTTP allows (RFC 9110, 5.6.1); the MAC is right"
vector("space_after_comma", f"t={T}, v1={GOOD}", "ok default",
       SPACES + "; so does Ruby's library; Python and node do not trim")
vector("space_before_comma", f"t={T} ,v1={GOOD} ,v0={ZEROS}", "ok default",
       SPACES + "; Python and node do not trim")
vector("spaces_at_both_ends", f"  t={T},v1={GOOD}  ", "ok default",
       SPACES + "; Python and node do not trim, web servers do")
vector("space_after_t", f"t={T} ,v1={GOOD}", "ok default", SPACES)
vector("tabs_around_items", f"\tt={T}\t,\tv1={GOOD}\t", "ok default",
       SPACES + "; Python and node do not trim")
vector("space_before_equals", f"t={T},v1 ={GOOD}", "no_signature", "the key is `v1 `")
vector("space_before_equals_of_t", f"t ={T},v1={GOOD}", "no_timestamp", "the key is `t `")
vector("space_after_equals", f"t={T},v1= {GOOD}", "unreadable_signature",
       "a space is no hexadecimal digit")
vector("no_break_space_around_v1", f"t={T},\xa0v1={GOOD}".encode("latin-1"), "no_signature",
       "only ASCII spaces and tabs are trimmed")

# Unreadable signatures.
vector("v1_empty", f"t={T},v1=", "unreadable_signature", "there is a v1, but nothing in it")
BESIDE = "an unreadable v1 beside a good one is ignored, as Go's library does; the MAC is right"
vector("v1_empty_before_good", f"t={T},v1=,v1={GOOD}", "ok default",
       BESIDE + "; node crashes on an empty v1 wherever it stands")
vector("v1_empty_after_good", f"t={T},v1={GOOD},v1=", "ok default",
       BESIDE + "; node crashes on an empty v1 wherever it stands")
vector("v1_short_before_good", f"t={T},v1=abc,v1={GOOD}", "ok default", BESIDE)
vector("v1_non_ascii_before_good", f"t={T},v1=".encode() + b"\xe9" * 64 + f",v1={GOOD}".encode(),
       "ok default", BESIDE + "; Python and node crash where they compare it")
vector("v1_non_ascii_after_good", f"t={T},v1={GOOD},v1=".encode() + b"\xe9" * 64,
       "ok default", BESIDE + "; node crashes where it compares it")
vector("v1_non_ascii_only", f"t={T},v1=".encode() + b"\xe9" * 64, "unreadable_signature",
       "64 bytes, but no digits")
vector("v1_upper_case", f"t={T},v1={GOOD.upper()}", "unreadable_signature",
       "Stripe sends lower case, and the libraries compare text")
vector("v1_mixed_case", f"t={T},v1={GOOD[:32]}{GOOD[32:].upper()}", "unreadable_signature",
       "Stripe sends lower case, and the libraries compare text")
vector("v1_62_digits", f"t={T},v1={GOOD[:62]}", "unreadable_signature", "a byte short")
vector("v1_63_digits", f"t={T},v1={GOOD[:63]}", "unreadable_signature", "a digit short")
vector("v1_65_digits", f"t={T},v1={GOOD}0", "unreadable_signature", "a digit long")
vector("v1_66_digits", f"t={T},v1={GOOD}00", "unreadable_signature", "a byte long")
vector("v1_128_digits", f"t={T},v1={GOOD}{GOOD}", "unreadable_signature", "twice the MAC")
vector("v1_not_hex", f"t={T},v1={GOOD[:63]}g", "unreadable_signature", "g is no digit")
vector("v1_spaces_inside", f"t={T},v1={GOOD[:32]} {GOOD[32:]}", "unreadable_signature",
       "a space is no digit")
vector("v1_64_with_spaces_inside", f"t={T},v1={GOOD[:31]}  {GOOD[33:]}", "unreadable_signature",
       "the length alone does not make it a MAC")
vector("v1_quoted", f't={T},v1="{GOOD}"', "unreadable_signature", "quotes are no digits")
vector("v1_prefixed_0x", f"t={T},v1=0x{GOOD}", "unreadable_signature", "x is no digit")
vector("v1_equals_behind", f"t={T},v1={GOOD}=x", "unreadable_signature",
       "the value is all that follows the first `=`, as Ruby's and PHP's libraries read it too, so "
       "it is not 64 digits; Python and node cut it at the second and ignore the rest")
vector("v1_equals_before", f"t={T},v1=={GOOD}", "unreadable_signature", "the value starts with =")

# The timestamp.
vector("no_t", f"v1={GOOD}", "no_timestamp", "without t there is nothing to verify")
vector("t_upper_case_key", f"T={T},v1={GOOD}", "no_timestamp", "keys are case-sensitive")
vector("v1_upper_case_key", f"t={T},V1={GOOD}", "no_signature", "keys are case-sensitive")
TWO = "Stripe never sends two t; Python takes the first and node the last, so which one counts " \
      "would be a matter of luck"
vector("two_t_first_signed", f"t={T},t={T + 1},v1={GOOD}", "repeated_timestamp", TWO)
vector("two_t_second_signed", f"t={T + 1},t={T},v1={GOOD}", "repeated_timestamp", TWO)
vector("two_t_equal", f"t={T},t={T},v1={GOOD}", "repeated_timestamp", TWO)
vector("two_headers_joined", f"{signed()}, {signed()}", "repeated_timestamp",
       TWO + "; here neither sees ` t`, as they do not trim")
DIGITS = "t must be decimal digits and nothing else; whatever Stripe sends is"
vector("t_word", f"t=abc,v1={mac(t='NaN')}", "unreadable_timestamp",
       DIGITS + "; signed over what node makes of it, `NaN`, which it never finds too old")
vector("t_digits_then_letters", f"t={T}abc,v1={GOOD}", "unreadable_timestamp",
       DIGITS + "; node reads the digits it starts with and drops the rest")
vector("t_negative", f"t=-{T},v1={mac(t=-T)}", "unreadable_timestamp", DIGITS)
vector("t_negative_near_the_epoch", f"t=-5,v1={mac(t=-5)}", "unreadable_timestamp",
       DIGITS + "; Python and node count from before 1970", now=100)
vector("t_plus", f"t=+{T},v1={GOOD}", "unreadable_timestamp",
       DIGITS + "; Python and node take a sign")
vector("t_underscores", f"t=1_700_000_000,v1={GOOD}", "unreadable_timestamp",
       DIGITS + "; Python reads numbers as in its own source code")
vector("t_float", f"t={T}.5,v1={GOOD}", "unreadable_timestamp",
       DIGITS + "; node drops the fraction")
vector("t_exponent", f"t=17e8,v1={GOOD}", "unreadable_timestamp", DIGITS)
vector("t_hex", f"t={T:#x},v1={GOOD}", "unreadable_timestamp", DIGITS)
vector("t_empty", f"t=,v1={GOOD}", "unreadable_timestamp", DIGITS)
vector("t_space_before_digits", f"t= {T},v1={GOOD}", "unreadable_timestamp",
       DIGITS + "; only around items are spaces trimmed; Python and node trim before a number")
vector("t_no_break_space_before_digits", f"t=\xa0{T},v1={GOOD}".encode("latin-1"),
       "unreadable_timestamp", DIGITS + "; Python and node trim any Unicode space before a number")
vector("t_arabic_digits", f"t={str(T).translate({48 + d: 0x660 + d for d in range(10)})},v1={GOOD}"
       .encode(), "unreadable_timestamp", DIGITS + ", in ASCII")
vector("t_equals_behind", f"t={T}=1,v1={GOOD}", "unreadable_timestamp",
       "the value is all that follows the first `=`; Python and node cut it at the second")
vector("t_leading_zero", f"t=0{T},v1={GOOD}", "ok default",
       "it is the number that is signed, written without zeros")
vector("t_leading_zeros_40", f"t={'0' * 40}{T},v1={GOOD}", "ok default",
       "zeros do not overflow")
vector("t_leading_zero_signed", f"t=0{T},v1={mac(t=f'0{T}')}", "no_match",
       "it is the number that is signed, not its text")
vector("t_zero", signed(t=0), "too_old", "zero is a number")
vector("t_zero_near_the_epoch", signed(t=0), "ok default", "zero is a number", now=300)
vector("t_year_9999", signed(t=LATEST), "ok default", "ahead of our clock, and a time")
OVER = "no time: not every platform's clock can hold it; Python's and node's numbers can"
vector("t_year_10000", signed(t=LATEST + 1), "unreadable_timestamp", OVER)
vector("t_u64_max", signed(t=2**64 - 1), "unreadable_timestamp", OVER)
vector("t_u64_overflow", signed(t=2**64), "unreadable_timestamp", OVER)
vector("t_u64_wraps_to_now", f"t={2**64 + T},v1={GOOD}", "unreadable_timestamp",
       "must not wrap around")
vector("t_400_digits", signed(t=int("9" * 400)), "unreadable_timestamp", OVER)
vector("t_400_digits_signed_as_infinity", f"t={'9' * 400},v1={mac(t='Infinity')}",
       "unreadable_timestamp", "more than 64 bits hold; node makes `Infinity` of it, which is "
       "never too old")

# The header as a whole.
vector("header_none", None, "missing_header", "not sent by Stripe")
vector("header_empty", "", "unreadable_header", "no key=value in it")
vector("header_spaces", "   ", "unreadable_header", "no key=value in it")
vector("header_commas", ",,,", "unreadable_header", "no key=value in it")
vector("header_garbage", "not a signature", "unreadable_header", "no key=value in it")
vector("header_bare_mac", GOOD, "unreadable_header", "no key=value in it")
vector("header_garbage_bytes", bytes(range(0x80, 0x100)), "unreadable_header",
       "no key=value in it")
vector("header_colons", f"t:{T},v1:{GOOD}", "unreadable_header", "no key=value in it")
vector("header_semicolons", f"t={T};v1={GOOD}", "unreadable_timestamp",
       "one item, whose value is more than digits")
vector("header_other_items_only", "a=b", "no_timestamp", "readable, but nothing that we know")
vector("header_backslash", f"a\\=\\x,t={T},v1={GOOD}", "ok default",
       "unknown schemes are ignored, whatever is in them")
vector("header_non_ascii_elsewhere", b"caf\xe9,\xc3\xa9=\xff," + signed().encode(), "ok default",
       "bytes that are no text are ignored where they are no part of t or v1")
vector("header_10000_items", f"t={T}," + "a," * 10_000 + f"v1={GOOD}", "ok default",
       "no limit on the number of items; web servers limit the length")

# Which error comes first.
vector("no_t_and_no_v1", f"v0={GOOD}", "no_timestamp", "t is judged before v1")
vector("unreadable_t_and_no_v1", "t=abc", "unreadable_timestamp", "t is judged before v1")
vector("unreadable_t_then_another", f"t=abc,t={T},v1={GOOD}", "unreadable_timestamp",
       "read before it is counted; node takes the last t")
vector("two_t_and_no_v1", f"t={T},t={T}", "repeated_timestamp", "t is judged before v1")
vector("unreadable_v1_and_old", f"t={T},v1=abc", "unreadable_signature",
       "the age comes last", now=T + 9999)
vector("no_match_and_old", f"t={T},v1={WRONG}", "no_match",
       "only an authentic sender learns about the age", now=T + 9999)

# The age.
vector("age_299", signed(), "ok default", "within the tolerance", now=T + 299)
vector("age_300", signed(), "ok default", "exactly the tolerance passes", now=T + 300)
vector("age_301", signed(), "too_old", "a second more does not", now=T + 301)
vector("age_a_day", signed(), "too_old", "replayed", now=T + 86400)
vector("ahead_1", signed(), "ok default", "clocks differ", now=T - 1)
vector("ahead_301", signed(), "ok default", "the tolerance limits the past only", now=T - 301)
vector("ahead_a_day", signed(), "ok default",
       "the MAC is right, and only Stripe can have made it", now=T - 86400)

# The body.
EVENT = json.dumps(
    {
        "id": "evt_1OC0AbCdEfGhIjKlMnOpQrSt", "object": "event", "api_version": "2023-10-16",
        "created": T, "livemode": False, "pending_webhooks": 1, "type": "invoice.paid",
        "request": {"id": None, "idempotency_key": None},
        "data": {"object": {
            "id": "in_1OC0", "object": "invoice", "amount_due": 12345, "currency": "eur",
            "customer_name": "Zoë Ångström", "description": None,
            "lines": {"object": "list", "has_more": False, "data": [
                {"id": f"il_{n}", "object": "line_item", "amount": 1000 + n, "currency": "eur",
                 "description": f"1 × Plan {n} (at €10.00 / month)", "discounts": [],
                 "metadata": {"order": f"6735-{n}", "url": "https://example.com/a?b=c&d=e"},
                 "period": {"start": T - 2592000, "end": T}, "quantity": 1}
                for n in range(11)
            ]},
        }},
    },
    ensure_ascii=False, separators=(",", ":"),
).encode()


def body_vector(name, body, expect, note, signed_body=None):
    vector(name, signed(body if signed_body is None else signed_body), expect, note, body=body)


RAW = "the body's raw bytes are what was signed"
body_vector("body_empty", b"", "ok default", RAW)
body_vector("body_1_mib", b"a" * 2**20, "ok default", RAW)
body_vector("body_not_json", b"hello", "ok default", "what is in it is not the signature's matter")
body_vector("body_event_3_kb", EVENT, "ok default", "an event of the usual size")
body_vector("body_pretty_printed", json.dumps(json.loads(BODY), indent=2).encode(), "ok default",
            "Stripe sends events with line breaks")
body_vector("body_nul", b'{"a":"\0"}\0', "ok default", RAW)
body_vector("body_crlf", b'{\r\n"a":1\r\n}\r\n', "ok default", RAW)
body_vector("body_trailing_newline", BODY + b"\n", "ok default", RAW)
body_vector("body_spaces_around", b"  {} ", "ok default", RAW)
body_vector("body_unicode", '{"name":"Zoë 東京 🦀 e\u0301"}'.encode(), "ok default", RAW)
body_vector("body_not_utf8", b'{"name":"Zo\xeb"}', "ok default",
            RAW + ", UTF-8 or not; Python cannot decode it and crashes, node puts U+FFFD into it "
            "and signs that (no library makes this MAC: made with plain HMAC)")
body_vector("body_not_utf8_replaced", b'{"name":"Zo\xeb"}', "no_match",
            "this MAC is of a body with U+FFFD in it, which is not the one that came; node puts "
            "U+FFFD there itself, so it takes any bytes for any others that are no UTF-8",
            '{"name":"Zo\ufffd"}'.encode())
BOM = b"\xef\xbb\xbf"
body_vector("body_bom", BOM + BODY, "ok default", RAW + "; node drops the byte order mark")
body_vector("body_bom_added", BOM + BODY, "no_match",
            RAW + ", and these were changed; node drops the byte order mark", BODY)
body_vector("body_bom_removed", BODY, "no_match", RAW, BOM + BODY)
body_vector("body_escapes_undone", '{"name":"Zoë"}'.encode(), "no_match",
            "the same JSON, parsed and written anew", b'{"name":"Zo\\u00eb"}')
body_vector("body_escapes_added", b'{"name":"Zo\\u00eb"}', "no_match",
            "the same JSON, parsed and written anew", '{"name":"Zoë"}'.encode())
body_vector("body_spaces_added", b'{"id": "evt_1", "object": "event"}', "no_match",
            "the same JSON, parsed and written anew", BODY)
body_vector("body_keys_reordered", b'{"object":"event","id":"evt_1"}', "no_match",
            "the same JSON, parsed and written anew", BODY)
body_vector("body_unicode_normalised", "{\"a\":\"\u00e9\"}".encode(), "no_match", RAW,
            "{\"a\":\"e\u0301\"}".encode())
body_vector("body_newline_added", BODY + b"\n", "no_match", RAW, BODY)
body_vector("body_newline_removed", BODY, "no_match", RAW, BODY + b"\n")
body_vector("body_crlf_to_lf", b'{\n"a":1}', "no_match", RAW, b'{\r\n"a":1}')
body_vector("body_cut_short", BODY[:-1], "no_match", RAW, BODY)
body_vector("body_lost", b"", "no_match", "something read the body before us", BODY)

# The secrets.
NEW = "whsec_fake_new"
ROLLED = f"t={T},v1={mac(secret=NEW)},v1={mac(secret=OLD)}"
vector("rolled_we_know_new", ROLLED, "ok default", "signed with both", secrets=NEW)
vector("rolled_we_know_old", ROLLED, "ok default", "signed with both", secrets=OLD)
vector("rolled_we_know_both", ROLLED, "ok default", "signed with both", secrets=f"{NEW}|{OLD}")
vector("rolled_we_know_neither", ROLLED, "no_match", "no secret of ours", secrets=f"{A}|{B}")
vector("two_secrets_first_signed", signed(secret=NEW), "ok default", "every secret is tried",
       secrets=f"{NEW}|{OLD}")
vector("two_secrets_second_signed", signed(secret=OLD), "ok default", "every secret is tried",
       secrets=f"{NEW}|{OLD}")
vector("two_secrets_too_old", signed(secret=OLD), "too_old", "of whichever secret",
       secrets=f"{NEW}|{OLD}", now=T + 301)
vector("endpoint_first", signed(secret=A), "ok platform", "the secret tells the endpoint",
       secrets=f"platform={A},connect={B}")
vector("endpoint_second", signed(secret=B), "ok connect", "the secret tells the endpoint",
       secrets=f"platform={A},connect={B}")
vector("endpoint_second_rolled", ROLLED, "ok connect", "the secret tells the endpoint",
       secrets=f"platform={A}|{B},connect={OLD}")
vector("endpoint_default_beside_named", signed(secret=B), "ok default",
       "the secret without a name", secrets=f"platform={A},{B}")
vector("endpoints_none", signed(secret=OLD), "no_match", "no secret of ours",
       secrets=f"platform={A},connect={B}")
vector("secret_wrong", signed(secret=B), "no_match", "no secret of ours")
vector("secret_without_prefix", signed(secret=A), "no_match", "the prefix is part of the key",
       secrets=A.removeprefix("whsec_"))
vector("secret_upper_case", signed(secret=A), "no_match", "the key is the text as it stands",
       secrets=A.upper())
for length in 64, 65:  # A longer key than the hash's block is hashed first.
    LONG = "whsec_fake_".ljust(length, "x")
    vector(f"secret_{length}_bytes", signed(secret=LONG), "ok default",
           "as long as, or longer than, the hash's block of 64 bytes", secrets=LONG)

# ---------------------------------------------------------------------------------------------
node_version, node = node_verdicts()
print(HEAD.format(python=stripe.VERSION, node=node_version))
disagreements = []
for v, node_verdict in zip(vectors, node, strict=True):
    asked = v["header"], v["body"], v["secrets"], v["now"]
    assert rules(*asked) == v["expect"], (v["name"], rules(*asked))
    ours = "accept" if v["expect"].startswith("ok ") else "refuse"
    verdicts = {"python": python_verdict(*asked), "node": node_verdict}
    others = [name for name, verdict in verdicts.items() if verdict != ours]
    for name in others:
        assert name in v["note"].lower(), f"{v['name']}: the note does not say why not as {name}"
    if others:
        disagreements.append(f"  {v['name']}: {v['expect']}, but {' and '.join(others)} "
                             f"would {'refuse' if ours == 'accept' else 'accept'}")
    print(
        "",
        f"[{v['name']}]",
        f"secrets = {v['secrets']}",
        *header_line(v["header"]),
        f"body = {body_text(v['body'])}",
        f"now = {v['now']}",
        f"expect = {v['expect']}",
        *(f"{name} = {verdict}" for name, verdict in verdicts.items()),
        f"note = {v['note']}",
        sep="\n",
    )
print(f"{len(vectors)} vectors; ours and a library's verdict differ on {len(disagreements)}:",
      *disagreements, sep="\n", file=sys.stderr)
