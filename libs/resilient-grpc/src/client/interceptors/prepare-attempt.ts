import type { Metadata } from '@grpc/grpc-js';
import { attemptMetadata, joinMetadata } from '../../channel/attempt/call-metadata.js';
import { moment } from '../../time/clock.js';
import { inContextOf } from '../call/caller-context.js';
import { type CallHooks, inboundOf, type OutgoingCall, type MetadataSource } from './call-hooks.js';

export interface AttemptInterceptors {
  readonly hooks: CallHooks | undefined;
  readonly metadataSource: MetadataSource | undefined;
}

export interface PendingMetadata {
  readonly metadata: Promise<Metadata>;
  waitsFor: 'the metadata function' | 'an interceptor';
}

/**
 * Returns the metadata of attempt `number`. It is created for each attempt, because tokens expire. The call's metadata overrides that of
 * the client's function; `onAttempt` runs last.
 *
 * @throws the error that the function or an interceptor throws; rejections reject the promise
 */
export function prepareAttempt(
  call: OutgoingCall,
  number: number,
  deadline: number,
  { hooks, metadataSource }: AttemptInterceptors,
): Metadata | PendingMetadata {
  const base = metadataSource && inContextOf(inboundOf(call), () => metadataSource(call));
  if (!(base instanceof Promise)) {
    const metadata = runOnAttempt(call, number, deadline, base, hooks);
    return metadata instanceof Promise ? { metadata, waitsFor: 'an interceptor' } : metadata;
  }
  const pending: PendingMetadata = {
    metadata: base.then((metadata) => {
      pending.waitsFor = 'an interceptor';
      return runOnAttempt(call, number, deadline, metadata, hooks);
    }),
    waitsFor: 'the metadata function',
  };
  return pending;
}

function runOnAttempt(
  call: OutgoingCall,
  number: number,
  deadline: number,
  base: Metadata | undefined,
  hooks: CallHooks | undefined,
): Metadata | Promise<Metadata> {
  const joined = base === undefined ? call.metadata.clone() : joinMetadata(base, call.metadata);
  const metadata = attemptMetadata(joined, number);
  const pending = hooks?.onAttempt({
    ...call,
    metadata,
    number,
    ...(deadline === Infinity ? {} : { deadline: moment(deadline) }),
  });
  return pending === undefined ? metadata : pending.then(() => metadata);
}
