import { CONTENDERS } from '../contenders.mjs';
import { describeMachine } from '../machine.mjs';

/** Column headers of {@link memoryCells}. */
export const MEMORY_HEAD = ['client heap', 'client RSS', 'server heap', 'server RSS'];

/**
 * Formats memory in MiB.
 *
 * @param {import('./pair.mjs').Memories} memories
 * @returns {string[]}
 */
export function memoryCells({ client, server }) {
  return [client.heap, client.resident, server.heap, server.resident].map((bytes) => (bytes / 1_048_576).toFixed(1));
}

/** Describes the machine and the versions of this library and grpc-js. */
export function ourMachine() {
  return describeMachine(CONTENDERS.slice(0, 2));
}
