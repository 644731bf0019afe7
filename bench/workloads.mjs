import { ORDER_ID } from './contract.mjs';

/** @typedef {import('./contenders.mjs').Contender} Contender */

/**
 * Something that can be repeated for a while by each contender alike. `unit` says what `run` counts.
 *
 * @typedef {object} Workload
 * @property {{ inFlight: number } | { size: number }} key How the report names it.
 * @property {'call' | 'message'} unit
 * @property {(contender: Contender, milliseconds: number) => Promise<number>} run Resolves to how many were done, once
 *   nothing is in flight any more.
 */

/**
 * Unary calls with `inFlight` of them open at any time: each answer starts the next call.
 *
 * @param {number} inFlight
 * @returns {Workload}
 */
export function unaryCalls(inFlight) {
  return {
    key: { inFlight },
    unit: 'call',
    run: (contender, milliseconds) =>
      repeat(milliseconds, inFlight, (done) => {
        contender.get(ORDER_ID, (error) => {
          done(error, 1);
        });
      }),
  };
}

/**
 * Server streams of messages of `size` bytes, one after another, each read to its end.
 *
 * @param {number} size
 * @returns {Workload}
 */
export function serverStreams(size) {
  // Long enough that opening a stream does not count, short enough that a round ends when it should.
  const count = size > 16_384 ? 200 : 2_000;
  return {
    key: { size },
    unit: 'message',
    run: (contender, milliseconds) =>
      repeat(milliseconds, 1, (done) => {
        let seen = 0;
        contender.watch(
          { count, size },
          () => {
            seen++;
          },
          (error) => {
            done(error ?? (seen === count ? null : new Error(`${String(seen)} messages of ${String(count)}`)), seen);
          },
        );
      }),
  };
}

/**
 * Client streams of messages of `size` bytes, one after another.
 *
 * @param {number} size
 * @returns {Workload}
 */
export function clientStreams(size) {
  // Longer than what may run ahead of the wire, or nothing but that would be measured.
  const count = Math.ceil((2 * 1_024 * 1_024) / size);
  const chunk = { data: Buffer.alloc(size, 'x') };
  return {
    key: { size },
    unit: 'message',
    run: (contender, milliseconds) =>
      repeat(milliseconds, 1, (done) => {
        contender.upload(copies(chunk, count), (error, received) => {
          const got = received?.count ?? 0;
          done(error ?? (got === count ? null : new Error(`${String(got)} messages of ${String(count)}`)), got);
        });
      }),
  };
}

/**
 * One call of each kind, with a look at the answers: who does other work than the rest must not be compared with them.
 * Also opens the connection.
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
  /** @type {number[]} */
  const sizes = [];
  await new Promise((resolve, reject) => {
    contender.watch(
      { count: 3, size: 100 },
      (chunk) => {
        sizes.push(chunk.data.length);
      },
      (error) => {
        if (!error && sizes.join() === '100,100,100') resolve(undefined);
        else reject(asError(error ?? new Error(`expected 3 messages of 100 bytes, got [${sizes.join()}]`)));
      },
    );
  });
  await new Promise((resolve, reject) => {
    contender.upload(copies({ data: Buffer.alloc(100) }, 3), (error, received) => {
      if (!error && received?.count === 3) resolve(undefined);
      else reject(asError(error ?? new Error(`expected 3 messages to arrive, got ${JSON.stringify(received)}`)));
    });
  });
}

/**
 * Keeps `inFlight` repetitions of `one` going until the time is up, then lets them finish.
 *
 * @param {number} milliseconds
 * @param {number} inFlight
 * @param {(done: (error: unknown, amount: number) => void) => void} one
 * @returns {Promise<number>} The sum of the amounts.
 */
function repeat(milliseconds, inFlight, one) {
  return new Promise((resolve, reject) => {
    let total = 0;
    let running = inFlight;
    // A flag costs each call less than a look at a clock.
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
      if (!over) one(done);
      else if (--running === 0) resolve(total);
    };
    for (let started = 0; started < inFlight; started++) one(done);
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
