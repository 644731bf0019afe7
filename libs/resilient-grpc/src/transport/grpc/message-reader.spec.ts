import { afterEach, describe, expect, it, vi } from 'vitest';
import { MessageReader } from './message-reader.js';

const FRAME_BYTES = 16_384;

/** Memory that was reserved since the spies were set, in bytes. */
function spyOnMemory(): () => number {
  const spies = [vi.spyOn(Buffer, 'allocUnsafe'), vi.spyOn(Buffer, 'allocUnsafeSlow')];
  return () => spies.flatMap(({ mock }) => mock.calls).reduce((sum, [size]) => sum + size, 0);
}

afterEach(() => vi.restoreAllMocks());

describe('a large message', () => {
  const framed = (size: number): Buffer => {
    const bytes = Buffer.alloc(size + 5, 'x');
    bytes.writeUInt8(0);
    bytes.writeUInt32BE(size, 1);
    for (let at = 5; at < bytes.length; at += FRAME_BYTES) bytes.writeUInt8(at % 251, at);
    return bytes;
  };

  it.each([
    [300_000, 262_144],
    [1_000_000, 32_768],
    [10_000_000, 32_768],
    [10_000_000, 262_144],
    [30_000_000, 32_768],
  ])('of %i bytes is assembled in little more memory than its size, if %i bytes are trusted', (size, trusted) => {
    const bytes = framed(size);
    let received: Buffer | undefined;
    const reader = new MessageReader({ message: (message) => (received = message) }, Infinity, trusted);
    const memory = spyOnMemory();
    for (let at = 0; at < bytes.length; at += FRAME_BYTES)
      reader.read(bytes, at, Math.min(at + FRAME_BYTES, bytes.length));
    expect(received?.equals(bytes.subarray(5))).toBe(true);
    expect(memory()).toBeLessThan(1.25 * size + trusted);
  });

  it('that is announced and does not arrive reserves 8 times what has arrived, and counts as what has arrived', () => {
    const bytes = framed(60_000_000);
    const reader = new MessageReader({ message: () => undefined }, Infinity, 32_768);
    const memory = spyOnMemory();
    reader.read(bytes, 0, 6);
    expect([memory(), reader.reservedBytes]).toEqual([32_768, 32_768]);
    for (let at = 6; at < 100_000; at += FRAME_BYTES) reader.read(bytes, at, at + FRAME_BYTES);
    const arrived = 7 * FRAME_BYTES + 1;
    expect(reader.reservedBytes).toBe(arrived);
    expect(memory()).toBeLessThan(9 * arrived);
  });
});
