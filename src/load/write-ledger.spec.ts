import { beforeEach, describe, expect, it } from 'vitest';
import { WriteLedger } from './write-ledger.js';

describe('WriteLedger', () => {
  let ledger: WriteLedger;
  beforeEach(() => {
    ledger = new WriteLedger();
  });

  it('counts no lost or duplicated write if each write was acknowledged and applied once, in either order', () => {
    ledger.acknowledge('a');
    ledger.applied('a');
    ledger.applied('b');
    ledger.acknowledge('b');
    expect(ledger).toMatchObject({ duplicated: 0, lost: 0 });
  });

  it('counts no lost or duplicated write if a write was applied but not acknowledged', () => {
    ledger.applied('a');
    expect(ledger).toMatchObject({ duplicated: 0, lost: 0 });
  });

  it('counts a request that was applied twice or more as one duplicate', () => {
    for (let time = 0; time < 3; time++) ledger.applied('a');
    expect(ledger).toMatchObject({ duplicated: 1, lost: 0 });
  });

  it('counts an acknowledged write as lost until it appears in the log', () => {
    ledger.acknowledge('a');
    expect(ledger.lost).toBe(1);
    ledger.applied('a');
    expect(ledger.lost).toBe(0);
  });
});
