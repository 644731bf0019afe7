/** Minimum silence to report, in milliseconds. Shorter pauses are common. */
const MIN_SILENCE_MS = 250;
/** Minimum silence in milliseconds that suggests a lost connection rather than a slow method. */
const MIN_SUSPICIOUS_MS = 5_000;
/**
 * Maximum time in milliseconds from the start of an attempt to the start of the observed silence, and maximum age of the latest check. This
 * time spans two checks of the connection.
 */
const MAX_CHECK_LAG_MS = 500;

/** Received bytes of a connection, as its periodic checks found them. Times are monotonic milliseconds. */
export interface ReceivedBytes {
  readonly bytesRead: number;
  /** Time of the first check that found `bytesRead`. */
  readonly since: number;
  readonly checkedAt: number;
}

export function checkReceived(last: ReceivedBytes | undefined, bytesRead: number, now: number): ReceivedBytes {
  return { bytesRead, since: last?.bytesRead === bytesRead ? last.since : now, checkedAt: now };
}

/**
 * Returns the time for which a connection received nothing during an attempt that was running from `startedAt` to `now`. If the silence
 * began before `countFrom`, it is counted from `countFrom`.
 *
 * Returns `undefined` if data arrived since the latest check, or if the silence is short or began more than 500 ms after `startedAt`. Also
 * returns `undefined` if the latest check is missing or old: this process may have been blocked, with unread data.
 */
export function silenceMs(
  last: ReceivedBytes | undefined,
  bytesRead: number,
  startedAt: number,
  now: number,
  countFrom = startedAt,
): number | undefined {
  if (last?.bytesRead !== bytesRead || now - last.checkedAt > MAX_CHECK_LAG_MS) return undefined;
  if (last.since - startedAt > MAX_CHECK_LAG_MS) return undefined;
  const silentMs = now - Math.max(last.since, countFrom);
  return silentMs >= MIN_SILENCE_MS ? silentMs : undefined;
}

/** Describes the silence and what to do, for the error of an attempt that took too long. */
export function silenceRemedy(silentMs: number, hasKeepalive: boolean): string {
  const keepalive = hasKeepalive ? '' : '; set keepalive to detect connections that no longer respond';
  const remedy = silentMs < MIN_SUSPICIOUS_MS ? '; if it is only slow, raise the timeout' : keepalive;
  return `nothing received on the connection for ${(silentMs / 1_000).toFixed(1)} s: the server is slow, stuck, or unreachable${remedy}`;
}
