import { X509Certificate } from 'node:crypto';
import type { SecureContextOptions } from 'node:tls';
import type { ServerCredentials } from '@grpc/grpc-js';
import type { EventHub } from '../../call/event-hub.js';
import type { GrpcServerEvent } from '../../call/server-event.js';
import { watchContext } from '../../channel/quirks/unbound-server.js';
import { materialProblems, type TlsMaterial } from '../../channel/tls/tls-material.js';
import { moment, type Clock, type Timer } from '../../time/clock.js';
import type { ServerListener } from '../../transport/socket/server-listener.js';

const DAY_MS = 86_400_000;
/** Time before its end at which a certificate is reported. */
const EXPIRY_NOTICE_MS = 14 * DAY_MS;

/**
 * Has `listeners` use the certificates that `credentials` watch, until the returned function is called. Unusable ones do not replace those in
 * use, and are reported once per change. A certificate that has expired, or is about to, is reported once a day.
 *
 * @param initial what the listeners use; null if it is not loaded yet
 */
export function watchCertificates(
  credentials: ServerCredentials,
  listeners: readonly ServerListener[],
  events: EventHub<GrpcServerEvent>,
  clock: Clock,
  initial: SecureContextOptions | null,
): () => void {
  let inUse = initial;
  let latest: SecureContextOptions | null = null;
  let isDue = false;
  let reported: string | undefined;
  let timer: Timer | undefined;
  const checkExpiry = (): void => {
    timer?.clear();
    timer = clock.setTimer(checkExpiry, DAY_MS);
    const leftMs = expiryOf(inUse) - clock.epoch();
    if (leftMs >= EXPIRY_NOTICE_MS) return;
    const expiresAt = moment(clock.epoch() + leftMs).toISOString();
    events.emit({ type: 'certificate-expiry', expiresAt, isExpired: leftMs <= 0 });
  };
  const use = (): void => {
    isDue = false;
    // Not loaded yet.
    if (latest === null && inUse === null) return;
    const problem = problemOf(latest);
    if (problem === undefined) {
      inUse = latest;
      for (const listener of listeners) listener.setSecureContext(latest ?? undefined);
      checkExpiry();
    } else if (problem !== reported) events.emit({ type: 'tls-reload', problem, isInUse: inUse !== null });
    reported = problem;
  };
  const stop = watchContext(credentials, (updated) => {
    latest = updated;
    // grpc-js passes on the parts of one change one by one.
    if (!isDue) process.nextTick(use);
    isDue = true;
  });
  checkExpiry();
  return () => {
    timer?.clear();
    stop();
  };
}

function problemOf(context: SecureContextOptions | null): string | undefined {
  if (context === null) return 'a file cannot be read';
  const { ca, cert, key } = context;
  // Safe: grpc-js passes on the content of one file for each.
  const material = { ca, cert: Array.isArray(cert) ? cert[0] : cert, key: Array.isArray(key) ? key[0] : key };
  const [first] = materialProblems(material as TlsMaterial);
  return first && `${first.key}: ${first.message}`;
}

/** Returns the earliest end of the certificates; `Infinity` if there are none, or if Node reads them in another form, such as PKCS #12. */
function expiryOf(context: SecureContextOptions | null): number {
  try {
    return Math.min(...[context?.cert ?? []].flat().map((cert) => Date.parse(new X509Certificate(cert).validTo)));
  } catch {
    return Infinity;
  }
}
