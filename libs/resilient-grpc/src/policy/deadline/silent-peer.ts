/** Minimum silence to report, in milliseconds. Shorter pauses are common. */
const MIN_SILENCE_MS = 250;
/** Minimum silence in milliseconds that suggests a lost connection rather than a slow method. */
const MIN_SUSPICIOUS_MS = 5_000;
/**
 * Time in milliseconds from the start of an attempt within which the peer may still send what belongs to earlier calls, such as an
 * acknowledgement.
 */
const MAX_LAG_MS = 500;

/**
 * Returns the time for which a connection received nothing during an attempt that was running from `startedAt` to `now`. If the silence
 * began before `countFrom`, it is counted from `countFrom`. Returns `undefined` if the silence is short or began more than 500 ms after
 * `startedAt`.
 *
 * @param readAt time at which the connection last received something
 */
export function silenceMs(readAt: number, startedAt: number, now: number, countFrom: number): number | undefined {
  if (readAt - startedAt > MAX_LAG_MS) return undefined;
  const silentMs = now - Math.max(readAt, countFrom);
  return silentMs >= MIN_SILENCE_MS ? silentMs : undefined;
}

/** Describes the silence and what to do, for the error of an attempt that took too long. */
export function silenceRemedy(silentMs: number, hasKeepalive: boolean): string {
  const keepalive = hasKeepalive ? '' : '; set keepalive to detect connections that no longer respond';
  const remedy = silentMs < MIN_SUSPICIOUS_MS ? '; if it is only slow, raise the timeout' : keepalive;
  return `nothing received on the connection for ${(silentMs / 1_000).toFixed(1)} s: the server is slow, stuck, or unreachable${remedy}`;
}
