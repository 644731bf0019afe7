import { MIN_KEEPALIVE_TIME_MS } from '../client/settings/client-options.js';
import { counted, duration } from '../telemetry/log/log-text.js';
import { systemClock } from '../time/clock.js';
import { resultsOf, type CheckResult } from './check-result.js';
import { openSession, type ConnectParameters, type Session } from './connection.js';
import { KEEPALIVE_PINGS } from './doctor-options.js';
import type { TargetAddress } from './target-check.js';
import { within } from './time-limit.js';

const ACK_TIMEOUT_MS = 5_000;

/** Checks whether the server tolerates a ping every `everyMs` milliseconds, on a separate connection with an open call. */
export async function keepaliveCheck(
  address: TargetAddress,
  parameters: ConnectParameters,
  everyMs: number,
): Promise<CheckResult> {
  const { session, probe } = await openSession(address, parameters);
  if (session === undefined)
    return resultsOf('keepalive')(
      'skipped',
      `no connection: ${probe.failure?.message ?? 'the certificate was rejected'}`,
    );
  try {
    return await pingCheck(session, everyMs);
  } finally {
    session.close();
  }
}

async function pingCheck(session: Session, everyMs: number): Promise<CheckResult> {
  // Servers apply different ping limits to connections without calls. By default, clients send keepalive pings only during calls.
  const call = { isOpen: true };
  session.watch(() => (call.isOpen = false));
  const pings: Promise<number | undefined>[] = [];
  while (pings.length < KEEPALIVE_PINGS && (await within<string>(everyMs, session.ended, 'time')) !== 'ended') {
    const sentAt = systemClock.now();
    const answer = session.ping(ACK_TIMEOUT_MS);
    pings.push(answer.then((how) => (how === 'answered' ? systemClock.now() - sentAt : undefined)));
  }
  const tookMs = (await Promise.all(pings)).filter((ms) => ms !== undefined);
  const { end } = session;
  const sent = pings.length;
  const slowestMs = Math.round(Math.max(0, ...tookMs));
  const facts = { everyMs, sent, acknowledged: tookMs.length, slowestMs, withCall: call.isOpen, end };
  const result = resultsOf('keepalive', facts);
  const pace = `${counted(sent, 'ping')}, one every ${duration(everyMs)}`;
  if (end?.how === 'goaway') {
    const isPlanned = end.code === 0;
    const how = `the server closed the connection${isPlanned ? ' cleanly' : ''} after ${pace}: GOAWAY ${end.details ?? ''}`;
    const remedy = isPlanned
      ? 'the usual cause is a maximum connection age or a restart; try again, or use a shorter ping interval'
      : 'increase keepalive.keepaliveTimeMs in the client (most servers allow 300000), disable keepalive, or permit this interval on the server (EnforcementPolicy)';
    return result(isPlanned ? 'warning' : 'failed', how.trim(), remedy);
  }
  if (end !== undefined) {
    const remedy = 'check the log of the server, or of a proxy in front of it';
    return result('failed', `the connection was closed after ${pace}`, remedy);
  }
  if (tookMs.length < sent) {
    const remedy =
      'check whether the server process is frozen; a client with this keepalive would close the connection';
    return result('failed', `${String(tookMs.length)} of ${pace}, were acknowledged`, remedy);
  }
  const alone = call.isOpen ? '' : ', without an open call';
  const raised =
    everyMs < MIN_KEEPALIVE_TIME_MS
      ? `; clients of this library wait at least ${duration(MIN_KEEPALIVE_TIME_MS)} between pings`
      : '';
  return result('ok', `${pace}${alone}: all acknowledged within ${duration(slowestMs)}${raised}`);
}
