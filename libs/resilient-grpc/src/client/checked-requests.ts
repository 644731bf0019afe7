import { withFieldCheck, type FieldCheckEvents } from '../messages/field-check.js';
import { messageTypeOf } from '../messages/message-type.js';
import type { Services } from './settings/contract.js';

/** Returns a copy of `services` whose methods check their requests. */
export function withCheckedRequests(services: Services, events: FieldCheckEvents): Services {
  const copies = [...services].map(([service, methods]) => {
    const checked = [...methods].map(([name, method]) => {
      const { path, requestSerialize, definition } = method;
      const typeOf = () => messageTypeOf(definition, 'request');
      return [name, { ...method, requestSerialize: withFieldCheck(requestSerialize, path, typeOf, events) }] as const;
    });
    return [service, new Map(checked)] as const;
  });
  return new Map(copies);
}
