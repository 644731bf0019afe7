import type { Metadata } from '@grpc/grpc-js';
import { attemptMetadata, joinMetadata } from '../../channel/attempt/call-metadata.js';
import { moment } from '../../time/clock.js';
import { inContextOf } from '../inbound-context.js';
import type { CallHooks } from './call-hooks.js';
import type { MetadataSource } from './metadata-source.js';
import { inboundOf, type OutgoingCall } from './outgoing-call.js';

/** What has a word before an attempt of a client. */
export interface AttemptParts {
  readonly hooks: CallHooks | undefined;
  readonly metadataSource: MetadataSource | undefined;
}

/**
 * The metadata of attempt `number`: made anew for each, as tokens expire. What the call brings wins over what the client's
 * function gives; `onAttempt` has the last word.
 *
 * @throws what the function or an interceptor throws; a rejection comes with the promise
 */
export function prepareAttempt(
  call: OutgoingCall,
  number: number,
  deadline: number,
  { hooks, metadataSource }: AttemptParts,
): Metadata | Promise<Metadata> {
  const asked = metadataSource && inContextOf(inboundOf(call), () => metadataSource(call));
  return asked instanceof Promise
    ? asked.then((base) => intercepted(call, number, deadline, base, hooks))
    : intercepted(call, number, deadline, asked, hooks);
}

function intercepted(
  call: OutgoingCall,
  number: number,
  deadline: number,
  base: Metadata | undefined,
  hooks: CallHooks | undefined,
): Metadata | Promise<Metadata> {
  const joined = base === undefined ? call.metadata.clone() : joinMetadata(base, call.metadata);
  const metadata = attemptMetadata(joined, number);
  const told = hooks?.onAttempt({
    ...call,
    metadata,
    number,
    ...(deadline === Infinity ? {} : { deadline: moment(deadline) }),
  });
  return told === undefined ? metadata : told.then(() => metadata);
}
