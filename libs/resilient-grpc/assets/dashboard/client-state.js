import { age, counted, duration, percent } from './format.js';

/** Maximum time range shown, in milliseconds. */
const SHOWN_MS = 10 * 60_000;
const WINDOWS_MS = [60_000, 120_000, 300_000, SHOWN_MS];
/** Minimum time range over which a current rate is averaged, in milliseconds, if enough samples exist. */
const RATE_MS = 5_000;
/** Codes that indicate a problem with the server or the connection. All others describe the request. */
const FAULTS = new Set([
  'UNAVAILABLE',
  'DEADLINE_EXCEEDED',
  'INTERNAL',
  'UNKNOWN',
  'DATA_LOSS',
  'RESOURCE_EXHAUSTED',
  'UNIMPLEMENTED',
]);
/** Minimum share of faults among the recently ended calls of a failing client. Applies only if at least five calls ended. */
const BAD_SHARE = 0.05;

/** Returns the time range to show before `now`, in milliseconds, if the data starts at `oldest`. */
export function shownMs(oldest, now) {
  return WINDOWS_MS.find((ms) => ms >= now - oldest) ?? SHOWN_MS;
}

/** Returns the number of faults in `codes`. A status such as NOT_FOUND is a correct response, not a fault. */
export function faultsOf(codes) {
  return Object.entries(codes).reduce((sum, [code, number]) => (FAULTS.has(code) ? sum + number : sum), 0);
}

/** Words and tones for the channel states of gRPC. */
export const STATES = {
  READY: { word: 'connected', tone: 'ok' },
  IDLE: { word: 'idle', tone: 'off' },
  CONNECTING: { word: 'connecting', tone: 'warn' },
  TRANSIENT_FAILURE: { word: 'unreachable', tone: 'bad' },
  SHUTDOWN: { word: 'closed', tone: 'off' },
};

/** State of one client: its latest snapshot, and samples of its counters. */
export class ClientState {
  /** One column per field, in the order of `fields`. */
  samples = [];

  constructor(key, fields) {
    this.key = key;
    this.fields = fields;
    this.samples = fields.map(() => []);
  }

  /** Replaces the snapshot. Discards the samples if the client was recreated. */
  takeWhole(properties) {
    // The counters of a recreated client start at zero.
    if (this.snapshot !== undefined && properties.createdAt !== this.snapshot.createdAt)
      this.samples = this.fields.map(() => []);
    this.snapshot = properties;
  }

  /** Merges changed properties and samples the counters. */
  take(properties, at) {
    const createdAt = this.snapshot?.createdAt;
    if (this.snapshot === undefined || (properties.createdAt ?? createdAt) !== createdAt) this.takeWhole(properties);
    else this.snapshot = { ...this.snapshot, ...properties };
    this.#sample(at);
  }

  /** Prepends samples that the process took earlier. Uses them only if they start before the existing samples. */
  takeSamples(rows) {
    const known = this.samples[0];
    if (rows.length === 0 || (known.length > 0 && known[0] <= rows[0][0])) return;
    const newer = this.samples.map((column) => column.filter((_value, i) => known[i] > rows.at(-1)[0]));
    this.samples = this.fields.map((_field, i) => [...rows.map((row) => row[i]), ...newer[i]]);
  }

  /** Start of the available data, in milliseconds since 1970. */
  get oldest() {
    return Math.min(Date.parse(this.snapshot.createdAt), ...this.samples[0].slice(0, 1));
  }

  /** Returns rates per second between samples: times in seconds, then one column for each of `fields`. */
  rates(fields) {
    const at = this.column('at');
    const columns = fields.map((field) => this.column(field));
    const moments = at.slice(1);
    const perSecond = columns.map((column) =>
      moments.map((_moment, i) => ((column[i + 1] - column[i]) * 1_000) / Math.max(at[i + 1] - at[i], 1)),
    );
    return [moments.map((ms) => ms / 1_000), ...perSecond];
  }

  /** Returns the current rate of `field` per second; `undefined` if there are fewer than two samples. */
  rateNow(field) {
    const at = this.column('at');
    const last = at.length - 1;
    if (last < 1) return undefined;
    let first = last - 1;
    while (first > 0 && at[last] - at[first] < RATE_MS) first -= 1;
    const values = this.column(field);
    return ((values[last] - values[first]) * 1_000) / Math.max(at[last] - at[first], 1);
  }

  /** Returns the assessment of the client; see {@link assess}. */
  assess(now) {
    return assess(this.snapshot, now, this.rateNow('failed') === 0 && this.rateNow('succeeded') > 0);
  }

  column(field) {
    return this.samples[this.fields.indexOf(field)] ?? [];
  }

  /** Adds a sample of the current counters. Keeps about one sample per second. */
  #sample(at) {
    this.at = at;
    const { counters, waiting } = this.snapshot;
    const row = this.fields.map((field) => (field === 'at' ? at : field === 'waiting' ? waiting : counters[field]));
    const moments = this.samples[0];
    // Within a second, the last sample is replaced, so that the chart ends with current values. No rate can be computed between two samples
    // taken at the same time.
    if (at - moments.at(-1) < 100 || at - moments.at(-2) < 900) for (const column of this.samples) column.pop();
    this.samples.forEach((column, i) => column.push(row[i]));
    while (moments[0] < at - SHOWN_MS) for (const column of this.samples) column.shift();
  }
}

/**
 * Returns the assessment of a client: a tone (bad, warn, ok, off), a rank (higher is worse), a word, and an explanation. `now` is in
 * milliseconds since 1970, by the clock of the process. `isClean` is true if calls succeeded in the last few seconds and none failed.
 */
export function assess({ connectivity, circuits, recent, waiting, waitingForStream, drain }, now, isClean) {
  const { state, outage, lastError, silence } = connectivity;
  const because = lastError === undefined ? '' : `: ${lastError}`;
  if (drain.state === 'closed' || state === 'SHUTDOWN')
    return { tone: 'off', rank: 1, word: 'Closed', sentence: 'The client accepts no calls.' };
  if (outage !== undefined) {
    const outageAge = age(now - new Date(outage.since));
    const left = new Date(outage.graceEndsAt) - now;
    const flaps = outage.flapping ? 'The connection is flapping. ' : '';
    if (state === 'READY' || left > 0) {
      const calls =
        waiting === 0 ? 'calls fail' : `${counted(waiting, 'waiting call')} fail${waiting === 1 ? 's' : ''}`;
      const sentence =
        state === 'READY'
          ? `${flaps}Reconnected after ${outageAge}; not confirmed yet.`
          : `${flaps}No connection for ${outageAge}; ${calls} in ${duration(Math.max(left, 100))}${because}`;
      return { tone: outage.flapping ? 'bad' : 'warn', rank: outage.flapping ? 7 : 6, word: 'Outage', sentence };
    }
    return {
      tone: 'bad',
      rank: 8,
      word: 'Down',
      sentence: `${flaps}No connection for ${outageAge}; calls fail${because}`,
    };
  }
  if (drain.state !== 'none')
    return { tone: 'warn', rank: 3, word: 'Draining', sentence: 'No new calls are accepted; open calls may finish.' };
  const open = circuits.filter((circuit) => circuit.state !== 'closed');
  if (open.length > 0) {
    const paths = open.map(({ path }) => path).join(', ');
    return { tone: 'bad', rank: 5, word: 'Circuit open', sentence: `Calls to ${paths} are rejected by the client.` };
  }
  if (state === 'TRANSIENT_FAILURE')
    return { tone: 'bad', rank: 5, word: 'Unreachable', sentence: `The last connection attempt failed${because}` };
  if (silence !== undefined)
    return {
      tone: 'bad',
      rank: 4.5,
      word: 'No answer',
      sentence: `Connected, but nothing has arrived for ${age(now - new Date(silence.since))}; ${counted(silence.calls, 'call')} ${silence.calls === 1 ? 'waits' : 'wait'}.`,
    };
  const faults = faultsOf(recent.codes);
  // Where little is called, two calls are enough if both have failed.
  const isEnough = recent.ended >= 5 || (recent.ended >= 2 && faults === recent.ended);
  if (isEnough && faults / recent.ended >= BAD_SHARE) {
    const codes = Object.keys(recent.codes).filter((code) => FAULTS.has(code));
    const share = `${percent(faults, recent.ended)} of calls failed in the last ${age(recent.windowMs)}: ${codes.join(', ')}`;
    return isClean
      ? { tone: 'warn', rank: 3.2, word: 'Recovered', sentence: `Calls succeed again; ${share}` }
      : { tone: 'bad', rank: 4, word: 'Failing', sentence: state === 'READY' ? `Connected, but ${share}` : share };
  }
  if (state === 'READY' && waitingForStream > 0) {
    const calls = waitingForStream === 1 ? '1 call waits' : `${counted(waitingForStream, 'call')} wait`;
    return {
      tone: 'warn',
      rank: 3.6,
      word: 'Stream limit',
      sentence: `Connected; ${calls} because each connection has reached the server's limit on concurrent streams.`,
    };
  }
  if (state === 'READY' && waiting > 0) {
    const calls = waiting === 1 ? '1 waiting call is' : `${counted(waiting, 'waiting call')} are`;
    return {
      tone: 'warn',
      rank: 3.5,
      word: 'Catching up',
      sentence: `Connected; ${calls} being sent at a limited rate.`,
    };
  }
  if (state === 'CONNECTING')
    return { tone: 'warn', rank: 2, word: 'Connecting', sentence: 'Connecting to the server.' };
  if (state === 'IDLE')
    return { tone: 'ok', rank: 0, word: 'Idle', sentence: 'No connection, because no call needs one.' };
  const failed =
    recent.failed > 0 ? `; ${counted(recent.failed, 'call')} failed in the last ${age(recent.windowMs)}` : '';
  return { tone: 'ok', rank: recent.failed > 0 ? 0.5 : 0, word: 'Healthy', sentence: `Connected${failed}.` };
}
