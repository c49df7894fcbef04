// Checks every vector with Stripe's npm package. Reads one JSON document on stdin (bytes are in hex) and
// writes one on stdout. Started by make.py.
import { readFileSync } from 'node:fs';
import Stripe from 'stripe';

const { macs, vectors } = JSON.parse(readFileSync(0, 'utf8'));

// Check that the library makes the same MAC. It accepts only text as the body.
for (const { secret, timestamp, body, mac } of macs) {
  const payload = Buffer.from(body, 'hex').toString('utf8');
  const header = Stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp });
  if (header !== `t=${timestamp},v1=${mac}`) {
    throw new Error(`the libraries make different MACs: ${header} and ${mac}`);
  }
}

function accepts(secret, { header, body, now }) {
  // The types of node's http module: a Buffer for the body, Latin-1 text for a header.
  const text = header === null ? undefined : Buffer.from(header, 'hex').toString('latin1');
  try {
    // The clock is in milliseconds, the tolerance and `t` are in seconds.
    return Stripe.webhooks.signature.verifyHeader(
      Buffer.from(body, 'hex'), text, secret, 300, undefined, now * 1000);
  } catch {
    return false;
  }
}

const verdicts = vectors.map((vector) =>
  vector.secrets.some((secret) => accepts(secret, vector)) ? 'accept' : 'refuse');
process.stdout.write(JSON.stringify({ version: Stripe.PACKAGE_VERSION, verdicts }));
