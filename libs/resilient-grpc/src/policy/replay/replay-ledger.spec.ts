import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bufferLimits, ReplayLedger, type Acknowledgment, type LedgerLimits } from './replay-ledger.js';

const NO_LIMIT: LedgerLimits = { messages: Infinity, bytes: Infinity };

/** Creates a ledger of messages 1 to `count` and sends the first `sent` of them. */
function ledgerOf(count: number, sent: number, limits = NO_LIMIT): ReplayLedger<number, string> {
  const ledger = new ReplayLedger<number, string>(limits);
  for (let id = 1; id <= count; id++) ledger.add({ id, message: `message ${id}`, bytes: 10 });
  for (let i = 0; i < sent; i++) ledger.send();
  return ledger;
}

/** Sends all remaining messages and returns their ids in order. */
function sendRest(ledger: ReplayLedger<number, string>): number[] {
  const ids: number[] = [];
  for (let entry = ledger.send(); entry !== undefined; entry = ledger.send()) ids.push(entry.id);
  return ids;
}

function replay(ledger: ReplayLedger<number, string>): number[] {
  ledger.startCall();
  return sendRest(ledger);
}

describe('ReplayLedger', () => {
  it('sends each message of a replay ledger once per call, in the order of addition', () => {
    const ledger = ledgerOf(3, 0);
    expect(ledger.send()).toEqual({ id: 1, message: 'message 1', bytes: 10 });
    expect(sendRest(ledger)).toEqual([2, 3]);
    expect(ledger.send()).toBeUndefined();
  });

  it('returns the oldest unacknowledged message', () => {
    const ledger = ledgerOf(2, 2);
    expect(ledger.oldest).toEqual({ id: 1, message: 'message 1', bytes: 10 });
    ledger.acknowledge(1, 'single');
    expect(ledger.oldest?.id).toBe(2);
    ledger.acknowledge(2, 'single');
    expect(ledger.oldest).toBeUndefined();
  });

  it('sends all unacknowledged messages again on the next call, then new messages', () => {
    const ledger = ledgerOf(3, 2);
    ledger.startCall();
    ledger.add({ id: 4, message: '', bytes: 0 });
    expect(sendRest(ledger)).toEqual([1, 2, 3, 4]);
  });

  it.each<[string, Acknowledgment, number[], number[], number[]]>([
    // title, kind, acknowledged ids, number of messages that each acknowledgment removes, ids sent on the next call
    ['removes the acknowledged message', 'single', [1], [1], [2, 3, 4, 5]],
    ['removes acknowledged messages in any order', 'single', [3, 1, 4], [1, 1, 1], [2, 5]],
    ['ignores a repeated acknowledgment', 'single', [2, 2], [1, 0], [1, 3, 4, 5]],
    ['ignores the acknowledgment of an unknown id', 'single', [77], [0], [1, 2, 3, 4, 5]],
    ['ignores the acknowledgment of an unsent message', 'single', [5], [0], [1, 2, 3, 4, 5]],
    ['removes all messages up to the acknowledged message', 'cumulative', [3], [3], [4, 5]],
    ['removes the remaining messages up to the acknowledged message', 'cumulative', [2, 4], [2, 2], [5]],
    ['ignores a cumulative acknowledgment of an earlier message', 'cumulative', [3, 2], [3, 0], [4, 5]],
    ['ignores a cumulative acknowledgment of an unsent message', 'cumulative', [5], [0], [1, 2, 3, 4, 5]],
    ['removes all sent messages up to the last one', 'cumulative', [4], [4], [5]],
  ])('%s (%s acknowledgment of %j)', (_, kind, acknowledged, counts, left) => {
    const ledger = ledgerOf(5, 4);
    expect(acknowledged.map((id) => ledger.acknowledge(id, kind))).toEqual(counts);
    expect(ledger.size).toBe(left.length);
    expect(ledger.bytes).toBe(left.length * 10);
    expect(replay(ledger)).toEqual(left);
  });

  it.each<[Acknowledgment, number[]]>([
    ['single', [1, 2, 4, 5]],
    ['cumulative', [4, 5]],
  ])('does not resend a message that was acknowledged after the call started (%s acknowledgment)', (kind, left) => {
    const ledger = ledgerOf(5, 4);
    ledger.startCall();
    expect(ledger.acknowledge(3, kind)).toBe(5 - left.length);
    expect(sendRest(ledger)).toEqual(left);
  });

  it('counts the unacknowledged messages that the current call sent', () => {
    const ledger = ledgerOf(5, 4);
    expect(ledger.awaited).toBe(4);
    ledger.acknowledge(2, 'single');
    expect(ledger.awaited).toBe(3);
    ledger.startCall();
    expect(ledger.awaited).toBe(0);
    ledger.send();
    ledger.acknowledge(4, 'single');
    expect(ledger.awaited).toBe(1);
    ledger.acknowledge(3, 'cumulative');
    expect(ledger.awaited).toBe(0);
    expect(sendRest(ledger)).toEqual([5]);
  });

  it('accepts the id of a message again after its acknowledgment', () => {
    const ledger = ledgerOf(1, 1);
    expect(ledger.has(1)).toBe(true);
    ledger.acknowledge(1, 'single');
    expect(ledger.has(1)).toBe(false);
    ledger.add({ id: 1, message: 'again', bytes: 0 });
    expect(ledger.send()).toMatchObject({ id: 1, message: 'again' });
  });

  it.each<[string, LedgerLimits, number, number, boolean, boolean]>([
    // title, limits, messages in the ledger (10 bytes each), bytes of the next message, fits, isFull
    ['reports room in a replay ledger below the message limit', { messages: 3, bytes: Infinity }, 2, 1e9, true, false],
    ['reports a full replay ledger at the message limit', { messages: 3, bytes: Infinity }, 3, 0, false, true],
    ['reports room in a replay ledger up to the byte limit', { messages: 9, bytes: 25 }, 2, 5, true, false],
    ['reports no room in a replay ledger beyond the byte limit', { messages: 9, bytes: 25 }, 2, 6, false, false],
    ['reports a full replay ledger at the byte limit', { messages: 9, bytes: 20 }, 2, 1, false, true],
    ['accepts an oversized message if the replay ledger is empty', { messages: 9, bytes: 25 }, 0, 1000, true, false],
    ['accepts at least one message in a replay ledger', { messages: 1, bytes: 1 }, 0, 2, true, false],
  ])('%s', (_, limits, count, bytes, fits, isFull) => {
    const ledger = ledgerOf(count, count, limits);
    expect(ledger.fits(bytes)).toBe(fits);
    expect(ledger.isFull).toBe(isFull);
  });

  it('acknowledges 200,000 messages of a replay ledger without searching the list of messages', () => {
    const count = 200_000;
    const ledger = ledgerOf(count, count);
    for (let id = 2; id <= count; id += 2) ledger.acknowledge(count + 2 - id, 'single');
    for (let id = 1; id <= count; id += 2) ledger.acknowledge(id, 'cumulative');
    expect([ledger.size, ledger.bytes, ledger.awaited]).toEqual([0, 0, 0]);
  });

  it('keeps the same messages in a replay ledger as in a plain list for any sequence of operations', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('add' as const), bytes: fc.nat(9) }),
      fc.record({ do: fc.constant('send' as const) }),
      fc.record({ do: fc.constant('start-call' as const) }),
      fc.record({
        do: fc.constant('acknowledge' as const),
        id: fc.nat(30),
        kind: fc.constantFrom<Acknowledgment>('single', 'cumulative'),
      }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100, size: 'max' }), (steps) => {
        const ledger = new ReplayLedger<number, number>(NO_LIMIT);
        let list: { id: number; bytes: number; everSent: boolean; sentHere: boolean }[] = [];
        let added = 0;
        for (const operation of steps) {
          if (operation.do === 'add') {
            const entry = { id: ++added, bytes: operation.bytes };
            ledger.add({ ...entry, message: added });
            list.push({ ...entry, everSent: false, sentHere: false });
          } else if (operation.do === 'send') {
            const next = list.find(({ sentHere }) => !sentHere);
            if (next !== undefined) next.everSent = next.sentHere = true;
            expect(ledger.send()?.id).toBe(next?.id);
          } else if (operation.do === 'start-call') {
            for (const entry of list) entry.sentHere = false;
            ledger.startCall();
          } else {
            const { id: acknowledged, kind } = operation;
            const named = list.find(({ id, everSent }) => id === acknowledged && everSent);
            const isCovered = ({ id }: { id: number }) =>
              kind === 'single' ? id === acknowledged : id <= acknowledged;
            const left = named === undefined ? list : list.filter((entry) => !isCovered(entry));
            expect(ledger.acknowledge(acknowledged, kind)).toBe(list.length - left.length);
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

it.each([
  [
    { messages: 10, bytes: 100 },
    { messages: 1_000, bytes: 2 ** 20 },
  ],
  [
    { messages: 5_000, bytes: 2 ** 24 },
    { messages: 5_000, bytes: 2 ** 24 },
  ],
  [
    { messages: 10, bytes: Infinity },
    { messages: 1_000, bytes: Infinity },
  ],
])('raises replay buffer limits of %o to at least 1,000 messages and 1 MiB', (limits, expected) => {
  expect(bufferLimits(limits)).toEqual(expected);
});
