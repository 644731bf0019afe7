import type { SecureContextOptions } from 'node:tls';
import type { ServerCredentials } from '@grpc/grpc-js';
import type { EventHub } from '../../call/event-hub.js';
import type { GrpcServerEvent } from '../../call/server-event.js';
import { watchContext } from '../../channel/quirks/unbound-server.js';
import { materialProblems, type TlsMaterial } from '../../channel/tls/tls-material.js';
import type { ServerListener } from '../../transport/socket/server-listener.js';

/**
 * Has `listeners` use the certificates that `credentials` watch, until the returned function is called. Unusable ones do not replace those in
 * use, and are reported once per change.
 */
export function watchCertificates(
  credentials: ServerCredentials,
  listeners: readonly ServerListener[],
  events: EventHub<GrpcServerEvent>,
  isInitiallyInUse: boolean,
): () => void {
  let isInUse = isInitiallyInUse;
  let latest: SecureContextOptions | null = null;
  let isDue = false;
  let reported: string | undefined;
  const use = (): void => {
    isDue = false;
    // Not loaded yet.
    if (latest === null && !isInUse) return;
    const problem = problemOf(latest);
    if (problem === undefined) {
      isInUse = true;
      for (const listener of listeners) listener.setSecureContext(latest ?? undefined);
    } else if (problem !== reported) events.emit({ type: 'tls-reload', problem, isInUse });
    reported = problem;
  };
  return watchContext(credentials, (updated) => {
    latest = updated;
    // grpc-js passes on the parts of one change one by one.
    if (!isDue) process.nextTick(use);
    isDue = true;
  });
}

function problemOf(context: SecureContextOptions | null): string | undefined {
  if (context === null) return 'a file cannot be read';
  const { ca, cert, key } = context;
  // Safe: grpc-js passes on the content of one file for each.
  const material = { ca, cert: Array.isArray(cert) ? cert[0] : cert, key: Array.isArray(key) ? key[0] : key };
  const [first] = materialProblems(material as TlsMaterial);
  return first && `${first.key}: ${first.message}`;
}
