/** Adds up the numbers of objects by key: { a: 1 } and { a: 2, b: 3 } give { a: 3, b: 3 }. */
function summed(objects) {
  const sums = {};
  for (const object of objects)
    for (const [key, value] of Object.entries(object ?? {})) sums[key] = (sums[key] ?? 0) + value;
  return sums;
}

const total = (items, valueOf) => items.reduce((sum, item) => sum + (valueOf(item) ?? 0), 0);
const highest = (items, valueOf) => Math.max(...items.map((item) => valueOf(item) ?? 0));

function summedRecent(all) {
  return {
    windowMs: highest(all, ({ windowMs }) => windowMs),
    ended: total(all, ({ ended }) => ended),
    failed: total(all, ({ failed }) => failed),
    codes: summed(all.map(({ codes }) => codes)),
  };
}

/** Groups items by key, in the order of the first item of each group. */
function grouped(items, keyOf) {
  const groups = new Map();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return [...groups.values()];
}

function summedMethod(all) {
  const latencies = all.flatMap(({ latency }) => latency ?? []);
  return {
    path: all[0].path,
    kind: all[0].kind,
    ...summed(all.map(({ started, failed, retried, hedged }) => ({ started, failed, retried, hedged }))),
    codes: summed(all.map(({ codes }) => codes)),
    recent: summedRecent(all.map(({ recent }) => recent)),
    // Percentiles of several processes cannot be combined, so the highest is shown.
    latency:
      latencies.length === 0
        ? undefined
        : Object.fromEntries(
            Object.keys(latencies[0]).map((which) => [which, highest(latencies, (latency) => latency[which])]),
          ),
  };
}

function summedError(all) {
  const latest = all.toSorted((a, b) => Date.parse(b.lastAt) - Date.parse(a.lastAt))[0];
  return { ...latest, count: total(all, ({ count }) => count) };
}

/** Interval between the values of summed charts, in milliseconds. Processes sample at different times. */
const STEP_MS = 2_000;

/**
 * One client in several processes. `parts`: { process, client } for each process with current data. `process.now` is the current time on
 * that process's clock. Implements the part of ClientState that the overview uses.
 */
export class SummedClient {
  constructor(key, parts) {
    this.key = key;
    this.parts = parts.map((part) => ({ ...part, assessment: part.client.assess(part.process.now) }));
    /** The part whose client is in the worst state. */
    this.worst = this.parts.reduce((a, b) => (b.assessment.rank > a.assessment.rank ? b : a));
  }

  get oldest() {
    return Math.min(...this.parts.map(({ client }) => client.oldest));
  }

  /**
   * Snapshot of the client: sums over all processes, the longest wait, and other properties, such as the connection state, from the process
   * in the worst state.
   */
  get snapshot() {
    const all = this.parts.map(({ client }) => client.snapshot);
    return {
      ...this.worst.client.snapshot,
      recent: summedRecent(all.map(({ recent }) => recent)),
      waiting: total(all, ({ waiting }) => waiting),
      oldestWaitMs: highest(all, ({ oldestWaitMs }) => oldestWaitMs),
      active: total(all, ({ active }) => active),
    };
  }

  /** Data of the details view: sums of counts, the highest of each latency, and the latest error of each kind. */
  get details() {
    const all = this.parts.map(({ client }) => client.snapshot);
    const errors = grouped(
      all.flatMap(({ errors }) => errors ?? []),
      ({ path, code, reason }) => `${path} ${code} ${reason}`,
    ).map(summedError);
    return {
      failures: summed(all.map(({ failures }) => failures)),
      notRetried: summed(all.map(({ notRetried }) => notRetried)),
      methods: grouped(
        all.flatMap(({ methods }) => methods ?? []),
        ({ path }) => path,
      ).map(summedMethod),
      errors: errors.sort((a, b) => Date.parse(a.lastAt) - Date.parse(b.lastAt)),
    };
  }

  assess() {
    const { assessment } = this.worst;
    if (this.parts.length === 1 || assessment.rank < 2) return assessment;
    const alike = this.parts.filter((part) => part.assessment.word === assessment.word).length;
    const which = `In ${alike} of ${this.parts.length} processes, for example ${this.worst.process.name}: `;
    return { ...assessment, sentence: `${which}${assessment.sentence}` };
  }

  rateNow(field) {
    const rates = this.parts.map(({ client }) => client.rateNow(field)).filter((rate) => rate !== undefined);
    return rates.length === 0 ? undefined : rates.reduce((a, b) => a + b);
  }

  /**
   * Returns chart data at equal intervals: the times in seconds, then a column of sums over all processes for each of `fields`. Sums rates
   * per second or, for 'waiting', the sampled values.
   */
  columns(fields, windowMs, now) {
    const first = Math.ceil((now - windowMs) / STEP_MS) * STEP_MS;
    const moments = Array.from(
      { length: Math.max(0, Math.floor((now - first) / STEP_MS)) },
      (_none, i) => first + i * STEP_MS,
    );
    const columns = fields.map(() => moments.map(() => null));
    for (const { client, process } of this.parts) {
      const [seconds, ...values] =
        fields[0] === 'waiting'
          ? [client.column('at').map((ms) => ms / 1_000), client.column('waiting')]
          : client.rates(fields);
      const times = seconds.map((second) => second * 1_000 - process.skew);
      let at = 0;
      moments.forEach((moment, i) => {
        // Uses the first sample at or after the moment. A process without a sample near the moment adds nothing.
        while (at < times.length && times[at] < moment) at += 1;
        if (at === times.length || times[at] - moment > 2 * STEP_MS) return;
        columns.forEach((column, field) => (column[i] = (column[i] ?? 0) + values[field][at]));
      });
    }
    return [moments.map((ms) => ms / 1_000), ...columns];
  }
}
