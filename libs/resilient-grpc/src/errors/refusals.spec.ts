import { describe, expect, it } from 'vitest';
import { CircuitOpenError, ConcurrencyLimitError, DeadlineError, IdleTimeoutError } from './operator-errors.js';

const CASES = [
  [new CircuitOpenError('orders', 1_200.4), CircuitOpenError, 14, ['target', 'retryAfterMs']],
  [new ConcurrencyLimitError(10, 5), ConcurrencyLimitError, 8, ['maxConcurrent', 'maxQueued']],
  [new DeadlineError(300), DeadlineError, 4, ['timeoutMs']],
  [new IdleTimeoutError(5_000), IdleTimeoutError, 14, ['idleMs']],
] as const;

describe('errors that the client and the operators create', () => {
  it.each(CASES)(
    'provides the name, gRPC code, data, and `instanceof` of an error that the client or an operator creates: %o',
    (error, type, code, data) => {
      expect(error.name).toBe(error.constructor.name);
      expect(error.code).toBe(code);
      expect(Object.keys(error)).toEqual(expect.arrayContaining(['code', ...data]));
      expect(error).toBeInstanceOf(type);
      expect(CASES.filter(([, other]) => error instanceof other)).toHaveLength(1);
      expect(new Error(error.message)).not.toBeInstanceOf(type);
    },
  );

  it('states the cause and the numbers of a failure in the message of each error that the client or an operator creates', () => {
    expect(CASES.map(([{ message }]) => message)).toEqual([
      'The circuit breaker of orders is open after too many failures; it admits a probe within 1201 ms',
      'Concurrency limit reached: 10 running, 5 queued',
      'Deadline exceeded after 300 ms',
      'No message for 5000 ms',
    ]);
  });
});
