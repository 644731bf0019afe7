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
 * Returns a workload of server streams, one stream at a time, each read to its end. Each message has `size` bytes.
 *
 * @param {number} size
 * @returns {Workload}
 */
function serverStreams(size) {
  // Enough messages that the cost of opening a stream is negligible, but few enough that a round ends on time.
  const count = size > 16_384 ? 200 : 2_000;
  return {
    kind: 'stream',
    key: { size },
    unit: 'message',
    run: (contender, milliseconds) =>
      repeat(milliseconds, 1, (done) => {
        let received = 0;
        contender.watch(
          { count, size },
          () => {
            received++;
          },
          (error) => {
            done(error ?? wrongCount(count, received), received);
          },
        );
      }),
  };
}

/**
 * Returns a workload of client streams, one stream at a time. Each message has `size` bytes.
 *
 * @param {number} size
 * @returns {Workload}
 */
function clientStreams(size) {
  const count = sentMessages(size);
  const chunk = { data: Buffer.alloc(size, 'x') };
  return {
    kind: 'upload',
    key: { size },
    unit: 'message',
    run: (contender, milliseconds) =>
      repeat(milliseconds, 1, (done) => {
        contender.upload(copies(chunk, count), (error, received) => {
          const got = received?.count ?? 0;
          done(error ?? wrongCount(count, got), got);
        });
      }),
  };
}

/**
 * Returns a workload of bidirectional streams, one stream at a time, on which the server returns each message. Each message has `size`
 * bytes. Counts the returned messages.
 *
 * @param {number} size
 * @returns {Workload}
 */
function bidirectionalStreams(size) {
  const count = sentMessages(size);
  const chunk = { data: Buffer.alloc(size, 'x') };
  return {
    kind: 'bidi',
    key: { size },
    unit: 'message',
    run: (contender, milliseconds) =>
      repeat(milliseconds, 1, (done) => {
        let received = 0;
        contender.echo(
          copies(chunk, count),
          () => {
            received++;
          },
          (error) => {
            done(error ?? wrongCount(count, received), received);
          },
        );
      }),
  };
}

/**
 * @param {number} expected
 * @param {number} got
 * @returns {Error | null} `null` if the number of messages is right.
 */
function wrongCount(expected, got) {
  return got === expected ? null : new Error(`expected ${String(expected)} messages, got ${String(got)}`);
}

/** Functions that create workloads: `unary` for a number of concurrent calls, the others for a message size in bytes. */
export const WORKLOADS = {
  unary: unaryCalls,
  stream: serverStreams,
  upload: clientStreams,
  bidi: bidirectionalStreams,
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
 * @returns {Promise<void>}
 */
export async function rehearse(contender) {
  await new Promise((resolve, reject) => {
    contender.get(ORDER_ID, (error, order) => {
      if (order?.id === ORDER_ID) resolve(undefined);
      else reject(asError(error ?? new Error(`expected the order ${ORDER_ID}, got ${JSON.stringify(order)}`)));
    });
  });
  await expectThreeMessages((onMessage, done) => {
    contender.watch({ count: 3, size: 100 }, onMessage, done);
  });
  await expectThreeMessages((onMessage, done) => {
    contender.echo(copies({ data: Buffer.alloc(100) }, 3), onMessage, done);
  });
  await new Promise((resolve, reject) => {
    contender.upload(copies({ data: Buffer.alloc(100) }, 3), (error, received) => {
      if (!error && received?.count === 3) resolve(undefined);
      else
        reject(
          asError(error ?? new Error(`expected the server to receive 3 messages, got ${JSON.stringify(received)}`)),
        );
    });
  });
}

/**
 * @param {(onMessage: (chunk: Chunk) => void, done: (error: unknown) => void) => void} begin
 * @returns {Promise<void>}
 */
function expectThreeMessages(begin) {
  return new Promise((resolve, reject) => {
    /** @type {number[]} */
    const sizes = [];
    begin(
      (chunk) => {
        sizes.push(chunk.data.length);
      },
      (error) => {
        if (!error && sizes.join() === '100,100,100') resolve();
        else reject(asError(error ?? new Error(`expected 3 messages of 100 bytes, got [${sizes.join()}]`)));
      },
    );
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
function repeat(milliseconds, inFlight, start) {
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
function* copies(item, count) {
  for (let i = 0; i < count; i++) yield item;
}

/**
 * @param {unknown} error
 * @returns {Error}
 */
function asError(error) {
  return error instanceof Error ? error : new Error(JSON.stringify(error));
}
