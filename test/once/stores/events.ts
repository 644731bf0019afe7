import fc from 'fast-check';
import { HASH } from './support.js';

const owner = fc.constantFrom('one', 'one', 'two');
const bytes = fc.uint8Array({ maxLength: 4 });
const attempt = fc.record({
  type: fc.constant('attempt' as const),
  hash: fc.constantFrom(HASH, HASH, HASH, 'another'),
  owner,
  /** Relative to the time of the event. */
  before: fc.constantFrom(Infinity, Infinity, NaN, 1, 0, -1),
  scope: fc.constantFrom(undefined, 'own', 'own', 'own', 'another'),
});
/** Any event of a key. */
export const event = fc.oneof(
  { weight: 6, arbitrary: attempt },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('renew' as const), owner }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('commit' as const), owner, end: bytes }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('end' as const), owner, end: bytes }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('release' as const), owner }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('ask' as const), close: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('settle' as const), end: fc.option(bytes, { nil: undefined }) }),
  },
);

/** Returns a reply with its end as text, for comparisons. */
export const plain = (reply: object) => ({
  ...reply,
  ...('end' in reply && { end: Buffer.from(reply.end as Uint8Array).toString('hex') }),
});
