import { beforeEach, describe, expect, it } from 'vitest';
import { WriteLedger } from './write-ledger.js';

describe('WriteLedger', () => {
  let ledger: WriteLedger;
  beforeEach(() => {
    ledger = new WriteLedger();
  });

  it('is even when each write was acknowledged and applied once, in either order', () => {
    ledger.acknowledge('a');
    ledger.applied('a');
    ledger.applied('b');
    ledger.acknowledge('b');
    expect(ledger).toMatchObject({ duplicated: 0, lost: 0 });
  });

  it('does not mind a write that was applied though its caller saw it fail', () => {
    ledger.applied('a');
    expect(ledger).toMatchObject({ duplicated: 0, lost: 0 });
  });

  it('counts a request that was applied twice or more as one duplicate', () => {
    for (let time = 0; time < 3; time++) ledger.applied('a');
    expect(ledger).toMatchObject({ duplicated: 1, lost: 0 });
  });

  it('counts a write that was acknowledged and is not there as lost, until it turns up', () => {
    ledger.acknowledge('a');
    expect(ledger.lost).toBe(1);
    ledger.applied('a');
    expect(ledger.lost).toBe(0);
  });
});
