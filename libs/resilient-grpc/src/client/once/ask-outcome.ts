import { firstValueFrom } from 'rxjs';
import type { MethodDescriptor } from '../../call/method.js';
import { joinMetadata, NO_METADATA } from '../../channel/wire/call-metadata.js';
import { GrpcCallError } from '../../errors/grpc-call-error.js';
import { GrpcConfigurationError } from '../../errors/grpc-configuration-error.js';
import { describeValue, problemMessage } from '../../policy/options/describe-value.js';
import { isOnceKey, ONCE_ASK, ONCE_KEY, ONCE_MARK, ONCE_SCOPE, ONCE_SUFFIX } from '../../policy/once/once-fields.js';
import type { MetadataInput, ResilientMethod } from '../resilient-types.js';
import type { Services } from '../settings/contract.js';

/** What became of a write with a key. */
export type OnceOutcome<Response> =
  | { readonly state: 'done'; readonly response: Response }
  /** The handler ended with an error, which every repeat gets. */
  | { readonly state: 'failed'; readonly error: GrpcCallError }
  | { readonly state: 'running' }
  /** Nobody can know; see docs/guides/writes.md. */
  | { readonly state: 'in-doubt' }
  /** The write has not begun. With `final`, it never will; otherwise, it may be on its way. */
  | { readonly state: 'unknown'; readonly final: boolean };

/** Options of `client.outcome()`. */
export interface OutcomeOptions {
  /** Makes 'unknown' final: the server refuses a write with this key from now on. @defaultValue false */
  readonly close?: boolean | undefined;
  /**
   * `onceScope` of the error of the write. A store that has lost data, or another one, then says 'in-doubt' instead of 'unknown'.
   * @defaultValue any store
   */
  readonly scope?: string | undefined;
  /** Metadata, such as those that the guards of the method read. */
  readonly metadata?: MetadataInput | undefined;
  /** Timeout in milliseconds, more than 0. @defaultValue that of the client */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

const NO_BYTES = Buffer.alloc(0);

/**
 * Returns the method that `name` means: 'Create', 'Orders/Create', or 'orders.v1.Orders/Create'.
 *
 * @throws GrpcConfigurationError if there is no such method, or several, or if it is not unary
 */
export function methodNamed(services: Services, name: string, client: string): MethodDescriptor {
  const found = [...services.values()].flatMap((methods) =>
    [...methods.values()].filter(({ path }) => path.endsWith(`/${name}`) || path.endsWith(`.${name}`)),
  );
  const [method] = found;
  if (method?.kind === 'unary' && found.length === 1) return method;
  const message =
    found.length > 1
      ? `expected one method, got ${found.map(({ path }) => path).join(' and ')}; write the service before it`
      : `expected a unary method of the client, such as 'Orders/Create', got ${describeValue(name)}`;
  throw new GrpcConfigurationError([{ path: `${client}.outcome(method)`, message }]);
}

/** Returns `method` for questions about its keys. They have no request. */
export function askingMethod(method: MethodDescriptor): MethodDescriptor {
  return { ...method, path: method.path + ONCE_SUFFIX, requestSerialize: () => NO_BYTES };
}

/**
 * Asks the server what became of the write with `key`.
 *
 * @throws TypeError for a key that no write has
 */
export async function askOutcome<Response>(
  ask: ResilientMethod<unknown, unknown>,
  key: string,
  { close = false, scope, metadata, timeoutMs, signal }: OutcomeOptions,
): Promise<OnceOutcome<Response>> {
  if (!isOnceKey(key))
    throw new TypeError(`outcome(key): ${problemMessage('a key of 1 to 255 characters from ! to ~', key)}`);
  const question = joinMetadata(NO_METADATA.clone(), metadata);
  question.set(ONCE_KEY, key);
  if (scope !== undefined) question.set(ONCE_SCOPE, scope);
  question.set(ONCE_ASK, close ? 'close' : 'outcome');
  try {
    // Not checked, as in `getService()`.
    const response = (await firstValueFrom(ask({}, question, { idempotent: true, timeoutMs, signal }))) as Response;
    return { state: 'done', response };
  } catch (error) {
    if (!(error instanceof GrpcCallError)) throw error;
    switch (error.metadata.get(ONCE_MARK)[0]) {
      case 'replayed':
        return { state: 'failed', error };
      case 'running':
        return { state: 'running' };
      case 'elsewhere':
      case 'in-doubt':
        return { state: 'in-doubt' };
      case 'unknown':
        return { state: 'unknown', final: false };
      case 'closed':
        return { state: 'unknown', final: true };
      default:
        throw error;
    }
  }
}
