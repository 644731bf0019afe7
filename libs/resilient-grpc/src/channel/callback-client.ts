import type { Channel, Interceptor, ServiceDefinition } from '@grpc/grpc-js';
import type { MethodDescriptor } from '../call/method.js';
import { insecureCredentials } from './channel-checks.js';
import type { ResendBounds } from './callback-call.js';
import type { ManagedChannel } from './managed-channel.js';
import { requiredGrpcJs } from './required-grpc-js.js';

/**
 * Creates a generated grpc-js client on the managed channel, for code that needs callbacks. Its `close()` has no effect, because the
 * channel is shared.
 */
export function callbackClient(
  service: string,
  methods: ReadonlyMap<string, MethodDescriptor> | undefined,
  channel: ManagedChannel,
  interceptors: readonly Interceptor[],
  bounds: ResendBounds,
): unknown {
  const members = [...(methods ?? [])].map(([name, method]) => [name, { ...method, originalName: method.alias }]);
  // Safe: generated clients read the path, the stream flags, both codecs, and the optional original name.
  const definition = Object.fromEntries(members) as unknown as ServiceDefinition;
  const unary = new Set([...(methods ?? [])].flatMap(([, { kind, path }]) => (kind === 'unary' ? [path] : [])));
  const Client = requiredGrpcJs().makeGenericClientConstructor(definition, service);
  return new Client(channel.target, insecureCredentials(), {
    channelOverride: sharedChannel(channel, unary, bounds),
    ...(interceptors.length === 0 ? {} : { interceptors: [...interceptors] }),
  });
}

/** Returns a channel that delegates to the current grpc-js channel, which may be replaced between calls. */
function sharedChannel(channel: ManagedChannel, unary: ReadonlySet<string>, bounds: ResendBounds): Channel {
  const { replayLimits, trustRefusedStreams } = bounds;
  return {
    // Closing one of two clients on a channel would break the other.
    close: () => undefined,
    getTarget: () => channel.current.channel.getTarget(),
    getConnectivityState: (connect) => channel.current.channel.getConnectivityState(connect && !channel.isClosed),
    watchConnectivityState: (state, deadline, callback) => {
      channel.current.channel.watchConnectivityState(state, deadline, callback);
    },
    getChannelzRef: () => channel.current.channel.getChannelzRef(),
    createCall: (...args) =>
      channel.createCallbackCall({ replayLimits, trustRefusedStreams, isUnary: unary.has(args[0]) }, args),
  } as Channel;
}
