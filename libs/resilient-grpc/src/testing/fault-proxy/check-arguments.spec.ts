import { expect, it } from 'vitest';
import { checkByteRule, checkDelay, checkDirection, checkIdleCut, checkOptions } from './check-arguments.js';

it.each([
  [() => checkDelay(-1, 'both'), 'delay: expected ms to be a number from 0 to 2147483647, got -1'],
  [() => checkDelay(NaN, 'both'), 'delay: expected ms to be a number from 0 to 2147483647, got NaN'],
  [() => checkDelay(5, 'up'), `delay: expected direction to be 'to-client', 'to-upstream', or 'both', got "up"`],
  [
    () => checkDirection('holdBytes', 1),
    "holdBytes: expected direction to be 'to-client', 'to-upstream', or 'both', got 1",
  ],
  [
    () => checkIdleCut(0, 'fin'),
    'cutIdleAfter: expected ms to be a number above 0 and up to 2147483647, or undefined, got 0',
  ],
  [() => checkIdleCut(5, 'reset'), `cutIdleAfter: expected a close mode ('fin', 'rst', or 'silent'), got "reset"`],
  [
    () => checkByteRule(1.5, 'to-client', 'rst', 1),
    'closeAfterBytes: expected bytes to be an integer of 0 or more, or Infinity, got 1.5',
  ],
  [
    () => checkByteRule(1, 'both', 'rst', 1),
    `closeAfterBytes: expected direction to be 'to-client' or 'to-upstream', got "both"`,
  ],
  [
    () => checkByteRule(1, 'to-client', 'close', 1),
    `closeAfterBytes: expected a close mode ('rst' or 'fin'), got "close"`,
  ],
  [
    () => checkByteRule(1, 'to-client', 'rst', 0),
    'closeAfterBytes: expected times to be an integer of 1 or more, or Infinity, got 0',
  ],
])('rejects an invalid FaultProxy argument and names the expected value (case %#)', (check, message) => {
  expect(check).toThrow(new RangeError(message));
});

it.each([
  [{ ports: 5 }, "FaultProxy.ports: unknown key; did you mean 'port'?"],
  [{ port: '5' }, 'FaultProxy.port: expected an integer from 0 to 65535, got "5"; write the number 5'],
  [{ clock: 5 }, 'FaultProxy.clock: expected a VirtualClock, got 5; write new VirtualClock()'],
  [5, 'FaultProxy: expected options such as { port: 50051 }, got 5'],
])('rejects the FaultProxy options %j', (options, message) => {
  expect(() => {
    checkOptions(options as never);
  }).toThrow(message);
});

it('accepts FaultProxy arguments at their limits', () => {
  checkDelay(0, 'both');
  checkIdleCut(undefined, 'silent');
  checkByteRule(Infinity, 'to-client', 'fin', Infinity);
});
