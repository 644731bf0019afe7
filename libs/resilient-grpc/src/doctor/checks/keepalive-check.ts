import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { MIN_KEEPALIVE_TIME_MS } from '../../client/settings/client-options.js';
import { WATCH } from '../../health/health-service.js';
import { counted, duration } from '../../telemetry/log/log-text.js';
import { systemClock } from '../../time/clock.js';
import { resultsOf, type CheckResult } from '../check-result.js';
import { KEEPALIVE_PINGS } from '../doctor-options.js';
import { authorityOf, openConnection, type ConnectParameters } from '../open-connection.js';
import type { TargetAddress } from '../target-address.js';
import { within } from '../time-budget.js';

/** Maximum time in milliseconds to wait for the acknowledgment of the last ping. */
const ACK_TIMEOUT_MS = 5_000;

interface PingResult {
  sent: number;
  acknowledged: number;
  slowestMs: number;
  /** The debug data or code of the server's GOAWAY; `undefined` if none was received. */
  goaway: string | undefined;
  /** True if the GOAWAY had NO_ERROR, for example because of a maximum connection age or a restart. */
  closedCleanly: boolean;
  closed: boolean;
  /** True if a call was open during the pings. By default, clients send keepalive pings only during calls. */
  withCall: boolean;
}

/** Checks whether the server tolerates a ping every `everyMs` milliseconds, on a separate connection with an open call. */
export async function keepaliveCheck(
  address: TargetAddress,
  parameters: ConnectParameters,
  everyMs: number,
): Promise<CheckResult> {
  const { socket, failure } = await openConnection(address, parameters);
  if (failure !== undefined) {
    socket.destroy();
    return resultsOf('keepalive')('skipped', `no connection: ${failure.message}`);
  }
  const scheme = parameters.tls === undefined ? 'http' : 'https';
  const authority = authorityOf(parameters.canonicalTarget);
  const session = connect(`${scheme}://${authority}`, { createConnection: () => socket });
  try {
    return pingCheck(await sendPings(session, authority, everyMs), everyMs);
  } finally {
    session.destroy();
    socket.destroy();
  }
}

async function sendPings(session: ClientHttp2Session, authority: string, everyMs: number): Promise<PingResult> {
  const seen: PingResult = {
    sent: 0,
    acknowledged: 0,
    slowestMs: 0,
    goaway: undefined,
    closedCleanly: false,
    closed: false,
    withCall: true,
  };
  const ended = new Promise<'ended'>((resolve) => {
    session.on('error', () => undefined);
    session.on('goaway', (code: number, _last: number, data?: Buffer) => {
      seen.goaway = data?.toString('latin1').slice(0, 60) || `code ${String(code)}`;
      seen.closedCleanly = code === constants.NGHTTP2_NO_ERROR;
    });
    session.on('close', () => {
      seen.closed = true;
      resolve('ended');
    });
  });
  // Listens for 'close', because a call that is reset emits no 'end'. A call that closes because the connection ended still counts as open.
  watch(session, authority).on('close', () => (seen.withCall &&= session.destroyed));
  let acknowledged: (() => void) | undefined;
  while (seen.sent < KEEPALIVE_PINGS) {
    if ((await within<'ended' | 'time'>(everyMs, ended, 'time')) === 'ended') return seen;
    const sentAt = systemClock.now();
    const isLast = seen.sent === KEEPALIVE_PINGS - 1;
    const sent = session.ping((error) => {
      if (error !== null) return;
      seen.acknowledged += 1;
      seen.slowestMs = Math.max(seen.slowestMs, systemClock.now() - sentAt);
      if (isLast) acknowledged?.();
    });
    if (!sent) return seen;
    seen.sent += 1;
  }
  const answered = new Promise<'answered'>((resolve) => (acknowledged = () => resolve('answered')));
  await within<string>(ACK_TIMEOUT_MS, Promise.race([ended, answered]), 'late');
  return seen;
}

/**
 * Opens a `Watch` call, because servers apply different ping limits to connections without calls. The call stays open if the server
 * implements `Watch`.
 */
function watch(session: ClientHttp2Session, authority: string): ClientHttp2Stream {
  const stream = session.request({
    ':method': 'POST',
    ':authority': authority,
    ':path': WATCH.path,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  stream.on('error', () => undefined);
  stream.resume();
  // The 5-byte prefix of an empty message: { service: '' }.
  stream.end(Buffer.alloc(5));
  return stream;
}

function pingCheck(seen: PingResult, everyMs: number): CheckResult {
  const result = resultsOf('keepalive', { everyMs, ...seen, slowestMs: Math.round(seen.slowestMs) });
  const pace = `${counted(seen.sent, 'ping')}, one every ${duration(everyMs)}`;
  if (seen.closedCleanly) {
    const message = `the server closed the connection cleanly after ${pace}: GOAWAY ${String(seen.goaway)}`;
    const remedy =
      'the usual cause is a maximum connection age or a restart; try again, or use a shorter ping interval';
    return result('warning', message, remedy);
  }
  if (seen.goaway !== undefined) {
    const remedy =
      'increase keepalive.keepaliveTimeMs in the client (most servers allow 300000), disable keepalive, or permit this interval on the server (EnforcementPolicy)';
    return result('failed', `the server closed the connection after ${pace}: GOAWAY ${seen.goaway}`, remedy);
  }
  if (seen.closed) {
    const remedy = 'check the log of the server, or of a proxy in front of it';
    return result('failed', `the connection was closed after ${pace}`, remedy);
  }
  if (seen.acknowledged < seen.sent) {
    const remedy =
      'check whether the server process is frozen; a client with this keepalive would close the connection';
    return result('failed', `${String(seen.acknowledged)} of ${pace}, were acknowledged`, remedy);
  }
  const alone = seen.withCall ? '' : ', without an open call';
  const raised =
    everyMs < MIN_KEEPALIVE_TIME_MS
      ? `; clients of this library wait at least ${duration(MIN_KEEPALIVE_TIME_MS)} between pings`
      : '';
  return result('ok', `${pace}${alone}: all acknowledged within ${duration(seen.slowestMs)}${raised}`);
}
