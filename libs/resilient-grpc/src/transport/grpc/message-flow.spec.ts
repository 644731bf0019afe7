import fc from 'fast-check';
import { expect, it } from 'vitest';
import { MessageFlow } from './message-flow.js';
import { PREFIX_BYTES } from './message-reader.js';

const framed = (body: Buffer): Buffer => {
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32BE(body.length, 1);
  return Buffer.concat([prefix, body]);
};

it('delivers each message that was requested, in order, and counts what waits, however the bytes arrive', () => {
  const size = fc.oneof(fc.nat(20), fc.nat(3_000), fc.integer({ min: 60_000, max: 200_000 }));
  const step = fc.oneof(
    fc.record({ arrive: fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 100_000 })) }),
    fc.record({ request: fc.integer({ min: 1, max: 3 }) }),
  );
  fc.assert(
    fc.property(fc.array(size, { maxLength: 12 }), fc.array(step, { maxLength: 60 }), (sizes, steps) => {
      const bodies = sizes.map((length, at) => Buffer.alloc(length, at + 1));
      const sent = Buffer.concat(bodies.map(framed));
      const got: Buffer[] = [];
      const flow = new MessageFlow({ message: (message) => void got.push(message) }, 1_000_000);
      let [arrived, requested] = [0, 0];
      const check = (): void => {
        // What is complete is delivered as soon as it is requested.
        let [complete, end, wanted] = [0, 0, 0];
        for (const { length } of bodies) {
          if (end + PREFIX_BYTES + length > arrived) break;
          end += PREFIX_BYTES + length;
          complete += 1;
          if (complete <= requested) wanted = end;
        }
        expect(got).toEqual(bodies.slice(0, Math.min(complete, requested)));
        expect(flow.unreadBytes).toBe(complete < requested || got.length < requested ? 0 : arrived - wanted);
        expect(flow.hasMessage).toBe(complete > requested);
      };
      for (const one of steps) {
        if ('request' in one) {
          requested += one.request;
          flow.request(one.request);
        } else {
          // The memory of what arrives is used again.
          const bytes = Buffer.from(sent.subarray(arrived, arrived + one.arrive));
          flow.take(bytes, 0, bytes.length);
          bytes.fill(0xff);
          arrived += bytes.length;
        }
        check();
      }
    }),
  );
});

it('drops what waits if the sink stops the flow while it takes a message', () => {
  const got: number[] = [];
  const flow = new MessageFlow(
    {
      message: ({ length }) => {
        got.push(length);
        flow.stop();
      },
    },
    1_000,
  );
  const bytes = Buffer.concat([framed(Buffer.alloc(3)), framed(Buffer.alloc(4))]);
  flow.take(bytes, 0, bytes.length);
  flow.request(2);
  flow.request(1);
  expect([got, flow.unreadBytes, flow.hasMessage]).toEqual([[3], 0, false]);
});
