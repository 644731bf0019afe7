import type { MethodDefinition, PackageDefinition } from '@grpc/proto-loader';
import { checkedSerializer, type MessageChecks } from '../messages/checked-serializer.js';
import { filesOf } from '../messages/file-descriptors.js';

/** Returns a copy of `definition` whose methods check their responses. */
export function withCheckedResponses(
  definition: PackageDefinition,
  events: MessageChecks['events'],
): PackageDefinition {
  const checks = { events, rejects: false };
  const copies = Object.entries(definition).map(([name, entry]) => {
    // Messages and enums have a string `format`. An entry without one is a service.
    if (typeof entry.format === 'string') return [name, entry] as const;
    const methods = Object.entries(entry as Readonly<Record<string, MethodDefinition<object, object>>>);
    const checked = methods.map(([key, method]) => {
      const files = filesOf(method);
      const write = checkedSerializer({ path: method.path, files }, method.responseSerialize, 'response', checks);
      return [key, { ...method, responseSerialize: write }] as const;
    });
    return [name, Object.fromEntries(checked)] as const;
  });
  // Safe cast: the entries are those of `definition`, with other serializers.
  return Object.fromEntries(copies) as PackageDefinition;
}
