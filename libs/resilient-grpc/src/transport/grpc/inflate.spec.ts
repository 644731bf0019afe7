import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { deflateSync, gzipSync } from 'node:zlib';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { waitFor } from '../../testing/wait-for.js';
import { inflate, type Inflation } from './inflate.js';

const LIMIT = 4_194_304;
/** JSON whose numbers compress to about a sixth. */
const json = (bytes: number): Buffer => {
  const rows: string[] = [];
  for (let at = 0, n = 1; at < bytes; at += rows.at(-1)!.length) {
    n = Math.imul(n, 1_103_515_245) + 12_345;
    rows.push(`{"id":${String(n >>> 3)},"status":"CONFIRMED","currency":"EUR","item":"pencil"},`);
  }
  return Buffer.from(rows.join('').slice(0, bytes));
};
/** `plain` as gzip that states `bytes`, a multiple of 256, as its size: zlib ignores what follows the end if it begins with 0. */
const stating = (plain: Buffer, bytes: number): Buffer => {
  const size = Buffer.alloc(4);
  size.writeUInt32LE(bytes);
  return Buffer.concat([gzipSync(plain, { level: 0 }), size]);
};
/** As many messages as are inflated at once, which take a while. */
const startAll = (): Inflation[] =>
  [1, 2, 3, 4].map(() => inflate('gzip', gzipSync(Buffer.alloc(2_000_000)), 2_000_000));

describe('inflate()', () => {
  it.each([
    ['1 byte', json(1)],
    ['100 KB', json(100_000)],
    ['3 MB', json(3_000_000)],
    ['3 MB that compress to a thousandth', Buffer.alloc(3_000_000)],
  ])('inflates %s, whatever encoding and size the sender states', async (_title, plain) => {
    const lies = [0, 256, 256 * Math.trunc(plain.length / 256), LIMIT, 2 ** 31].map((bytes) => stating(plain, bytes));
    const inflations = [gzipSync(plain), ...lies].map((message) => inflate('gzip', message, LIMIT));
    inflations.push(inflate('deflate', deflateSync(plain), LIMIT));
    for (const { result } of inflations) {
      const inflated = await result;
      expect(plain.equals(inflated as Buffer)).toBe(true);
      expect((inflated as Buffer).buffer.byteLength).toBeLessThanOrEqual(Math.max(2 * plain.length, Buffer.poolSize));
    }
  });

  it.each([4_100, 60_000])(
    'keeps no more memory than twice the %i bytes of a result that claims 4 MiB',
    async (bytes) => {
      const plain = Buffer.alloc(bytes, 7);
      const inflated = (await inflate('gzip', stating(plain, LIMIT), LIMIT).result) as Buffer;
      expect(plain.equals(inflated)).toBe(true);
      expect(inflated.buffer.byteLength).toBeLessThanOrEqual(2 * bytes);
    },
  );

  it.each([
    ['16 times the message', 4_100, 4_127 * 16],
    ['the maximum size', 1_000_000, LIMIT + 1],
  ])('reserves no more memory than %s for the size that its sender states', async (_title, bytes, expected) => {
    const message = stating(Buffer.alloc(bytes), 2 ** 31);
    const reserved = vi.spyOn(Buffer, 'allocUnsafe');
    onTestFinished(() => reserved.mockRestore());
    await inflate('gzip', message, LIMIT).result;
    expect(Math.max(...reserved.mock.calls.map(([size]) => size))).toBe(expected);
  });

  it('inflates a message whose size is right in one piece', async () => {
    const plain = json(100_000);
    const inflated = (await inflate('gzip', gzipSync(plain), LIMIT).result) as Buffer;
    // With room for zlib to see the end. Pieces that were joined would have no room.
    expect(inflated.buffer.byteLength).toBe(plain.length + 1);
  });

  it('inflates no message that was dropped while it waited, and lets go of it', async () => {
    setFlagsFromString('--expose-gc');
    // The cast is safe: the flag above adds `gc` to each new context.
    const collect = runInNewContext('gc') as () => void;
    const others = startAll();
    const settled: string[] = [];
    const begin = (name: string): { inflation: Inflation; message: WeakRef<Buffer> } => {
      const message = gzipSync(name);
      const inflation = inflate('gzip', message, LIMIT);
      void inflation.result.then(() => settled.push(name));
      return { inflation, message: new WeakRef(message) };
    };
    const dropped = begin('dropped');
    const next = begin('next');
    expect([dropped.inflation.drop(), dropped.inflation.drop()]).toEqual([true, false]);
    await next.inflation.result;
    await Promise.all(others.map(({ result }) => result));
    expect(settled).toEqual(['next']);
    await waitFor(() => {
      collect();
      return dropped.message.deref() === undefined;
    });
    // What waits later has its turn.
    expect(await inflate('gzip', gzipSync('later'), LIMIT).result).toEqual(Buffer.from('later'));
  });

  it('goes on with a message whose turn has come', async () => {
    const begun = inflate('gzip', gzipSync('begun'), LIMIT);
    expect(begun.drop()).toBe(false);
    expect(await begun.result).toEqual(Buffer.from('begun'));
  });
});
