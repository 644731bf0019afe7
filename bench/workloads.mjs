import { ORDER_ID } from './contract.mjs';

/** @typedef {import('./contenders.mjs').Contender} Contender */
/** @typedef {import('./contract.mjs').Chunk} Chunk */

/**
 * A workload that each contender can repeat for a given time. `unit` is what `run` counts.
 *
 * @typedef {object} Workload
 * @property {keyof typeof WORKLOADS} kind
 * @property {{ inFlight: number } | { size: number }} key Identifies the workload in the report.
 * @property {'call' | 'message'} unit
 * @property {(contender: Contender, milliseconds: number, latency: import('node:perf_hooks').RecordableHistogram) =>
 *   Promise<number>} run Resolves to the number of calls or messages when none is in flight anymore. Records the
 *   duration of each unary call in microseconds.
 */

/**
 * Returns a workload of unary calls, `inFlight` at a time. Each response starts the next call.
 *
 * @param {number} inFlight
 * @returns {Workload}
 */
function unaryCalls(inFlight) {
  return {
    kind: 'unary',
    key: { inFlight },
    unit: 'call',
    run: (contender, milliseconds, latency) =>
      repeat(milliseconds, inFlight, (done) => {
        // Measuring costs less than 1% of the time of a call, and costs the same for all contenders.
        const begunAt = performance.now();
        contender.get(ORDER_ID, (error) => {
          latency.record(Math.max(1, Math.round((performance.now() - begunAt) * 1_000)));
          done(error, 1);
        });
      }),
  };
}

/**
 * Returns a workload of streams, one stream at a time, each run to its end.
 *
 * @param {Workload['kind']} kind
 * @param {number} size Bytes of a message.
 * @param {number} count Messages of a stream.
 * @param {(contender: Contender, count: number, onMessage: () => void, done: (error: unknown, received?: number) => void) => void} begin
 * @returns {Workload}
 */
function streams(kind, size, count, begin) {
  return {
    kind,
    key: { size },
    unit: 'message',
    run: (contender, milliseconds) =>
      repeat(milliseconds, 1, (done) => {
        let messages = 0;
        const onMessage = () => {
          messages++;
        };
        begin(contender, count, onMessage, (error, received = messages) => {
          const wrong =
            received === count ? null : new Error(`expected ${String(count)} messages, got ${String(received)}`);
          done(error ?? wrong, received);
        });
      }),
  };
}

/** Functions that create workloads: `unary` for a number of concurrent calls, the others for a message size in bytes. */
export const WORKLOADS = {
  unary: unaryCalls,
  // Enough messages that the cost of opening a stream is negligible, but few enough that a round ends on time.
  stream: (size) =>
    streams('stream', size, size > 16_384 ? 200 : 2_000, (contender, count, onMessage, done) => {
      contender.watch({ count, size }, onMessage, done);
    }),
  upload: (size) => {
    const chunk = { data: Buffer.alloc(size, 'x') };
    return streams('upload', size, sentMessages(size), (contender, count, _, done) => {
      contender.upload(copies(chunk, count), (error, received) => done(error, received?.count ?? 0));
    });
  },
  // The server returns each message. Counts the returned messages.
  bidi: (size) => {
    const chunk = { data: Buffer.alloc(size, 'x') };
    return streams('bidi', size, sentMessages(size), (contender, count, onMessage, done) => {
      contender.echo(copies(chunk, count), onMessage, done);
    });
  },
};

/**
 * Returns a number of messages that cannot all be buffered before they are sent, so that the figures do not measure only buffering.
 *
 * @param {number} size
 * @returns {number} Number of messages of a request stream.
 */
function sentMessages(size) {
  return Math.ceil((2 * 1_024 * 1_024) / size);
}

/**
 * Makes one call of each kind and verifies the responses, because contenders are comparable only if they do the same work. Also opens the
 * connection.
 *
 * @param {Contender} contender
 */
export async function rehearse(contender) {
  const chunk = { data: Buffer.alloc(100) };
  await verified('id', ORDER_ID, (done) => contender.get(ORDER_ID, (error, order) => done(error, order?.id)));
  await verified('count', 3, (done) =>
    contender.upload(copies(chunk, 3), (error, received) => done(error, received?.count)),
  );
  for (const begin of [
    contender.watch.bind(undefined, { count: 3, size: 100 }),
    contender.echo.bind(undefined, copies(chunk, 3)),
  ]) {
    const sizes = [];
    await verified('sizes', '100,100,100', (done) =>
      begin(
        ({ data }) => sizes.push(data.length),
        (error) => done(error, sizes.join()),
      ),
    );
  }
}

/** Resolves if `begin` reports the expected value. */
function verified(what, expected, begin) {
  return new Promise((resolve, reject) => {
    begin((error, found) => {
      if (!error && found === expected) resolve(undefined);
      else reject(asError(error ?? new Error(`${what}: expected ${String(expected)}, got ${String(found)}`)));
    });
  });
}

/**
 * Keeps `inFlight` repetitions of `start` running until the time is up, then lets them finish.
 *
 * @param {number} milliseconds
 * @param {number} inFlight
 * @param {(done: (error: unknown, amount: number) => void) => void} start
 * @returns {Promise<number>} The sum of the amounts.
 */
export function repeat(milliseconds, inFlight, start) {
  return new Promise((resolve, reject) => {
    let total = 0;
    let running = inFlight;
    // Uses a timer and a flag, because reading a flag costs less per call than reading a clock.
    let over = false;
    const timer = setTimeout(() => {
      over = true;
    }, milliseconds);
    /** @param {unknown} error @param {number} amount */
    const done = (error, amount) => {
      if (error) {
        over = true;
        clearTimeout(timer);
        reject(asError(error));
        return;
      }
      total += amount;
      if (!over) start(done);
      else if (--running === 0) resolve(total);
    };
    for (let started = 0; started < inFlight; started++) start(done);
  });
}

/**
 * @template T
 * @param {T} item
 * @param {number} count
 * @returns {Generator<T>}
 */
export function* copies(item, count) {
  for (let i = 0; i < count; i++) yield item;
}

/**
 * @param {unknown} error
 * @returns {Error}
 */
export function asError(error) {
  return error instanceof Error ? error : new Error(JSON.stringify(error));
}
