//! Instructions for servers that alter the body.

/// Access to the raw body in common frameworks.
pub(crate) const RAW_BODY: &str = "\
Verify the raw bytes of the request, before anything parses them:
  Express        express.raw({type: 'application/json'}) on this route, before express.json()
  Next.js        await request.text() in a route handler; in pages/api: bodyParser: false
  Flask          request.get_data()
  Django         request.body
  FastAPI        await request.body()
  Rails          request.raw_post
  Laravel        $request->getContent()
  Spring         @RequestBody byte[] or String
  Go             io.ReadAll(r.Body)
  axum           Bytes, not Json
  API Gateway    the body as it is, decoded first if isBase64Encoded; no mapping template";

pub(super) const LAMBDA: &str = "\
Verify the text of `body`, not the whole event. If `isBase64Encoded` is true, decode it first:
  Node.js        Buffer.from(event.body, event.isBase64Encoded ? 'base64' : 'utf8')
  Python         base64.b64decode(event['body']) if event['isBase64Encoded'] else event['body']
  Rust           lambda_http decodes it: request.body()";

pub(super) const JSON_FIELD: &str = "\
Verify only the text of this field, as it was received. If a queue or a proxy wraps the body in
JSON, have it store the body as a string, because a parsed body has lost its layout.";

pub(super) const BASE64: &str = "\
Decode the base64 before the verification. A Lambda event says with `isBase64Encoded` whether its
`body` is encoded; in API Gateway, the API's binary media types decide this.";

pub(super) const COMPRESSED: &str = "\
Stripe sends its requests uncompressed, and signs the uncompressed body. Switch off the compression
of requests in the proxy in front of your server, or decompress the body before the verification:
  Express        express.raw({type: 'application/json'}) decompresses by itself
  Go             gzip.NewReader(r.Body)
  axum           tower_http::decompression::RequestDecompressionLayer";

pub(super) const JSON_BYTES: &str = "\
Verify the bytes themselves, before JSON.stringify or another serializer makes numbers of them.
With express.raw() the body is a Buffer, which is what Stripe's constructEvent takes. If a queue
stores JSON, store body.toString('utf8'); restore a stored Buffer with Buffer.from(stored.data).";

pub(super) const FORM: &str = "\
Stripe sends JSON, not a form. Verify the body before a parser of forms reads it, and have the
program in front of your server forward the body unchanged:
  Express        express.raw({type: 'application/json'}) before express.urlencoded()
  PHP            file_get_contents('php://input'), not $_POST
  Rails          request.raw_post, not params
  Django, Flask  request.body and request.get_data(), not the form
  curl           --data-binary @FILE with -H 'Content-Type: application/json'";

pub(super) const ESCAPED: &str = "\
A template or a log has escaped the text. Pass the body on as it is:
  API Gateway    a Lambda proxy integration, or $input.body without $util.escapeJavaScript
  Templates      no escaping of the body (`raw` or `safe` in most template languages)
  Logs           log the body in base64, and decode it before you verify it";

pub(super) const PYTHON_BYTES: &str = "\
Verify the bytes, not their text: request.body (Django) or request.get_data() (Flask) without
str(…) or an f-string. To get the text, use .decode('utf-8').";

pub(super) const ENCODING: &str = "\
Read, forward and store the body as bytes, or as UTF-8 text:
  Node.js        body.toString('utf8'), not 'latin1', 'binary' or 'hex'
  Java           new String(bytes, StandardCharsets.UTF_8)
  PowerShell     Set-Content -AsByteStream; Windows PowerShell's `>` writes UTF-16";

pub(super) const HTTP_REQUEST: &str = "\
Pass only the body of the request: all that follows the first empty line.";

pub(super) const CURL_DATA: &str = "\
curl removes the line breaks of a file that is sent with -d or --data. Send it with
--data-binary @FILE, which leaves the body unchanged.";
