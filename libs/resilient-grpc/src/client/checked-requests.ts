import { checkedSerializer, type MessageChecks } from '../messages/checked-serializer.js';
import type { Services } from './settings/contract.js';

/** Returns a copy of `services` whose methods check their requests. */
export function withCheckedRequests(services: Services, checks: MessageChecks): Services {
  const copies = [...services].map(([service, methods]) => {
    const checked = [...methods].map(([name, method]) => {
      const requestSerialize = checkedSerializer(method, method.requestSerialize, 'request', checks);
      return [name, { ...method, requestSerialize }] as const;
    });
    return [service, new Map(checked)] as const;
  });
  return new Map(copies);
}
