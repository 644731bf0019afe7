import { makeGenericClientConstructor, type Channel, type Interceptor, type ServiceDefinition } from '@grpc/grpc-js';
import type { MethodDescriptor } from '../call/method.js';
import { insecureCredentials } from './channel-checks.js';
import type { ResendBounds } from './foreign-call.js';
import type { ManagedChannel } from './managed-channel.js';

/**
 * grpc-js's generated client on the managed channel, for code that needs callbacks. Closing it closes nothing: the channel is
 * shared.
 */
export function callbackClient(
  service: string,
  methods: ReadonlyMap<string, MethodDescriptor> | undefined,
  channel: ManagedChannel,
  interceptors: readonly Interceptor[],
  bounds: ResendBounds,
): unknown {
  const members = [...(methods ?? [])].map(([name, method]) => [name, { ...method, originalName: method.alias }]);
  // True: generated clients read path, kinds, the two codecs and the other name, and all of that is in here.
  const definition = Object.fromEntries(members) as unknown as ServiceDefinition;
  const Client = makeGenericClientConstructor(definition, service);
  return new Client(channel.target, insecureCredentials(), {
    channelOverride: sharedChannel(channel, bounds),
    ...(interceptors.length === 0 ? {} : { interceptors: [...interceptors] }),
  });
}

/** grpc-js's channel as it is at each call: it may be replaced by another. */
function sharedChannel(channel: ManagedChannel, bounds: ResendBounds): Channel {
  const facade: Channel = {
    // Whoever closes one of two clients on a channel would kill the other.
    close: () => undefined,
    getTarget: () => channel.wire.getTarget(),
    getConnectivityState: (connect) => channel.wire.getConnectivityState(connect && !channel.isClosed),
    watchConnectivityState: (state, deadline, callback) => {
      channel.wire.watchConnectivityState(state, deadline, callback);
    },
    getChannelzRef: () => channel.wire.getChannelzRef(),
    createCall: (...args) => channel.createForeignCall(bounds, args),
  } as Channel;
  return facade;
}
