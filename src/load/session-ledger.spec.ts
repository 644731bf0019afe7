import { describe, expect, it } from 'vitest';
import { SessionLedger } from './session-ledger.js';

describe('SessionLedger', () => {
  it('counts session messages that were never applied, and those that were applied more than once', () => {
    const ledger = new SessionLedger();
    for (const message of [1, 2, 4, 2, 2, 4]) ledger.applied(message);
    expect(ledger.figures(5)).toEqual({ sessionMessages: 5, sessionLost: 2, sessionRepeated: 2 });
  });
});
