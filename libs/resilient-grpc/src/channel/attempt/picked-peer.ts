import type { Channel, experimental } from '@grpc/grpc-js';

/** Result of `getPeer()` of grpc-js's call before an attempt is committed. */
const UNKNOWN_PEER = 'unknown';

/** Returns the address of the connection that was picked for `call`, a call of `channel`; `undefined` if none was. */
export function pickedPeer(
  call: Pick<experimental.CallStream, 'getPeer'>,
  channel: Pick<Channel, 'getTarget'>,
): string | undefined {
  const peer = call.getPeer();
  // Without a connection grpc-js returns 'unknown', or the channel's target, which has a scheme.
  return peer === UNKNOWN_PEER || peer === channel.getTarget() ? undefined : peer;
}
