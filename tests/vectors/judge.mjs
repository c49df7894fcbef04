// The npm package's word on every vector. Reads one JSON document on stdin (bytes are in hex),
// writes one on stdout. Started by make.py.
import { readFileSync } from 'node:fs';
import Stripe from 'stripe';

const { macs, vectors } = JSON.parse(readFileSync(0, 'utf8'));

// Would the library make the same MAC? It takes the body as text only.
for (const { secret, timestamp, body, mac } of macs) {
  const payload = Buffer.from(body, 'hex').toString('utf8');
  const header = Stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp });
  if (header !== `t=${timestamp},v1=${mac}`) {
    throw new Error(`the libraries make different MACs: ${header} and ${mac}`);
  }
}

function accepts(secret, { header, body, now }) {
  // As node's http module hands them over: a Buffer for the body, Latin-1 text for a header.
  const text = header === null ? undefined : Buffer.from(header, 'hex').toString('latin1');
  try {
    // The clock is in milliseconds here, the tolerance and `t` in seconds.
    return Stripe.webhooks.signature.verifyHeader(
      Buffer.from(body, 'hex'), text, secret, 300, undefined, now * 1000);
  } catch {
    return false;
  }
}

const verdicts = vectors.map((vector) =>
  vector.secrets.some((secret) => accepts(secret, vector)) ? 'accept' : 'refuse');
process.stdout.write(JSON.stringify({ version: Stripe.PACKAGE_VERSION, verdicts }));
