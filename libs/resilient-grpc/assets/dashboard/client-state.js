import { age, counted, duration, percent } from './format.js';

/** How far back the page looks. */
const SHOWN_MS = 10 * 60_000;
const WINDOWS_MS = [60_000, 120_000, 300_000, SHOWN_MS];
/** A rate is that of the last so many seconds. */
const RATE_MS = 5_000;
/** Codes of a server or a connection in trouble; the others speak of the request. */
const FAULTS = new Set([
  'UNAVAILABLE',
  'DEADLINE_EXCEEDED',
  'INTERNAL',
  'UNKNOWN',
  'DATA_LOSS',
  'RESOURCE_EXHAUSTED',
  'UNIMPLEMENTED',
]);
/** From this share of faults on something is wrong that is not the connection. */
const BAD_SHARE = 0.05;

/** How much of the time before `now` is shown where nothing is known from before `oldest`. */
export function shownMs(oldest, now) {
  return WINDOWS_MS.find((ms) => ms >= now - oldest) ?? SHOWN_MS;
}

/** How many of `codes` are faults: a request for what is not there is answered as it should be. */
export function faultsOf(codes) {
  return Object.entries(codes).reduce((sum, [code, times]) => (FAULTS.has(code) ? sum + times : sum), 0);
}

/** What a state of the channel is called here; gRPC's name stands beside it. */
export const STATES = {
  READY: { word: 'connected', tone: 'ok' },
  IDLE: { word: 'idle', tone: 'off' },
  CONNECTING: { word: 'connecting', tone: 'warn' },
  TRANSIENT_FAILURE: { word: 'unreachable', tone: 'bad' },
  SHUTDOWN: { word: 'closed', tone: 'off' },
};

/** One client as it is known here: its snapshot so far, and samples of its counts. */
export class ClientState {
  /** Columns, in the order of the fields that the server names. */
  samples = [];

  constructor(key, fields) {
    this.key = key;
    this.fields = fields;
    this.samples = fields.map(() => []);
  }

  /** Takes all there is: what is not in it is not known any more. */
  takeWhole(properties) {
    // A client that was made anew counts from zero.
    if (this.snapshot !== undefined && properties.createdAt !== this.snapshot.createdAt)
      this.samples = this.fields.map(() => []);
    this.snapshot = properties;
  }

  /** Takes what is new, and the counts of this moment. */
  take(properties, at) {
    const createdAt = this.snapshot?.createdAt;
    if (this.snapshot === undefined || (properties.createdAt ?? createdAt) !== createdAt) this.takeWhole(properties);
    else this.snapshot = { ...this.snapshot, ...properties };
    this.#sample(at);
  }

  /** Samples that the server took while nobody looked; longer ones that are here already stay. */
  takeSamples(rows) {
    const known = this.samples[0];
    if (rows.length === 0 || (known.length > 0 && known[0] <= rows[0][0])) return;
    const later = this.samples.map((column) => column.filter((_value, i) => known[i] > rows.at(-1)[0]));
    this.samples = this.fields.map((_field, i) => [...rows.map((row) => row[i]), ...later[i]]);
  }

  /** Milliseconds since 1970 of what is known first. */
  get oldest() {
    return Math.min(Date.parse(this.snapshot.createdAt), ...this.samples[0].slice(0, 1));
  }

  /** Counts per second between samples: the moments in seconds, then a column for each of `fields`. */
  rates(fields) {
    const at = this.column('at');
    const columns = fields.map((field) => this.column(field));
    const moments = at.slice(1);
    const perSecond = columns.map((column) =>
      moments.map((_moment, i) => ((column[i + 1] - column[i]) * 1_000) / Math.max(at[i + 1] - at[i], 1)),
    );
    return [moments.map((ms) => ms / 1_000), ...perSecond];
  }

  /** What `field` counts in a second, lately; undefined where that is not known yet. */
  rateNow(field) {
    const at = this.column('at');
    const last = at.length - 1;
    if (last < 1) return undefined;
    let first = last - 1;
    while (first > 0 && at[last] - at[first] < RATE_MS) first -= 1;
    const values = this.column(field);
    return ((values[last] - values[first]) * 1_000) / Math.max(at[last] - at[first], 1);
  }

  /** How it is; see {@link assess}. */
  assess(now) {
    return assess(this.snapshot, now, this.rateNow('failed') === 0 && this.rateNow('succeeded') > 0);
  }

  column(field) {
    return this.samples[this.fields.indexOf(field)] ?? [];
  }

  /** Adds the present counts, at most one sample a second. */
  #sample(at) {
    const { counters, waiting } = this.snapshot;
    const row = this.fields.map((field) => (field === 'at' ? at : field === 'waiting' ? waiting : counters[field]));
    const moments = this.samples[0];
    // Within the second the last one moves on, so that what is drawn last is what is; two of one moment are no rate.
    if (at - moments.at(-1) < 100 || at - moments.at(-2) < 900) for (const column of this.samples) column.pop();
    this.samples.forEach((column, i) => column.push(row[i]));
    while (moments[0] < at - SHOWN_MS) for (const column of this.samples) column.shift();
  }
}

/**
 * How a client is: a tone (bad, warn, ok, off), a rank by which the worst comes first, a word, and a sentence that says what it means.
 * `now`: milliseconds since 1970 by the server's clock. `isClean`: in the last seconds calls succeeded, and none failed.
 */
export function assess({ connectivity, circuits, recent, waiting, drain }, now, isClean) {
  const { state, outage, lastError } = connectivity;
  const because = lastError === undefined ? '' : `: ${lastError}`;
  if (drain.state === 'closed' || state === 'SHUTDOWN')
    return { tone: 'off', rank: 1, word: 'Closed', sentence: 'It takes no calls any more.' };
  if (outage !== undefined) {
    const lasts = age(now - new Date(outage.since));
    const left = new Date(outage.graceEndsAt) - now;
    const flaps = outage.flapping ? 'It keeps coming and going. ' : '';
    if (state === 'READY' || left > 0) {
      const calls = waiting > 0 ? `${counted(waiting, 'call')} wait${waiting === 1 ? 's' : ''}` : 'calls wait';
      const sentence =
        state === 'READY'
          ? `${flaps}Connected again after ${lasts}; not proven yet.`
          : `${flaps}No connection for ${lasts}; ${calls}, and fail in ${duration(Math.max(left, 100))}${because}`;
      return { tone: outage.flapping ? 'bad' : 'warn', rank: outage.flapping ? 7 : 6, word: 'Outage', sentence };
    }
    return { tone: 'bad', rank: 8, word: 'Down', sentence: `${flaps}No connection for ${lasts}; calls fail${because}` };
  }
  if (drain.state !== 'none')
    return { tone: 'warn', rank: 3, word: 'Draining', sentence: 'It begins no calls and lets those that run finish.' };
  const open = circuits.filter((circuit) => circuit.state !== 'closed');
  if (open.length > 0) {
    const paths = open.map(({ path }) => path).join(', ');
    return { tone: 'bad', rank: 5, word: 'Circuit open', sentence: `Calls of ${paths} are refused here.` };
  }
  const faults = faultsOf(recent.codes);
  if (recent.ended >= 5 && faults / recent.ended >= BAD_SHARE) {
    const codes = Object.keys(recent.codes).filter((code) => FAULTS.has(code));
    const share = `${percent(faults, recent.ended)} of its calls failed in the last ${age(recent.windowMs)}: ${codes.join(', ')}`;
    return isClean
      ? { tone: 'warn', rank: 3.2, word: 'Recovered', sentence: `Calls succeed again; ${share}` }
      : { tone: 'bad', rank: 4, word: 'Failing', sentence: `Connected, and ${share}` };
  }
  if (state === 'READY' && waiting > 0) {
    const calls = waiting === 1 ? 'a call that waited is' : `${counted(waiting, 'call')} that waited are`;
    return { tone: 'warn', rank: 3.5, word: 'Catching up', sentence: `Connected; ${calls} sent at a pace.` };
  }
  if (state === 'TRANSIENT_FAILURE')
    return { tone: 'bad', rank: 5, word: 'Unreachable', sentence: `The last attempt to connect failed${because}` };
  if (state === 'CONNECTING')
    return { tone: 'warn', rank: 2, word: 'Connecting', sentence: 'It is looking for a connection.' };
  if (state === 'IDLE')
    return { tone: 'ok', rank: 0, word: 'Idle', sentence: 'No connection, because no call needs one.' };
  const failed = recent.failed > 0 ? `; ${counted(recent.failed, 'call')} failed in ${age(recent.windowMs)}` : '';
  return { tone: 'ok', rank: recent.failed > 0 ? 0.5 : 0, word: 'Well', sentence: `Connected${failed}.` };
}
