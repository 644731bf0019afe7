import type { experimental } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { LivenessProbe } from './liveness-probe.js';

type SubchannelInterface = experimental.SubchannelInterface;

// What it does where grpc-js has all of it is proved on sockets, beside the load-balancing policy.
describe('a probe', () => {
  const session = { ping: () => true };
  const getChannel = () => ({});

  it.each<[string, boolean, object, unknown]>([
    ['is there where grpc-js has what it needs', true, { transport: { session } }, getChannel],
    ['is not where no connection is READY', false, { transport: null }, getChannel],
    ['is not where sessions are kept elsewhere', false, {}, getChannel],
    ['is not where sessions cannot be pinged', false, { transport: { session: {} } }, getChannel],
    ['is not where single connections cannot be called on', false, { transport: { session } }, undefined],
  ])('%s', (_, isThere, real, channelOf) => {
    const subchannel = { getRealSubchannel: () => real, getChannel: channelOf } as unknown as SubchannelInterface;
    expect(LivenessProbe.of(subchannel) !== undefined).toBe(isThere);
  });
});
