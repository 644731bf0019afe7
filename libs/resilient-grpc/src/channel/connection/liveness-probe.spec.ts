import type { experimental } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { LivenessProbe } from './liveness-probe.js';

type SubchannelInterface = experimental.SubchannelInterface;

// load-balancing-policy.spec.ts and dead-connections.spec.ts test the probe itself on sockets.
describe('LivenessProbe.of', () => {
  const session = { ping: () => true };
  const getChannel = () => ({});

  it.each<[string, boolean, object, unknown]>([
    [
      'creates a liveness probe if grpc-js has the private names that the probe needs',
      true,
      { transport: { session } },
      getChannel,
    ],
    ['creates no liveness probe if the connection is not READY', false, { transport: null }, getChannel],
    ['creates no liveness probe if grpc-js stores sessions elsewhere', false, {}, getChannel],
    ['creates no liveness probe if HTTP/2 sessions have no ping()', false, { transport: { session: {} } }, getChannel],
    [
      'creates no liveness probe if grpc-js cannot bind a call to one connection',
      false,
      { transport: { session } },
      undefined,
    ],
  ])('%s', (_, isThere, real, channelOf) => {
    const subchannel = { getRealSubchannel: () => real, getChannel: channelOf } as unknown as SubchannelInterface;
    expect(LivenessProbe.of(subchannel) !== undefined).toBe(isThere);
  });
});
