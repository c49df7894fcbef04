// Writes events.ts: each event of a file, one line of JSON each, as a literal of its declared type.
//
//     node make.mjs events.jsonl
//
// With each comes the same event with a field too many, which must not compile: a type that allows
// anything would show nothing.

import { readFileSync, writeFileSync } from 'node:fs';

const events = readFileSync(process.argv[2], 'utf8').trim().split('\n').map((line) => JSON.parse(line));

const lines = events.flatMap((event) => {
  const type = `${event.object === 'event' ? 'Snapshot' : 'Thin'}['${event.type}']`;
  const withMore = structuredClone(event);
  (withMore.data?.object ?? withMore).unheard_of = true;
  return [
    `satisfied<${type}>(${JSON.stringify(event, null, 2)});`,
    '// @ts-expect-error',
    `satisfied<${type}>(${JSON.stringify(withMore)});`,
  ];
});
const head = [
  "import type { Snapshot, Thin } from './sent.ts';",
  'declare function satisfied<Event>(event: Event): void;',
];
writeFileSync('events.ts', [...head, ...lines, ''].join('\n'));
console.log(`${events.length} events`);
