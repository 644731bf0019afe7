// Clients in a separate process: closed loops that measure the capacity of a server, and an open loop that sends calls at a constant rate,
// regardless of the number of unanswered calls.
import { connect as http2Connect, constants } from 'node:http2';
import { setTimeout as wait } from 'node:timers/promises';
import { status as Code } from '@grpc/grpc-js';
import { framed } from './contenders/http2.mjs';
import { loadService } from './load-contract.mjs';
import { executeCommands } from './child.mjs';
import { nearestRank } from './statistics.mjs';

const { Get, Watch } = loadService();

/** @typedef {{ readonly code: number, readonly ms: number, readonly sentAt: number }} Result */

/** Connection of the load. @type {import('node:http2').ClientHttp2Session} */
let session;
/** Connection of the health checks and the response stream. @type {import('node:http2').ClientHttp2Session} */
let sideSession;

/** @param {{ address: string }} given */
function connect({ address }) {
  openSession(address);
  sideSession = http2Connect(`http://${address}`).on('error', ignore);
}

/**
 * Opens the connection of the load, and a new one whenever the server sends GOAWAY, like a gRPC client. A Node server sends GOAWAY after
 * about 1,000 stream resets, which an overloaded server receives when calls expire.
 *
 * @param {string} address
 */
function openSession(address) {
  // Raises the memory limit of the session, because thousands of calls are open at once under overload.
  session = http2Connect(`http://${address}`, { maxSessionMemory: 1_000 });
  session.on('error', ignore).once('goaway', () => {
    openSession(address);
  });
}

const HEADERS = { ':method': 'POST', ':path': Get.path, 'content-type': 'application/grpc', te: 'trailers' };

/**
 * Sends a call without grpc-js, which uses more than twice the CPU time. The clients should slow down the server as little as possible,
 * because both may run on one core.
 *
 * @param {number} deadlineMs
 * @param {(result: Result) => void} done
 */
function call(deadlineMs, done) {
  const sentAt = performance.now();
  const hasDeadline = deadlineMs !== Infinity;
  const stream = session.request(hasDeadline ? { ...HEADERS, 'grpc-timeout': `${String(deadlineMs)}m` } : HEADERS);
  let code = Code.UNAVAILABLE;
  let isOpen = true;
  const end = () => {
    if (!isOpen) return;
    isOpen = false;
    clearTimeout(timer);
    done({ code, ms: performance.now() - sentAt, sentAt });
  };
  const expire = () => {
    code = Code.DEADLINE_EXCEEDED;
    end();
    stream.close(constants.NGHTTP2_CANCEL);
  };
  const timer = hasDeadline ? setTimeout(expire, deadlineMs) : undefined;
  /** @param {import('node:http2').IncomingHttpHeaders} headers */
  const readStatus = ({ 'grpc-status': status }) => {
    if (status !== undefined) code = Number(status);
  };
  stream.on('response', readStatus).on('trailers', readStatus).on('error', ignore).on('close', end).resume();
  stream.end(framed(Get.requestSerialize({ id: String(hasDeadline ? Date.now() + deadlineMs : Infinity) })));
}

/**
 * Measures the capacity: `inFlight` callers, each of which calls again as soon as it has a response.
 *
 * @param {{ seconds: number, inFlight: number }} given
 * @returns {Promise<{ perSecond: number }>}
 */
async function capacity({ seconds, inFlight }) {
  let ended = 0;
  const startedAt = performance.now();
  const endsAt = startedAt + seconds * 1_000;
  const callers = Array.from({ length: inFlight }, async () => {
    while (performance.now() < endsAt) {
      await new Promise((resolve) => call(Infinity, resolve));
      ended += 1;
    }
  });
  await Promise.all(callers);
  return { perSecond: (ended / (performance.now() - startedAt)) * 1_000 };
}

/**
 * Sends calls at a constant rate, together with health checks and a stream, and measures the time until the server recovers.
 *
 * @param {{ perSecond: number, seconds: number, deadlineMs: number, health: boolean }} given
 */
async function load({ perSecond, seconds, deadlineMs, health }) {
  const side = observeOthers(health);
  const startedAt = performance.now();
  const results = await openLoop(perSecond, seconds, deadlineMs);
  const endedAt = performance.now();
  const goodAgainMs = await awaitRecovery(endedAt);
  await wait(Math.max(0, endedAt + deadlineMs + 200 - performance.now()));
  const others = await side();
  const served = results.filter(({ code }) => code === Code.OK);
  const afterFirstSecond = served.filter(({ sentAt }) => sentAt - startedAt >= 1_000);
  const refused = results.filter(({ code }) => code === Code.RESOURCE_EXHAUSTED);
  const msOf = (of, share) =>
    of.length === 0
      ? undefined
      : nearestRank(
          of.map(({ ms }) => ms),
          share,
        );
  return {
    offered: results.length,
    // Counts only responses received while calls were being sent, so that the rate is comparable to the capacity.
    goodPerSecond: served.filter(({ sentAt, ms }) => sentAt + ms <= endedAt).length / seconds,
    good: served.length,
    refused: refused.length,
    expired: results.filter(({ code }) => code === Code.DEADLINE_EXCEEDED).length,
    lost: results.filter(({ code }) => code === Code.UNAVAILABLE || code === Code.CANCELLED).length,
    unanswered: Math.round(perSecond * seconds) - results.length,
    p99Ms: msOf(afterFirstSecond, 0.99),
    refusalMs: msOf(refused, 0.5),
    goodAgainMs,
    ...others,
  };
}

/**
 * @param {number} perSecond
 * @param {number} seconds
 * @param {number} deadlineMs
 * @returns {Promise<Result[]>} The results so far. The array grows until all calls have ended.
 */
async function openLoop(perSecond, seconds, deadlineMs) {
  /** @type {Result[]} */
  const results = [];
  const startedAt = performance.now();
  let sent = 0;
  const total = Math.round(perSecond * seconds);
  while (sent < total) {
    const due = Math.min(total, Math.ceil(((performance.now() - startedAt) / 1_000) * perSecond));
    for (; sent < due; sent++) call(deadlineMs, (result) => results.push(result));
    await wait(1);
  }
  return results;
}

const PROBE_INTERVAL_MS = 50;
const PROBES = 5;
const MAX_PROBE_MS = 200;
const MAX_WAIT_MS = 30_000;

/**
 * @param {number} endedAt
 * @returns {Promise<number>} Milliseconds from the end of the load to the first of PROBES consecutive successful responses that each take
 *   at most MAX_PROBE_MS; MAX_WAIT_MS if the server does not recover within that time.
 */
async function awaitRecovery(endedAt) {
  /** @type {Result[]} */
  let row = [];
  while (performance.now() < endedAt + MAX_WAIT_MS) {
    /** @type {Result} */
    const result = await new Promise((resolve) => call(1_000, resolve));
    row = result.code === Code.OK && result.ms <= MAX_PROBE_MS ? [...row, result] : [];
    const [first] = row;
    if (first !== undefined && row.length === PROBES) return first.sentAt + first.ms - endedAt;
    await wait(PROBE_INTERVAL_MS);
  }
  return MAX_WAIT_MS;
}

/**
 * Observes a response stream and, if `health` is true, a health check every 100 ms, on a second connection.
 *
 * @param {boolean} health
 */
function observeOthers(health) {
  /** @type {number[]} */
  const checks = [];
  /** @type {number[]} */
  const gaps = [];
  let lastAt = performance.now();
  const request = (path, message) => {
    const stream = sideSession.request({ ...HEADERS, ':path': path }).on('error', ignore);
    stream.end(framed(message));
    return stream;
  };
  const messages = request(Watch.path, Watch.requestSerialize({ count: 0, size: 0 })).on('data', () => {
    gaps.push(performance.now() - lastAt);
    lastAt = performance.now();
  });
  const timer = setInterval(() => {
    if (!health) return;
    const sentAt = performance.now();
    const check = request('/grpc.health.v1.Health/Check', Buffer.alloc(0)).resume();
    check.on('close', () => checks.push(performance.now() - sentAt));
  }, 100);
  return async () => {
    clearInterval(timer);
    messages.close(constants.NGHTTP2_CANCEL);
    await wait(10);
    return {
      healthP99Ms: checks.length === 0 ? undefined : nearestRank(checks, 0.99),
      maxGapMs: gaps.length === 0 ? undefined : Math.max(...gaps),
    };
  };
}

function ignore() {
  // The event is not used.
}

executeCommands({ connect, capacity, load });
