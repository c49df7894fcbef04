// Writes events.ts: each event of a file with one JSON value per line, as a literal of its declared type.
//
//     node make.mjs events.jsonl
//
// For each event, a copy with an additional field must not compile; otherwise the type would accept anything.
// The events listed in exceptions.tsv must not compile either, except with the type in its second column.

import { readFileSync, writeFileSync } from 'node:fs';

const events = lines(process.argv[2]).map((line) => JSON.parse(line));
const exceptions = new Map(lines('exceptions.tsv').map((line) => line.split('\t')).map(([event, type, reason]) => [event, { type, reason }]));

const checks = events.flatMap((event) => {
  const declared = `${event.object === 'event' ? 'Snapshot' : 'Thin'}['${event.type}']`;
  const exception = exceptions.get(event.type);
  const type = exception ? `${exception.type}['${event.type}']` : declared;
  const withMore = structuredClone(event);
  (withMore.data?.object ?? withMore).unheard_of = true;
  return [
    `satisfied<${type}>(${JSON.stringify(event, null, 2)});`,
    ...fails('unknown field', type, withMore),
    ...(exception ? fails(exception.reason, declared, event) : []),
  ];
});
const head = [
  "import type { PartlyChanged, Snapshot, Thin, WithoutId } from './sent.ts';",
  'declare function satisfied<Event>(event: Event): void;',
];
writeFileSync('events.ts', [...head, ...checks, ''].join('\n'));

const unknown = [...exceptions.keys()].filter((type) => !events.some((event) => event.type === type));
if (unknown.length) throw new Error(`exceptions.tsv lists event types without a sample event: ${unknown}`);
if (exceptions.size > 0.03 * events.length) throw new Error(`exceptions.tsv lists ${exceptions.size} event types; at most 3 % may be exceptions`);
console.log(`${events.length - exceptions.size} of ${events.length} events have their declared type`);

/** Returns code that must not compile: tsc reports an error if the line after the comment has none. */
function fails(reason, type, event) {
  return [`// @ts-expect-error ${reason}`, `satisfied<${type}>(${JSON.stringify(event)});`];
}

function lines(file) {
  return readFileSync(file, 'utf8').split('\n').filter(Boolean);
}
