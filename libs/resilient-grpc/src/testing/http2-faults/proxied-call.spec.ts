import { describe, expect, it } from 'vitest';
import { CallFaults } from './proxied-call.js';

const refused = { kind: 'reset', code: 'REFUSED_STREAM' } as const;
const missing = { kind: 'missing-trailers' } as const;
const GET = '/orders.v1.Orders/Get';

describe('CallFaults', () => {
  it('applies a call fault to the given number of calls to its method', () => {
    const faults = new CallFaults();
    faults.add(refused, { method: 'Get', times: 2 });
    const taken = [GET, '/orders.v1.Orders/Watch', GET, GET].map((path) => faults.claim(path));
    expect(taken).toEqual([refused, undefined, refused, undefined]);
  });

  it.each(['Get', 'get', 'Orders/Get', 'Orders/get', 'orders.v1.Orders/Get', GET])(
    'matches the method of a call fault by the name %s',
    (method) => {
      const faults = new CallFaults();
      faults.add(refused, { method });
      expect(['/orders.v1.Orders/Forget', '/orders.v1.Orders/Getter'].map((path) => faults.claim(path))).toEqual([
        undefined,
        undefined,
      ]);
      expect(faults.claim(GET)).toBe(refused);
    },
  );

  it.each(['get', 'Get', 'Orders/get', 'orders.v1.Orders/get', '/orders.v1.Orders/get', '/orders.v1.Orders/Get'])(
    'matches the name %s in a call fault to a method whose proto name starts with a lowercase letter',
    (method) => {
      const faults = new CallFaults();
      faults.add(refused, { method });
      expect(['/orders.v1.Orders/forget', '/orders.v1.Orders/getter'].map((path) => faults.claim(path))).toEqual([
        undefined,
        undefined,
      ]);
      expect(faults.claim('/orders.v1.Orders/get')).toBe(refused);
    },
  );

  it('applies the call fault that was added first if several match a call', () => {
    const faults = new CallFaults();
    faults.add(missing, {});
    faults.add(refused, { method: 'Get', times: Infinity });
    expect([GET, GET].map((path) => faults.claim(path))).toEqual([missing, refused]);
    faults.clear();
    expect(faults.claim(GET)).toBeUndefined();
  });
});
