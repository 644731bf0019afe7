import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ROOT, pageText } from './markdown.js';

it('lists each FailureReason exactly once in docs/reference/errors.md', () => {
  const source = readFileSync(join(ROOT, 'libs/resilient-grpc/src/errors/grpc-call-error.ts'), 'utf8');
  const union = source.slice(source.indexOf('type FailureReason ='), source.indexOf('type NotRetriedReason ='));
  const reasons = [...union.matchAll(/^ {2}\| '([\w-]+)'/gm)].map(([, reason]) => reason);
  const [, table] = pageText('docs/reference/errors.md').split(/^(?=\| `reason` \| Cause)/m);
  const listed = [...table!.split('\n\n')[0]!.matchAll(/^\| `(?!reason`)([\w-]+)` \|/gm)].map(([, reason]) => reason);
  expect(reasons.length).toBeGreaterThan(10);
  expect(listed.sort()).toEqual(reasons.sort());
});
