import type { HedgingPolicy } from '../hedging/hedging-policy.js';
import type { RetryPolicy } from '../retry/retry-policy.js';
import { at, show, type Problems } from './problem.js';
import { checkKeys, isPresent, readBoolean, readInteger, readList, readObject, readPositive } from './read.js';
import { readDuration } from './read-duration.js';
import { readStatusCodes } from './read-status-codes.js';
import type { ParsedMethodConfig, ParsedMethodName } from './service-config.js';

const KEYS = [
  'name',
  'timeout',
  'waitForReady',
  'maxRequestMessageBytes',
  'maxResponseMessageBytes',
  'retryPolicy',
  'hedgingPolicy',
];
// grpc-js reads these two keys; the standard does not define them.
const INSTEAD = { maxRequestBytes: 'maxRequestMessageBytes', maxResponseBytes: 'maxResponseMessageBytes' };
const RETRY_KEYS = ['maxAttempts', 'initialBackoff', 'maxBackoff', 'backoffMultiplier', 'retryableStatusCodes'];
const HEDGING_KEYS = ['maxAttempts', 'hedgingDelay', 'nonFatalStatusCodes'];

/** Parses one entry of `methodConfig`. If it adds to `problems`, the result must not be used. */
export function parseMethodConfig(
  value: unknown,
  path: string,
  problems: Problems,
  maxAttemptsLimit: number,
): ParsedMethodConfig | undefined {
  const config = readObject(value, path, problems);
  if (!config) return undefined;
  checkKeys(config, path, problems, KEYS, INSTEAD);
  const names = parseNames(config['name'], at(path, 'name'), problems);

  function optional<T>(key: string, read: (value: unknown, path: string) => T | undefined): T | undefined {
    return isPresent(config?.[key]) ? read(config?.[key], at(path, key)) : undefined;
  }
  const bytes = (found: unknown, where: string) => readInteger(found, where, problems, 0);
  const timeoutMs = optional('timeout', (found, where) => readDuration(found, where, problems));
  const waitForReady = optional('waitForReady', (found, where) => readBoolean(found, where, problems));
  const maxRequestMessageBytes = optional('maxRequestMessageBytes', bytes);
  const maxResponseMessageBytes = optional('maxResponseMessageBytes', bytes);
  const retry = optional('retryPolicy', (found, where) => parseRetryPolicy(found, where, problems, maxAttemptsLimit));
  const hedging = optional('hedgingPolicy', (found, where) => parseHedging(found, where, problems, maxAttemptsLimit));
  if (isPresent(config['retryPolicy']) && isPresent(config['hedgingPolicy'])) {
    problems.say(at(path, 'hedgingPolicy'), 'cannot be combined with retryPolicy; write only one of them');
  }
  return {
    names,
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...(waitForReady !== undefined && { waitForReady }),
    ...(maxRequestMessageBytes !== undefined && { maxRequestMessageBytes }),
    ...(maxResponseMessageBytes !== undefined && { maxResponseMessageBytes }),
    ...(retry && { retry }),
    ...(hedging && { hedging }),
  };
}

function parseNames(value: unknown, path: string, problems: Problems): readonly ParsedMethodName[] {
  const list = readList(value, path, problems, 'a list of names, such as [{ "service": "orders.v1.Orders" }]');
  if (list?.length === 0) problems.add(path, 'at least one name', value, '[{}] for all methods');
  return (list ?? []).flatMap((entry, index) => {
    const where = at(path, index);
    const name = readObject(entry, where, problems, 'an object with service and method');
    if (!name) return [];
    checkKeys(name, where, problems, ['service', 'method']);
    const service = readName(name['service'], at(where, 'service'), problems);
    const method = readName(name['method'], at(where, 'method'), problems);
    if (service === '' && method !== '') {
      problems.say(
        at(where, 'method'),
        `expected a service for method ${show(method)}, got none; write its full name as service`,
      );
    }
    return [{ service, method }];
  });
}

function readName(value: unknown, path: string, problems: Problems): string {
  if (!isPresent(value)) return '';
  if (typeof value !== 'string') problems.add(path, 'a string', value);
  return String(value);
}

/** Applies gRFC A6, "Validation of retryPolicy": all fields are required; too many attempts are reduced to the limit without error. */
function parseRetryPolicy(
  value: unknown,
  path: string,
  problems: Problems,
  maxAttemptsLimit: number,
): RetryPolicy | undefined {
  const policy = readObject(value, path, problems);
  if (!policy) return undefined;
  checkKeys(policy, path, problems, RETRY_KEYS, {
    perAttemptRecvTimeout: 'attemptTimeoutMs in the method options',
  });
  const maxAttempts = readInteger(policy['maxAttempts'], at(path, 'maxAttempts'), problems, 2);
  const initialBackoffMs = readDuration(policy['initialBackoff'], at(path, 'initialBackoff'), problems);
  const maxBackoffMs = readDuration(policy['maxBackoff'], at(path, 'maxBackoff'), problems);
  const backoffMultiplier = readPositive(policy['backoffMultiplier'], at(path, 'backoffMultiplier'), problems);
  const codesPath = at(path, 'retryableStatusCodes');
  const retryableStatusCodes = readStatusCodes(policy['retryableStatusCodes'], codesPath, problems, 'not-empty');
  if (
    maxAttempts === undefined ||
    initialBackoffMs === undefined ||
    maxBackoffMs === undefined ||
    backoffMultiplier === undefined ||
    retryableStatusCodes === undefined
  ) {
    return undefined;
  }
  return {
    maxAttempts: Math.min(maxAttempts, maxAttemptsLimit),
    initialBackoffMs,
    maxBackoffMs,
    backoffMultiplier,
    retryableStatusCodes,
  };
}

/** Applies gRFC A6, "Validation of hedgingPolicy": only `maxAttempts` is required. */
function parseHedging(
  value: unknown,
  path: string,
  problems: Problems,
  maxAttemptsLimit: number,
): HedgingPolicy | undefined {
  const policy = readObject(value, path, problems);
  if (!policy) return undefined;
  checkKeys(policy, path, problems, HEDGING_KEYS);
  const maxAttempts = readInteger(policy['maxAttempts'], at(path, 'maxAttempts'), problems, 2);
  const hedgingDelayMs = readDuration(policy['hedgingDelay'] ?? '0s', at(path, 'hedgingDelay'), problems, true);
  const codesPath = at(path, 'nonFatalStatusCodes');
  const nonFatalStatusCodes = readStatusCodes(
    policy['nonFatalStatusCodes'] ?? [],
    codesPath,
    problems,
    'empty-allowed',
  );
  if (maxAttempts === undefined || hedgingDelayMs === undefined || nonFatalStatusCodes === undefined) return undefined;
  return { maxAttempts: Math.min(maxAttempts, maxAttemptsLimit), hedgingDelayMs, nonFatalStatusCodes };
}
