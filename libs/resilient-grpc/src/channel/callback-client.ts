import type { Channel, Interceptor, ServiceDefinition } from '@grpc/grpc-js';
import type { MethodDescriptor } from '../call/method.js';
import { insecureCredentials } from './channel-checks.js';
import * as imported from '@grpc/grpc-js';

/** Creates a generated grpc-js client on `channel`, for code that needs callbacks. */
export function callbackClient(
  service: string,
  methods: ReadonlyMap<string, MethodDescriptor> | undefined,
  channel: Channel,
  interceptors: readonly Interceptor[],
): unknown {
  const members = [...(methods ?? [])].map(([name, method]) => [name, { ...method, originalName: method.alias }]);
  // Safe: generated clients read the path, the stream flags, both codecs, and the optional original name.
  const definition = Object.fromEntries(members) as unknown as ServiceDefinition;
  const Client = requiredGrpcJs().makeGenericClientConstructor(definition, service);
  return new Client(channel.getTarget(), insecureCredentials(), {
    channelOverride: channel,
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
