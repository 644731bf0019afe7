import type { Channel, Interceptor, ServiceDefinition } from '@grpc/grpc-js';
import type { MethodDescriptor } from '../call/method.js';
import { insecureCredentials } from './channel-checks.js';
import type { ManagedChannel } from './managed-channel.js';
import * as imported from '@grpc/grpc-js';

/**
 * Creates a generated grpc-js client, for code that needs callbacks. `createCall` makes its calls; its `close()` has no effect, because the
 * channel is shared.
 */
export function callbackClient(
  service: string,
  methods: ReadonlyMap<string, MethodDescriptor> | undefined,
  channel: ManagedChannel,
  interceptors: readonly Interceptor[],
  createCall: Channel['createCall'],
): unknown {
  const members = [...(methods ?? [])].map(([name, method]) => [name, { ...method, originalName: method.alias }]);
  // Safe: generated clients read the path, the stream flags, both codecs, and the optional original name.
  const definition = Object.fromEntries(members) as unknown as ServiceDefinition;
  const Client = requiredGrpcJs().makeGenericClientConstructor(definition, service);
  // The cast is needed, because grpc-js exports the interface `Channel` as the class that implements it, with a private member.
  const channelOverride = {
    // Closing one of two clients on a channel would break the other.
    close: () => undefined,
    // grpc-js's channel may be replaced between calls.
    getTarget: () => channel.current.channel.getTarget(),
    getConnectivityState: (connect) => channel.current.channel.getConnectivityState(connect && !channel.isClosed),
    watchConnectivityState: (state, deadline, callback) => {
      channel.current.channel.watchConnectivityState(state, deadline, callback);
    },
    getChannelzRef: () => channel.current.channel.getChannelzRef(),
    createCall,
  } as Channel;
  return new Client(channel.target, insecureCredentials(), {
    channelOverride,
    ...(interceptors.length === 0 ? {} : { interceptors: [...interceptors] }),
  });
}

/**
 * Returns the exports of grpc-js after agents have patched them. Agents patch a package when it is first required, and an `import` is not a
 * `require()`. The exports are patched in place, except that `import` has copied the functions that create clients.
 */
export function requiredGrpcJs(): typeof imported {
  try {
    // Not imported, because webpack and rspack replace an import of this function.
    const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);
    // Requires only the copy that was imported. A bundle contains a copy of its own, and must not load another one.
    if (require.cache[require.resolve('@grpc/grpc-js')] !== undefined) {
      const required = require('@grpc/grpc-js') as typeof imported;
      if (required.Client === imported.Client) return required;
    }
  } catch {
    // In a bundle, there may be no grpc-js to resolve, and no `import.meta.url`.
  }
  return imported;
}
