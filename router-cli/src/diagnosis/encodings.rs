//! Decoders for what programs make of a body: compressed bytes, escaped text, other encodings.
//!
//! Each decoder returns `None` if the body does not have its form.

use std::io::Read as _;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use percent_encoding::percent_decode;
use serde_json::Value;

/// The maximum size of a body whose alterations are looked for. Stripe's events are much smaller.
pub(super) const MAX_BODY: usize = 4 << 20;

/// Base64, with or without `=` at its end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    body.starts_with(b"\x1f\x8b").then(|| read_all(MultiGzDecoder::new(body)))?
}

/// Decodes `Content-Encoding: deflate`, which is a zlib stream.
pub(super) fn zlib(body: &[u8]) -> Option<Vec<u8>> {
    let [method, flags, ..] = *body else { return None };
    let is_zlib = method & 0x0f == 8 && u16::from_be_bytes([method, flags]).is_multiple_of(31);
    is_zlib.then(|| read_all(ZlibDecoder::new(body)))?
}

/// Returns `None` for a body that is too large, because a small file can decompress to gigabytes.
fn read_all(reader: impl std::io::Read) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_BODY as u64 + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() <= MAX_BODY).then_some(bytes)
}

/// Decodes base64 of the standard and the URL-safe alphabet.
pub(super) fn base64(body: &[u8]) -> Option<Vec<u8>> {
    // Some encoders break lines.
    let text = body.iter().filter(|byte| !byte.is_ascii_whitespace());
    let text: Vec<u8> = text
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        })
        .collect();
    BASE64.decode(text).ok()
}

/// Decodes hexadecimal digits.
pub(super) fn hex(body: &[u8]) -> Option<Vec<u8>> {
    let pairs = body.trim_ascii().chunks(2);
    pairs.map(|pair| hex_byte(pair.try_into().ok()?)).collect()
}

fn hex_byte(pair: [u8; 2]) -> Option<u8> {
    let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? * 16 + low?).ok()
}

/// Decodes UTF-16, with or without a byte order mark.
pub(super) fn utf16(body: &[u8]) -> Option<Vec<u8>> {
    // JSON begins with an ASCII character, one of whose bytes is zero in UTF-16.
    let (bytes, is_little_endian) = match body {
        [0xff, 0xfe, rest @ ..] => (rest, true),
        [0xfe, 0xff, rest @ ..] => (rest, false),
        [1..=0x7f, 0, ..] => (body, true),
        [0, 1..=0x7f, ..] => (body, false),
        _ => return None,
    };
    let unit = if is_little_endian { u16::from_le_bytes } else { u16::from_be_bytes };
    let units: Option<Vec<u16>> =
        bytes.chunks(2).map(|pair| Some(unit(pair.try_into().ok()?))).collect();
    Some(String::from_utf16(&units?).ok()?.into_bytes())
}

/// Converts text that was converted from UTF-8 to Latin-1.
pub(super) fn latin1(body: &[u8]) -> Option<Vec<u8>> {
    let is_utf8 = std::str::from_utf8(body).is_ok();
    // A control character shows that these are other bytes.
    let is_text =
        body.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..0x7f | 0xa0..));
    (!is_utf8 && is_text).then(|| body.iter().copied().map(char::from).collect::<String>().into())
}

/// Restores UTF-8 that was read as Latin-1 and encoded in UTF-8 again: `Ã©` for `é`.
pub(super) fn utf8_as_latin1(body: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok().filter(|text| !text.is_ascii())?;
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
    bytes.filter(|bytes| std::str::from_utf8(bytes).is_ok())
}

/// Decodes the value of a form's only field, as in `payload=%7B…`, or percent-encoded text.
pub(super) fn form(body: &[u8]) -> Option<Vec<u8>> {
    let body = body.trim_ascii();
    // A parser of forms reads JSON without `=` as the name of a field.
    let body = body.strip_suffix(b"=").unwrap_or(body);
    let start = body.iter().position(|byte| *byte == b'%')?;
    let value = match body[..start].iter().rposition(|byte| *byte == b'=') {
        Some(equals) => &body[equals + 1..],
        None => body,
    };
    let value = value.split(|byte| *byte == b'&').next()?;
    let spaced: Vec<u8> =
        value.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    Some(percent_decode(&spaced).collect())
}

/// Returns the name of a JSON object's only field, into which a parser of forms puts JSON.
pub(super) fn form_field_name(body: &[u8]) -> Option<Vec<u8>> {
    let Value::Object(fields) = serde_json::from_slice(body).ok()? else { return None };
    let mut fields = fields.into_iter();
    let (name, value) = fields.next()?;
    // The parser splits the text at its first `=`.
    let value = value.as_str()?;
    let text = if value.is_empty() { name } else { format!("{name}={value}") };
    (fields.next().is_none() && text.trim_start().starts_with('{')).then(|| text.into_bytes())
}

/// Decodes bytes that were serialized as JSON numbers: `{"type":"Buffer","data":[123,…]}` of
/// Node.js, `{"0":123,…}` of a typed array, or `[123,…]`.
pub(super) fn json_bytes(body: &[u8]) -> Option<Vec<u8>> {
    let byte = |number: &Value| u8::try_from(number.as_u64()?).ok();
    match serde_json::from_slice(body).ok()? {
        Value::Array(numbers) => numbers.iter().map(byte).collect(),
        Value::Object(fields) => match fields.get("data") {
            Some(Value::Array(numbers)) => numbers.iter().map(byte).collect(),
            _ => (0..fields.len()).map(|index| byte(fields.get(&index.to_string())?)).collect(),
        },
        _ => None,
    }
}

/// Decodes a bytes literal of Python: `b'{\n  "id": …}'`.
pub(super) fn python_bytes(body: &[u8]) -> Option<Vec<u8>> {
    let literal = body.trim_ascii().strip_prefix(b"b")?;
    let [quote @ (b'\'' | b'"'), content @ .., end] = literal else { return None };
    (quote == end).then(|| unescape(content))?
}

/// Decodes text in which quotation marks and line breaks are escaped, as in `{\n  \"id\": …`.
pub(super) fn escaped(body: &[u8]) -> Option<Vec<u8>> {
    let text = body.trim_ascii();
    // JSON has no backslash in front of its first string.
    let first_string = text.iter().position(|byte| *byte == b'"')?;
    (text.starts_with(b"{") && text[..first_string].contains(&b'\\')).then(|| unescape(text))?
}

/// Removes the backslash of `\'`, an escape that JSON does not have.
pub(super) fn escaped_apostrophes(body: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.contains(r"\'"))?;
    Some(text.replace(r"\'", "'").into_bytes())
}

/// Resolves the escape sequences that JavaScript, Java and Python share.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let (escape, after) = rest.split_first()?;
        rest = after;
        match escape {
            b'b' => out.push(0x08),
            b'f' => out.push(0x0c),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'x' => {
                let (pair, after) = rest.split_first_chunk()?;
                out.push(hex_byte(*pair)?);
                rest = after;
            }
            b'u' => {
                // JSON has the same escapes, some of which are pairs.
                let length = if rest.get(4..6) == Some(b"\\u") { 10 } else { 4 };
                let (digits, after) = rest.split_at_checked(length)?;
                let literal = [b"\"\\u", digits, b"\""].concat();
                out.extend(serde_json::from_slice::<String>(&literal).ok()?.into_bytes());
                rest = after;
            }
            other => out.push(*other),
        }
    }
    Some(out)
}

/// Decodes text in which `"` is written as `&quot;`.
pub(super) fn html(body: &[u8]) -> Option<Vec<u8>> {
    const ENTITIES: [(&str, &str); 9] = [
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#x22;", "\""),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&apos;", "'"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&amp;", "&"), // last, so that nothing is decoded twice
    ];
    let text = std::str::from_utf8(body).ok()?;
    // JSON without a quotation mark is no object. One with some is not escaped for HTML.
    if text.contains('"') || !ENTITIES[..3].iter().any(|(entity, _)| text.contains(entity)) {
        return None;
    }
    let decode = |text: String, (entity, c): &(&str, &str)| text.replace(entity, c);
    Some(ENTITIES.iter().fold(text.to_owned(), decode).into_bytes())
}

/// Removes the head of an HTTP request in front of the body.
pub(super) fn http_request(body: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok()?;
    text.lines().next()?.contains(" HTTP/").then_some(())?;
    let ends = ["\r\n\r\n", "\n\n"];
    let (_, body) = ends.iter().find_map(|end| text.split_once(end))?;
    Some(body.as_bytes().to_vec())
}
