import type { Interceptor, Metadata } from '@grpc/grpc-js';
import { isMetadataLike, joinMetadata } from '../../channel/wire/call-metadata.js';
import { metadataEntryProblem } from '../../channel/wire/metadata-input.js';
import { GrpcConfigurationError, type ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { deadlineFromTimeout, sendableDeadline, validateDeadline } from '../../policy/deadline/deadline.js';
import type { MethodContext } from '../call-context.js';
import type { GrpcCallOptions } from '../resilient-types.js';
import { describeSecret, pathOf } from '../../policy/options/describe-value.js';
import { areCallOptionsValid, callOptionProblems } from '../settings/method-options.js';

/** Bits of grpc-js's `propagate_flags`. If a call specifies no flags, all of them are set. */
const PROPAGATE_DEADLINE = 1;
const PROPAGATE_CANCELLATION = 8;

/** Arguments after the request: Nest's `(metadata, options)` or this library's `(options)`. */
export interface CallArguments {
  readonly metadata: Metadata | undefined;
  readonly options: GrpcCallOptions | undefined;
}

export const NO_ARGUMENTS: CallArguments = { metadata: undefined, options: undefined };

export function callArguments(
  first: Metadata | GrpcCallOptions | null | undefined,
  second: GrpcCallOptions | undefined,
): CallArguments {
  if (first === undefined || first === null) return { metadata: undefined, options: second };
  if (isMetadataLike(first)) return { metadata: first, options: second };
  if (second === undefined || first instanceof Map) return { metadata: undefined, options: first };
  // callDeadline() rejects a Map and Metadata. Merging would turn them into plain options, which would hide the mistake.
  if (second instanceof Map || isMetadataLike(second)) return { metadata: undefined, options: second };
  return { metadata: undefined, options: { ...first, ...second } };
}

/**
 * Returns the metadata of one call. Merges the metadata of the client, of the inbound call, of the argument, and of the option, in
 * ascending order of precedence.
 *
 * @throws GrpcConfigurationError for a key or value that gRPC does not allow. The error does not contain values.
 */
export function callMetadata(
  context: MethodContext,
  given: CallArguments,
  inbound?: Parameters<typeof joinMetadata>[1],
): Metadata {
  const { metadata, options } = given;
  if (options?.metadata === undefined && inbound === undefined) {
    if (metadata === undefined) return context.metadata;
    // Copied, because later attempts send the metadata, too, and callers may use one object for several calls.
    return context.hasMetadata ? joinMetadata(context.metadata, metadata) : metadata.clone();
  }
  const base = joinMetadata(joinMetadata(context.metadata, inbound), metadata);
  if (options?.metadata === undefined) return base;
  try {
    return joinMetadata(base, options.metadata);
  } catch {
    // Replaces grpc-js's error, which contains the value, because the value may be a secret.
    throw new GrpcConfigurationError(metadataProblems(context, options.metadata));
  }
}

function metadataProblems(context: MethodContext, metadata: unknown): ConfigurationProblem[] {
  const path = pathOf(optionsPath(context), 'metadata');
  const problems = Object.entries(Object(metadata) as Record<string, unknown>).flatMap(([key, value]) => {
    const message = value === undefined ? undefined : metadataEntryProblem(key, value);
    return message === undefined ? [] : [{ path: pathOf(path, key), message }];
  });
  if (problems.length > 0) return problems;
  return [
    {
      path,
      message: `expected an object such as { 'x-tenant': 'shop' }, or grpc-js's Metadata, got ${describeSecret(metadata)}`,
    },
  ];
}

function optionsPath(context: MethodContext): string {
  return `${context.client.name}${context.method.path}: options`;
}

/**
 * Returns the deadline of a call that is subscribed to at `epochNow`, in milliseconds since 1970.
 *
 * @throws GrpcConfigurationError for invalid options, because a NaN that is passed to grpc-js terminates the process.
 */
export function callDeadline(context: MethodContext, options: GrpcCallOptions | undefined, epochNow: number): number {
  const byMethod = deadlineFromTimeout(epochNow, context.policy.timeoutMs);
  if (options === undefined) return byMethod;
  const { timeoutMs, deadline, parent, propagate_flags: flags } = options;
  const instant = deadline === undefined ? Infinity : validateDeadline(deadline);
  // Checks types, too, because a string from an environment variable would be concatenated with the current time, not added to it.
  if (typeof instant !== 'number' || !areCallOptionsValid(options)) {
    throw new GrpcConfigurationError(problemsOf(context, options));
  }
  const byTimeout = deadlineFromTimeout(epochNow, timeoutMs);
  const byOptions = Math.min(byMethod, byTimeout, sendableDeadline(instant, epochNow));
  if (!parent || ((flags ?? PROPAGATE_DEADLINE) & PROPAGATE_DEADLINE) === 0) return byOptions;
  return Math.min(byOptions, Number(parent.getDeadline()));
}

/** Returns all problems of invalid call options together, so that the caller can correct them in one pass. */
function problemsOf(context: MethodContext, options: GrpcCallOptions): ConfigurationProblem[] {
  if (isMetadataLike(options)) {
    const remedy = 'write the arguments in the order (request, metadata, options)';
    return [{ path: optionsPath(context), message: `expected call options, got grpc-js's Metadata; ${remedy}` }];
  }
  const { deadline, metadata } = options;
  const problems = callOptionProblems(options, optionsPath(context));
  const instant = deadline === undefined ? Infinity : validateDeadline(deadline);
  if (typeof instant !== 'number') {
    problems.push({ path: pathOf(optionsPath(context), 'deadline'), message: instant.problem });
  }
  if (metadata === undefined) return problems;
  try {
    joinMetadata(context.metadata, metadata);
    return problems;
  } catch {
    return [...problems, ...metadataProblems(context, metadata)];
  }
}

/** True if this call is cancelled together with the caller's inbound call (`parent`), provided that there is one. */
export function isBoundToParent({ propagate_flags: flags }: GrpcCallOptions): boolean {
  return ((flags ?? PROPAGATE_CANCELLATION) & PROPAGATE_CANCELLATION) !== 0;
}

/** Returns grpc-js's interceptors of one call. Interceptors of the call replace those of the client. */
export function callInterceptors(
  context: MethodContext,
  options: GrpcCallOptions | undefined,
): readonly Interceptor[] | undefined {
  const own = options?.interceptors;
  const providers = options?.interceptor_providers;
  if (!isFilled(own) && !isFilled(providers)) return context.interceptors;
  // Providers read only the path and the stream flags, which a MethodDescriptor has.
  const definition = context.method as unknown as Parameters<NonNullable<typeof providers>[number]>[0];
  return [...(own ?? []), ...(providers ?? []).map((provider) => provider(definition))];
}

/** True if `list` is an array with elements. `callDeadline()` rejects a value that is neither an array nor null. */
function isFilled(list: readonly unknown[] | undefined): boolean {
  return Array.isArray(list) && list.length > 0;
}
