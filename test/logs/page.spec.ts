import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT, pageText } from '../docs/markdown.js';

const source = (file: string) => readFileSync(join(ROOT, 'libs/resilient-grpc/src', file), 'utf8');
const findNames = (pattern: RegExp, ...files: string[]) =>
  files.flatMap((file) => [...source(file).matchAll(pattern)].map((match) => match[1]!));

/** Events without a log line. */
const UNLOGGED_EVENTS = ['call-start', 'call-end', 'call-shed', 'call-dequeued'];
/** Names to ignore. docs/operate/logs.md describes `grpc-js`; `whole` is a server-sent event of the dashboard, not a log event. */
const EXCLUDED_EVENTS = ['grpc-js', 'whole'];

/** Paths of the sources that write log lines, excluding specs. */
const WRITERS = readdirSync(join(ROOT, 'libs/resilient-grpc/src'), { encoding: 'utf8', recursive: true }).filter(
  (file) => /(?<!\.spec)\.ts$/.test(file) && /\/(library-logger|log-line)\.js'/.test(source(file)),
);

describe('docs/reference/log-events.md', () => {
  it('lists exactly the logged events in the tables of docs/reference/log-events.md', () => {
    const events = new Set([
      ...findNames(
        /\btype: '([a-z-]+)'/g,
        'call/call-event.ts',
        'call/server-event.ts',
        'telemetry/log/client-log.ts',
        'nest/errors/failure-log.ts',
      ),
      ...findNames(/\bevent: '([a-z-]+)'/g, ...WRITERS),
      ...findNames(
        /dependencies\.report\(.*, '([a-z-]+)'\)/g,
        'client/settings/resolve-settings.ts',
        'channel/tls/tls-credentials.ts',
      ),
    ]);
    const tables = pageText('docs/reference/log-events.md');
    const rows = [...tables.matchAll(/^\| `(?!event`)([a-z-]+)` +\|/gm)].map((match) => match[1]!);
    expect([...new Set(rows)].sort()).toEqual(
      [...events].filter((event) => ![...UNLOGGED_EVENTS, ...EXCLUDED_EVENTS].includes(event)).sort(),
    );
  });
});
