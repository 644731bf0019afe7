import { describe, expect, it } from 'vitest';
import type { UntestedVersion } from '../../call/call-event.js';
import { SeamReport, type Seam } from './seam.js';

const SEAMS: readonly Seam[] = [
  { on: 'spec channel', needs: ['inner.pool.empty()'], lostWithout: 'emptying of the pool' },
  { on: 'spec channel', needs: ['inner.name', '[state].streams', 'gone.socket.read()'], lostWithout: 'channel names' },
  { on: 'spec needed', needs: ['name'], lostWithout: 'names' },
];
const STATE = Symbol('state');

function makeReport(): { readonly report: SeamReport; readonly reports: UntestedVersion[] } {
  const reports: UntestedVersion[] = [];
  return { report: new SeamReport(SEAMS, (untested) => void reports.push(untested)), reports };
}

describe('SeamReport', () => {
  it('reports missing private names only for the first object of a kind per process, and does not report a name whose path contains null', () => {
    const { report, reports } = makeReport();
    report.check('spec channel', { inner: { pool: { empty: 1 }, name: null }, gone: { socket: null }, [STATE]: {} });
    report.check('spec channel', {});
    makeReport().report.check('spec channel', {});
    expect(reports).toHaveLength(1);
    expect(reports[0]).toMatchObject({
      missing: ['inner.pool.empty()', '[state].streams'],
      lost: ['emptying of the pool', 'channel names'],
    });
    expect(reports[0]?.installed).toMatch(/^@grpc\/grpc-js \d+\.\d+\.\d+ on Node \d+/);
  });

  it('ignores missing private names of objects that no feature uses', () => {
    const { report, reports } = makeReport();
    report.checkStart({ 'spec start': {}, 'spec other': undefined });
    report.check('spec session', {});
    expect(reports).toEqual([]);
    report.checkStart({ 'spec needed': {} });
    expect(reports).toMatchObject([{ missing: ['name'], lost: ['names'] }]);
  });
});
