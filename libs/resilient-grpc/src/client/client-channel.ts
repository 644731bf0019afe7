import type { Channel } from '@grpc/grpc-js';
import type { ManagedChannel } from '../channel/managed-channel.js';
import type { MethodContext } from './call-context.js';
import { bytesMethod, ChannelCall } from './channel-call.js';
import type { MethodRuntime } from './method-context.js';
import type { GrpcCallOptions } from './resilient-types.js';
import type { ResolvedClientSettings } from './settings/resolved-settings.js';
import type { Services } from './settings/contract.js';

/** What the channel needs of its client. */
export interface ChannelOwner {
  readonly managed: ManagedChannel;
  readonly services: Services;
  readonly settings: Pick<ResolvedClientSettings, 'policies' | 'unlistedPolicy'>;
  readonly runtime: Pick<MethodRuntime, 'contextOf' | 'contextsOf'>;
  /** Target of calls without a peer. */
  readonly target: () => string;
}

/** Creates grpc-js's public channel of a client, whose calls are calls of the client. */
export function clientChannel({ managed, services, settings, runtime, target }: ChannelOwner): Channel {
  const contexts = new Map<string, () => MethodContext>();
  const contextOf = (path: string): MethodContext => {
    const known = contexts.get(path);
    if (known !== undefined) return known();
    const [, service = '', name = ''] = path.split('/');
    const method = bytesMethod(path, services.get(service)?.get(name));
    const fixed = settings.policies.get(path);
    if (fixed === undefined) return runtime.contextOf(method, settings.unlistedPolicy(method));
    const created = runtime.contextsOf(method, fixed);
    contexts.set(path, created);
    return created();
  };
  const channel: Pick<Channel, keyof Channel> = {
    // Closing one of two stubs on the channel would break the other.
    close: () => undefined,
    // grpc-js's channel may be replaced between calls.
    getTarget: () => managed.current.channel.getTarget(),
    getConnectivityState: (connect) => managed.current.channel.getConnectivityState(connect && !managed.isClosed),
    watchConnectivityState: (state, deadline, callback) => {
      managed.current.channel.watchConnectivityState(state, deadline, callback);
    },
    getChannelzRef: () => managed.current.channel.getChannelzRef(),
    createCall(path, deadline, host, parent, flags) {
      const options: GrpcCallOptions = {
        ...(deadline !== Infinity && { deadline }),
        ...(host && { host }),
        // Safe: a server call is of one of the four kinds.
        ...(parent && { parent: parent as NonNullable<GrpcCallOptions['parent']> }),
        ...(typeof flags === 'number' && { propagate_flags: flags }),
      };
      // The interceptors run in the stub.
      return new ChannelCall({ ...contextOf(path), interceptors: undefined }, options, target());
    },
  };
  // The cast is needed, because grpc-js exports the interface `Channel` as the class that implements it, with a private member.
  return channel as Channel;
}
