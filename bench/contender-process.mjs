// A contender in a separate process, which executes commands.
//   node --expose-gc contender-process.mjs NAME ADDRESS [plain|tuned]
// Imports nothing that a contender loads, because the time of its import is measured.
import { executeCommands } from './child.mjs';
import { contenderNamed } from './contenders.mjs';
import { ORDER_ID } from './contract.mjs';
import { readMemory } from './memory.mjs';
import { takeTurn } from './rounds.mjs';
import { WORKLOADS, asError, rehearse } from './workloads.mjs';

const [name = '', address = '', setup = 'plain'] = process.argv.slice(2);

const beganAt = performance.now();
const module = await contenderNamed(name).load();
const importedAt = performance.now();
const open = setup === 'tuned' ? module.openTuned : module.open;
let contender = address === '' ? undefined : await open(address);
const openedAt = performance.now();

/** @returns {Promise<import('./sections/first-call.mjs').FirstCall>} */
function firstCall() {
  return new Promise((resolve, reject) => {
    const calledAt = performance.now();
    contender.get(ORDER_ID, (error, order) => {
      const callMs = performance.now() - calledAt;
      if (order?.id !== ORDER_ID) reject(asError(error));
      // `openedAt` is the time since the start of the process. Adding only `callMs` excludes the wait for the parent's command.
      else resolve({ importMs: importedAt - beganAt, callMs, startMs: openedAt + callMs });
    });
  });
}

/**
 * @param {{ count: number }} given
 * @returns {Promise<void>} Resolves when each stream has received its first message.
 */
function openStreams({ count }) {
  return new Promise((resolve, reject) => {
    let begun = 0;
    const received = () => {
      if (++begun === count) resolve();
    };
    for (let stream = 0; stream < count; stream++) {
      contender.watch({ count: 1, size: 100, stay: true }, received, (error) => reject(asError(error)));
    }
  });
}

/**
 * Verifies this contender, and then loads, opens, and verifies the others, so that all processes use the same amount of memory and garbage
 * collections cost the same.
 *
 * @param {{ names: readonly string[] }} given Names of all contenders, in the order of the report.
 */
async function rehearseBeside({ names }) {
  await rehearse(contender);
  for (const other of names.filter((each) => each !== name)) {
    const { open: openOther } = await contenderNamed(other).load();
    await rehearse(await openOther(address));
  }
}

// The calls of the recovery benchmark, which continue at a constant rate even if earlier calls are still open.
const load = { calls: 0, failed: 0, open: 0, timer: undefined };
/** @type {{ answered: (atMs: number) => void, allEnded: () => void }} */
const waiting = { answered: () => undefined, allEnded: () => undefined };

function callOnce() {
  load.calls++;
  load.open++;
  contender.get(ORDER_ID, (error) => {
    if (error) load.failed++;
    // The clock that all processes share.
    else waiting.answered(Number(process.hrtime.bigint()) / 1e6);
    if (--load.open === 0) waiting.allEnded();
  });
}

/** @returns {Promise<number>} Time of the next successful response in milliseconds. */
const nextAnswer = () => new Promise((resolve) => (waiting.answered = resolve));
/** @type {Promise<number> | undefined} */
let answer;

executeCommands({
  rehearseBeside,
  turn: ({ kind, amount, seconds }) => takeTurn(contender, WORKLOADS[kind](amount), seconds),
  firstCall,
  openStreams,
  memory: readMemory,
  /** Opens a new client and starts to call; resolves at the first successful response. */
  async beginLoad({ address: target, perSecond }) {
    contender = await open(target);
    // Disables the logger that the application has installed, because warnings about lost connections are expected here.
    const { Logger } = await import('@nestjs/common');
    Logger.overrideLogger(false);
    Object.assign(load, { calls: 0, failed: 0, timer: setInterval(callOnce, 1_000 / perSecond) });
    await nextAnswer();
  },
  expectAnswer() {
    answer = nextAnswer();
  },
  answered: () => answer,
  /** Resolves when all calls have ended. */
  async endLoad() {
    clearInterval(load.timer);
    if (load.open > 0) await new Promise((resolve) => (waiting.allEnded = () => resolve(undefined)));
    await contender.close();
    return { calls: load.calls, failed: load.failed };
  },
});
