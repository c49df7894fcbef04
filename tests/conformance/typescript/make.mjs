// Writes events.ts: each event of a file (one JSON event per line) as a literal of its declared
// type.
//
//     node make.mjs events.jsonl
//
// Each event is also written with an unknown field, which must not compile; otherwise a type that
// allows everything would pass. Events in exceptions.tsv must not compile with their declared type,
// only with one whose `previous_attributes` may be incomplete at any depth.

import { readFileSync, writeFileSync } from 'node:fs';

const events = lines(process.argv[2]).map((line) => JSON.parse(line));
const exceptions = new Map(lines('exceptions.tsv').map((line) => line.split('\t')));

const checks = events.flatMap((event) => {
  const declared = `${event.object === 'event' ? 'Snapshot' : 'Thin'}['${event.type}']`;
  const reason = exceptions.get(event.type);
  const type = reason ? `PartlyChanged['${event.type}']` : declared;
  const withUnknownField = structuredClone(event);
  (withUnknownField.data?.object ?? withUnknownField).unknown_field = true;
  return [
    `satisfied<${type}>(${JSON.stringify(event, null, 2)});`,
    ...fails('an unknown field', type, withUnknownField),
    ...(reason ? fails(reason, declared, event) : []),
  ];
});
const head = [
  "import type { PartlyChanged, Snapshot, Thin } from './sent.ts';",
  'declare function satisfied<Event>(event: Event): void;',
];
writeFileSync('events.ts', [...head, ...checks, ''].join('\n'));

const unknown = [...exceptions.keys()].filter((type) => !events.some((event) => event.type === type));
if (unknown.length) throw new Error(`exceptions.tsv lists unknown event types: ${unknown}`);
if (exceptions.size > 0.03 * events.length) throw new Error(`too many exceptions: ${exceptions.size}`);
console.log(`${events.length - exceptions.size} of ${events.length} events match their declared types`);

/** Returns a line that must not compile: tsc fails if there is no error on it. */
function fails(reason, type, event) {
  return [`// @ts-expect-error ${reason}`, `satisfied<${type}>(${JSON.stringify(event)});`];
}

function lines(file) {
  return readFileSync(file, 'utf8').split('\n').filter(Boolean);
}
