import { Readable, Writable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { MessageCount, pump } from './pump.js';

function encodeMessage(length: number): Buffer {
  const bytes = Buffer.alloc(5 + length, 0xff);
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

describe('MessageCount', () => {
  it('finds the end of the n-th gRPC message for any split of the bytes', () => {
    const lengths = fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(lengths, fc.nat(), fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }), (all, pick, cuts) => {
        const bytes = Buffer.concat(all.map(encodeMessage));
        const n = (pick % all.length) + 1;
        const count = new MessageCount(n);
        let at = 0;
        let found: number | undefined;
        for (let cut = 0; at < bytes.length && found === undefined; cut += 1) {
          const chunk = bytes.subarray(at, at + cuts[cut % cuts.length]!);
          const end = count.endIn(chunk);
          if (end !== undefined) found = at + end;
          at += chunk.length;
        }
        expect(found).toBe(Buffer.concat(all.slice(0, n).map(encodeMessage)).length);
      }),
    );
  });

  it('returns undefined if the bytes contain fewer than n gRPC messages', () => {
    expect(new MessageCount(2).endIn(encodeMessage(3))).toBeUndefined();
    expect(new MessageCount(Infinity).endIn(Buffer.concat([encodeMessage(3), encodeMessage(0)]))).toBeUndefined();
  });
});

describe('pump', () => {
  it('does not write to a sink that has ended, because the write would destroy the sink with an error', async () => {
    const sink = new Writable({ autoDestroy: false, write: (_chunk, _encoding, done) => done() });
    const onError = vi.fn();
    sink.on('error', onError);
    sink.end();
    const { outcome, written } = await pump(Readable.from([encodeMessage(1)]), sink, Infinity);
    await written;
    expect(outcome).toBe('cut');
    expect(onError).not.toHaveBeenCalled();
  });
});
