import * as v from 'valibot';
import { requireOptions } from '../../policy/options/option-problems.js';
import { object } from '../../policy/options/option-schemas.js';
import { MAX_TIMER_MS } from '../../time/max-timer-ms.js';
import { argumentCheck, isInteger } from '../argument-check.js';
import { clock, port } from '../shared-options.js';
import type { FaultProxyOptions } from './faults.js';

const SINGLE_DIRECTIONS: readonly unknown[] = ['to-upstream', 'to-client'];
const DIRECTIONS: readonly unknown[] = [...SINGLE_DIRECTIONS, 'both'];
const CLOSE_MODES: readonly unknown[] = ['rst', 'fin'];
const IDLE_CLOSE_MODES: readonly unknown[] = [...CLOSE_MODES, 'silent'];

// These checks are for JavaScript callers, and for constraints that the types do not express.

const optionsSchema = object({ port: v.optional(port), clock: v.optional(clock) }, 'options such as { port: 50051 }');

/** @throws GrpcConfigurationError if an option is unknown or invalid */
export function checkOptions(options: FaultProxyOptions): void {
  requireOptions(optionsSchema, options, 'FaultProxy');
}

/** @throws RangeError if the direction is invalid */
export function checkDirection(method: string, direction: unknown): void {
  argumentCheck(method)(
    DIRECTIONS.includes(direction),
    "direction to be 'to-client', 'to-upstream', or 'both'",
    direction,
  );
}

/** @throws RangeError if an argument is invalid */
export function checkDelay(ms: unknown, direction: unknown): void {
  argumentCheck('delay')(isDuration(ms) || ms === 0, `ms to be a number from 0 to ${MAX_TIMER_MS}`, ms);
  checkDirection('delay', direction);
}

/** @throws RangeError if an argument is invalid */
export function checkIdleCut(ms: unknown, how: unknown): void {
  const check = argumentCheck('cutIdleAfter');
  check(ms === undefined || isDuration(ms), `ms to be a number above 0 and up to ${MAX_TIMER_MS}, or undefined`, ms);
  check(IDLE_CLOSE_MODES.includes(how), "a close mode ('fin', 'rst', or 'silent')", how);
}

/** @throws RangeError if an argument is invalid */
export function checkByteRule(bytes: unknown, direction: unknown, how: unknown, times: unknown): void {
  const check = argumentCheck('closeAfterBytes');
  check(bytes === Infinity || isInteger(bytes, 0), 'bytes to be an integer of 0 or more, or Infinity', bytes);
  check(SINGLE_DIRECTIONS.includes(direction), "direction to be 'to-client' or 'to-upstream'", direction);
  check(CLOSE_MODES.includes(how), "a close mode ('rst' or 'fin')", how);
  check(times === Infinity || isInteger(times, 1), 'times to be an integer of 1 or more, or Infinity', times);
}

function isDuration(ms: unknown): boolean {
  return typeof ms === 'number' && ms > 0 && ms <= MAX_TIMER_MS;
}
