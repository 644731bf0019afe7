import type { Interceptor, Metadata } from '@grpc/grpc-js';
import { isMetadataLike, joinMetadata } from '../../channel/attempt/call-metadata.js';
import { metadataEntryProblem } from '../../channel/attempt/metadata-input.js';
import { GrpcConfigurationError, type ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import {
  deadlineFromTimeout,
  earliestDeadline,
  sendableDeadline,
  validateDeadline,
} from '../../policy/deadline/deadline.js';
import type { MethodContext } from '../call-context.js';
import type { GrpcCallOptions } from '../resilient-types.js';
import { describeValue, pathOf } from '../settings/describe-value.js';

/** grpc-js's bits of `propagate_flags`; without flags all are on. */
const PROPAGATE_DEADLINE = 1;
const PROPAGATE_CANCELLATION = 8;

/** What came after the request: Nest's `(metadata, options)` or our `(options)`. */
export interface CallArguments {
  readonly metadata: Metadata | undefined;
  readonly options: GrpcCallOptions | undefined;
}

/** Sorts what came after the request. */
export function callArguments(
  first: Metadata | GrpcCallOptions | null | undefined,
  second: GrpcCallOptions | undefined,
): CallArguments {
  if (first === undefined || first === null) return { metadata: undefined, options: second };
  if (isMetadataLike(first)) return { metadata: first, options: second };
  return { metadata: undefined, options: second === undefined ? first : { ...first, ...second } };
}

/**
 * Metadata of one call: the client's, then the argument's, then the option's.
 *
 * @throws GrpcConfigurationError for a key or value that gRPC does not allow. The values are not told.
 */
export function callMetadata(
  context: MethodContext,
  given: CallArguments,
  inbound?: Parameters<typeof joinMetadata>[1],
): Metadata {
  const { metadata, options } = given;
  if (options?.metadata === undefined && inbound === undefined) {
    if (metadata === undefined) return context.metadata;
    // A copy, as of now: attempts come later too, and callers use one object for several calls.
    return context.hasMetadata ? joinMetadata(context.metadata, metadata) : metadata.clone();
  }
  const base = joinMetadata(joinMetadata(context.metadata, inbound), metadata);
  if (options?.metadata === undefined) return base;
  try {
    return joinMetadata(base, options.metadata);
  } catch {
    // grpc-js's error has the value in it, which may be a secret.
    throw new GrpcConfigurationError(metadataProblems(options.metadata, pathOf(optionsPath(context), 'metadata')));
  }
}

function metadataProblems(metadata: unknown, path: string): ConfigurationProblem[] {
  const problems = Object.entries(Object(metadata) as Record<string, unknown>).flatMap(([key, value]) => {
    const message = value === undefined ? undefined : metadataEntryProblem(key, value);
    return message === undefined ? [] : [{ path: pathOf(path, key), message }];
  });
  if (problems.length > 0) return problems;
  return [{ path, message: "expected an object of texts, as { 'x-tenant': 'shop' }, or grpc-js's Metadata" }];
}

function optionsPath(context: MethodContext): string {
  return `${context.client.name}${context.method.path}: options`;
}

/**
 * The instant at which a call that is subscribed to at `epochNow` must have ended, in milliseconds since 1970.
 *
 * @throws GrpcConfigurationError for a length or an instant that is none; handed to grpc-js, a NaN ends the process.
 */
export function callDeadline(context: MethodContext, options: GrpcCallOptions | undefined, epochNow: number): number {
  const byMethod = deadlineFromTimeout(epochNow, context.policy.timeoutMs);
  if (options === undefined) return byMethod;
  const path = optionsPath(context);
  const { timeoutMs, attemptTimeoutMs, streamIdleTimeoutMs, deadline, parent, propagate_flags: flags } = options;
  checkLength(timeoutMs, path, 'timeoutMs');
  checkLength(attemptTimeoutMs, path, 'attemptTimeoutMs');
  checkLength(streamIdleTimeoutMs, path, 'streamIdleTimeoutMs');
  checkStreamOptions(options, path);
  const instant = deadline === undefined ? Infinity : validateDeadline(deadline);
  if (typeof instant !== 'number') {
    throw new GrpcConfigurationError([{ path: `${path}.deadline`, message: instant.problem }]);
  }
  const byOptions = earliestDeadline(
    byMethod,
    deadlineFromTimeout(epochNow, timeoutMs),
    sendableDeadline(instant, epochNow),
  );
  if (parent === undefined || ((flags ?? PROPAGATE_DEADLINE) & PROPAGATE_DEADLINE) === 0) return byOptions;
  const inbound = parent.getDeadline();
  return earliestDeadline(byOptions, inbound instanceof Date ? inbound.getTime() : inbound);
}

/** By its type too: a text from an environment variable would be joined to the present instant, not added. */
function checkLength(value: unknown, path: string, key: string): void {
  if (value === undefined || (typeof value === 'number' && value > 0)) return;
  const message = `expected a length in milliseconds above 0, got ${describeValue(value)}; write ${key}: 500`;
  throw new GrpcConfigurationError([{ path: `${path}.${key}`, message }]);
}

const ON_DRAIN: readonly unknown[] = [undefined, 'finish', 'complete', 'fail'];

function checkStreamOptions({ prefetch, onDrain }: GrpcCallOptions, path: string): void {
  if (prefetch !== undefined && !(Number.isInteger(prefetch) && prefetch >= 1)) {
    const message = `expected an integer of 1 or more, got ${describeValue(prefetch)}; write prefetch: 16`;
    throw new GrpcConfigurationError([{ path: `${path}.prefetch`, message }]);
  }
  if (!ON_DRAIN.includes(onDrain)) {
    const message = `expected 'finish', 'complete' or 'fail', got ${describeValue(onDrain)}`;
    throw new GrpcConfigurationError([{ path: `${path}.onDrain`, message }]);
  }
}

/** Whether the end of the caller's own inbound call ends this one. */
export function boundToParent(options: GrpcCallOptions): boolean {
  return (
    options.parent !== undefined && ((options.propagate_flags ?? PROPAGATE_CANCELLATION) & PROPAGATE_CANCELLATION) !== 0
  );
}

/** grpc-js's interceptors of one call: those of the call stand in place of the client's. */
export function callInterceptors(
  context: MethodContext,
  options: GrpcCallOptions | undefined,
): readonly Interceptor[] | undefined {
  const own = options?.interceptors;
  const providers = options?.interceptor_providers;
  if ((own?.length ?? 0) === 0 && (providers?.length ?? 0) === 0) return context.interceptors;
  // True: providers read path and kinds, which a MethodDescriptor has.
  const definition = context.method as unknown as Parameters<NonNullable<typeof providers>[number]>[0];
  return [...(own ?? []), ...(providers ?? []).map((provider) => provider(definition))];
}
