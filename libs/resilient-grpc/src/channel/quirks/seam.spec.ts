import { expect, it } from 'vitest';
import type { UntestedVersion } from '../../call/call-event.js';
import { reportMissing, type Seam } from './seam.js';

const SEAMS: readonly Seam[] = [
  { on: 'spec channel', needs: ['inner.pool.empty()'], lostWithout: 'emptying of the pool' },
  { on: 'spec channel', needs: ['inner.name', 'inner.gone.read()'], lostWithout: 'channel names' },
];

it('reports missing private names only for the first object of a kind per process, and ignores objects that no feature uses', () => {
  const reports: UntestedVersion[] = [];
  const report = (untested: UntestedVersion): void => void reports.push(untested);
  reportMissing(SEAMS, { 'spec other': undefined }, report);
  expect(reports).toEqual([]);
  reportMissing(SEAMS, { 'spec channel': { inner: { pool: { empty: 1 }, name: 'a', gone: null } } }, report);
  reportMissing(SEAMS, { 'spec channel': {} }, report);
  expect(reports).toMatchObject([
    { missing: ['inner.pool.empty()', 'inner.gone.read()'], lost: ['emptying of the pool', 'channel names'] },
  ]);
  expect(reports[0]?.installed).toMatch(/^@grpc\/grpc-js \d+\.\d+\.\d+ on Node \d+/);
});
