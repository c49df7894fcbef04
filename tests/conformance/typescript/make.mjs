// Writes events.ts: each event of a file, one line of JSON each, as a literal of its declared type.
//
//     node make.mjs events.jsonl
//
// With each comes the same event with a field too many, which must not compile: a type that allows
// anything would show nothing. Nor must those that exceptions.tsv lists, but for the part that is said there.

import { readFileSync, writeFileSync } from 'node:fs';

const events = lines(process.argv[2]).map((line) => JSON.parse(line));
const exceptions = new Map(lines('exceptions.tsv').map((line) => line.split('\t')));

const checks = events.flatMap((event) => {
  const declared = `${event.object === 'event' ? 'Snapshot' : 'Thin'}['${event.type}']`;
  const reason = exceptions.get(event.type);
  const type = reason ? `PartlyChanged['${event.type}']` : declared;
  const withMore = structuredClone(event);
  (withMore.data?.object ?? withMore).unheard_of = true;
  return [
    `satisfied<${type}>(${JSON.stringify(event, null, 2)});`,
    ...fails('a field too many', type, withMore),
    ...(reason ? fails(reason, declared, event) : []),
  ];
});
const head = [
  "import type { PartlyChanged, Snapshot, Thin } from './sent.ts';",
  'declare function satisfied<Event>(event: Event): void;',
];
writeFileSync('events.ts', [...head, ...checks, ''].join('\n'));

const unknown = [...exceptions.keys()].filter((type) => !events.some((event) => event.type === type));
if (unknown.length) throw new Error(`listed in exceptions.tsv and not there: ${unknown}`);
if (exceptions.size > 0.03 * events.length) throw new Error(`${exceptions.size} exceptions`);
console.log(`${events.length - exceptions.size} of ${events.length} events are as declared`);

/** The compiler complains if the line after the comment has no error. */
function fails(reason, type, event) {
  return [`// @ts-expect-error ${reason}`, `satisfied<${type}>(${JSON.stringify(event)});`];
}

function lines(file) {
  return readFileSync(file, 'utf8').split('\n').filter(Boolean);
}
