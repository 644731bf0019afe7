import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReplayLedger, type Acknowledgement, type LedgerLimits } from './replay-ledger.js';

const NO_LIMIT: LedgerLimits = { messages: Infinity, bytes: Infinity };

/** A ledger of the messages 1 to `count`, of which the first `sent` were sent. */
function ledgerOf(count: number, sent: number, limits = NO_LIMIT): ReplayLedger<number, string> {
  const ledger = new ReplayLedger<number, string>(limits);
  for (let id = 1; id <= count; id++) ledger.add({ id, message: `message ${id}`, bytes: 10 });
  for (let i = 0; i < sent; i++) ledger.send();
  return ledger;
}

/** The ids of everything that is still to be sent, in order. */
function rest(ledger: ReplayLedger<number, string>): number[] {
  const ids: number[] = [];
  for (let entry = ledger.send(); entry !== undefined; entry = ledger.send()) ids.push(entry.id);
  return ids;
}

function replayed(ledger: ReplayLedger<number, string>): number[] {
  ledger.reconnect();
  return rest(ledger);
}

describe('a ledger', () => {
  it('gives each message once to a connection, in the order they were added', () => {
    const ledger = ledgerOf(3, 0);
    expect(ledger.send()).toEqual({ id: 1, message: 'message 1', bytes: 10 });
    expect(rest(ledger)).toEqual([2, 3]);
    expect(ledger.send()).toBeUndefined();
  });

  it('has the oldest message that is not acknowledged', () => {
    const ledger = ledgerOf(2, 2);
    expect(ledger.oldest).toEqual({ id: 1, message: 'message 1', bytes: 10 });
    ledger.acknowledge(1, 'single');
    expect(ledger.oldest?.id).toBe(2);
    ledger.acknowledge(2, 'single');
    expect(ledger.oldest).toBeUndefined();
  });

  it('gives everything to the next connection again, and then what is new', () => {
    const ledger = ledgerOf(3, 2);
    ledger.reconnect();
    ledger.add({ id: 4, message: '', bytes: 0 });
    expect(rest(ledger)).toEqual([1, 2, 3, 4]);
  });

  it.each<[string, Acknowledgement, number[], number[], number[]]>([
    // what is told, kind, acknowledged one after the other, how many each takes out, what a next connection is sent
    ['takes out the one that is acknowledged', 'single', [1], [1], [2, 3, 4, 5]],
    ['takes them out in any order', 'single', [3, 1, 4], [1, 1, 1], [2, 5]],
    ['ignores what is acknowledged twice', 'single', [2, 2], [1, 0], [1, 3, 4, 5]],
    ['ignores an id that it does not know', 'single', [77], [0], [1, 2, 3, 4, 5]],
    ['ignores an id that was never sent', 'single', [5], [0], [1, 2, 3, 4, 5]],
    ['takes out everything up to the one acknowledged', 'cumulative', [3], [3], [4, 5]],
    ['takes out what is left up to it', 'cumulative', [2, 4], [2, 2], [5]],
    ['ignores a cumulative one that goes back', 'cumulative', [3, 2], [3, 0], [4, 5]],
    ['ignores a cumulative one that was never sent', 'cumulative', [5], [0], [1, 2, 3, 4, 5]],
    ['takes out all that were sent', 'cumulative', [4], [4], [5]],
  ])('%s (%s %j)', (_, kind, acknowledged, counts, left) => {
    const ledger = ledgerOf(5, 4);
    expect(acknowledged.map((id) => ledger.acknowledge(id, kind))).toEqual(counts);
    expect(ledger.size).toBe(left.length);
    expect(ledger.bytes).toBe(left.length * 10);
    expect(replayed(ledger)).toEqual(left);
  });

  it.each<[Acknowledgement, number[]]>([
    ['single', [1, 2, 4, 5]],
    ['cumulative', [4, 5]],
  ])('does not send again what is acknowledged before its turn came (%s)', (kind, left) => {
    const ledger = ledgerOf(5, 4);
    ledger.reconnect();
    expect(ledger.acknowledge(3, kind)).toBe(5 - left.length);
    expect(rest(ledger)).toEqual(left);
  });

  it('knows how many this connection waits for, whatever earlier ones were sent', () => {
    const ledger = ledgerOf(5, 4);
    expect(ledger.awaited).toBe(4);
    ledger.acknowledge(2, 'single');
    expect(ledger.awaited).toBe(3);
    ledger.reconnect();
    expect(ledger.awaited).toBe(0);
    ledger.send();
    ledger.acknowledge(4, 'single');
    expect(ledger.awaited).toBe(1);
    ledger.acknowledge(3, 'cumulative');
    expect(ledger.awaited).toBe(0);
    expect(rest(ledger)).toEqual([5]);
  });

  it('takes an id again once it is acknowledged', () => {
    const ledger = ledgerOf(1, 1);
    expect(ledger.has(1)).toBe(true);
    ledger.acknowledge(1, 'single');
    expect(ledger.has(1)).toBe(false);
    ledger.add({ id: 1, message: 'again', bytes: 0 });
    expect(ledger.send()).toMatchObject({ id: 1, message: 'again' });
  });

  it.each<[string, LedgerLimits, number, number, boolean, boolean]>([
    // in it (10 bytes each), bytes of the next one, whether that fits, whether none ever would
    ['has room below its number', { messages: 3, bytes: Infinity }, 2, 1e9, true, false],
    ['has none at its number', { messages: 3, bytes: Infinity }, 3, 0, false, true],
    ['has room up to its bytes', { messages: 9, bytes: 25 }, 2, 5, true, false],
    ['has none beyond its bytes', { messages: 9, bytes: 25 }, 2, 6, false, false],
    ['has none at its bytes, but for what weighs nothing', { messages: 9, bytes: 20 }, 2, 1, false, true],
    ['takes one that is too large when it is empty', { messages: 9, bytes: 25 }, 0, 1000, true, false],
    ['takes one at least', { messages: 1, bytes: 1 }, 0, 2, true, false],
  ])('%s', (_, limits, count, bytes, fits, isFull) => {
    const ledger = ledgerOf(count, count, limits);
    expect(ledger.fits(bytes)).toBe(fits);
    expect(ledger.isFull).toBe(isFull);
  });

  it('looks for nothing, however long it is', () => {
    const count = 200_000;
    const ledger = ledgerOf(count, count);
    for (let id = 2; id <= count; id += 2) ledger.acknowledge(count + 2 - id, 'single');
    for (let id = 1; id <= count; id += 2) ledger.acknowledge(id, 'cumulative');
    expect([ledger.size, ledger.bytes, ledger.awaited]).toEqual([0, 0, 0]);
  });

  it('does what a plain list would', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('add' as const), bytes: fc.nat(9) }),
      fc.record({ do: fc.constant('send' as const) }),
      fc.record({ do: fc.constant('reconnect' as const) }),
      fc.record({
        do: fc.constant('acknowledge' as const),
        id: fc.nat(30),
        kind: fc.constantFrom<Acknowledgement>('single', 'cumulative'),
      }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100, size: 'max' }), (steps) => {
        const ledger = new ReplayLedger<number, number>(NO_LIMIT);
        let list: { id: number; bytes: number; everSent: boolean; sentHere: boolean }[] = [];
        let added = 0;
        for (const one of steps) {
          if (one.do === 'add') {
            const entry = { id: ++added, bytes: one.bytes };
            ledger.add({ ...entry, message: added });
            list.push({ ...entry, everSent: false, sentHere: false });
          } else if (one.do === 'send') {
            const next = list.find(({ sentHere }) => !sentHere);
            if (next !== undefined) next.everSent = next.sentHere = true;
            expect(ledger.send()?.id).toBe(next?.id);
          } else if (one.do === 'reconnect') {
            for (const entry of list) entry.sentHere = false;
            ledger.reconnect();
          } else {
            const named = list.find(({ id, everSent }) => id === one.id && everSent);
            const isCovered = ({ id }: { id: number }) => (one.kind === 'single' ? id === one.id : id <= one.id);
            const left = named === undefined ? list : list.filter((entry) => !isCovered(entry));
            expect(ledger.acknowledge(one.id, one.kind)).toBe(list.length - left.length);
            list = left;
          }
          expect(ledger.size).toBe(list.length);
          expect(ledger.bytes).toBe(list.reduce((sum, { bytes }) => sum + bytes, 0));
          expect(ledger.awaited).toBe(list.filter(({ sentHere }) => sentHere).length);
        }
      }),
    );
  });
});
