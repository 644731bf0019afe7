import type { ChannelSettings } from '../../libs/resilient-grpc/src/channel/channel-settings.js';
import { insecureCredentials } from '../../libs/resilient-grpc/src/channel/channel-checks.js';

/** Creates channel settings for tests, and a function that rotates their credentials. */
export function channelSettings(changes: Partial<ChannelSettings> & Pick<ChannelSettings, 'target'>): {
  readonly settings: ChannelSettings;
  readonly rotate: () => void;
} {
  let rotate = (): void => undefined;
  const settings: ChannelSettings = {
    transport: 'socket',
    credentials: {
      current: insecureCredentials(),
      watch: (rotated) => {
        rotate = rotated;
        return () => undefined;
      },
      close: () => undefined,
    },
    outageGraceMs: 5_000,
    releaseWithinMs: 15_000,
    maxWaitingCalls: 10,
    maxWaitingBytes: 1_000,
    connection: 'on-demand',
    loadBalancing: [{ pick_first: {} }],
    connectTimeoutMs: 20_000,
    maxConnectionAgeMs: undefined,
    maxConnectionsPerEndpoint: 1,
    channelOptions: {},
    ...changes,
  };
  return {
    settings,
    rotate: () => {
      rotate();
    },
  };
}
