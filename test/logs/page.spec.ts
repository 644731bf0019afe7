import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT, pageText } from '../docs/markdown.js';

const source = (file: string) => readFileSync(join(ROOT, 'libs/resilient-grpc/src', file), 'utf8');
const named = (pattern: RegExp, ...files: string[]) =>
  files.flatMap((file) => [...source(file).matchAll(pattern)].map((match) => match[1]!));

/** Events without a log line. */
const SILENT = ['call-start', 'call-end', 'call-shed', 'call-dequeued'];

describe('docs/logs.md', () => {
  it('lists exactly the logged events in the tables of docs/logs.md and docs/logs/server.md', () => {
    const events = new Set([
      ...named(/\btype: '([a-z-]+)'/g, 'call/call-event.ts', 'call/server-event.ts'),
      ...named(
        /\bevent: '([a-z-]+)'/g,
        'telemetry/log/outage-log.ts',
        'telemetry/log/unretried-calls.ts',
        'health/grpc-serving.health-indicator.ts',
        'nest/start-up-line.ts',
        'telemetry/resilient-grpc-telemetry.module.ts',
        'nest/grpc-lifecycle.ts',
        'nest/shutdown-lines.ts',
        'nest/errors/failure-log.ts',
        'server/server-lifecycle.ts',
        'server/resilient-grpc-server.ts',
        'server/unmatched-handlers.ts',
      ),
    ]);
    const tables = pageText('docs/logs.md') + pageText('docs/logs/server.md');
    const rows = [...tables.matchAll(/^\| `(?!event`)([a-z-]+)` +\|/gm)].map((match) => match[1]!);
    expect([...new Set(rows)].sort()).toEqual([...events].filter((event) => !SILENT.includes(event)).sort());
  });
});
