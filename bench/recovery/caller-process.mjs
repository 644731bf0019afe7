// A contender in a separate process, so that other contenders do not delay its responses. It calls a server at a constant rate, even if
// earlier calls are still open. It creates a new client for each restart.
//   node caller-process.mjs NAME plain|tuned
import { Logger } from '@nestjs/common';
import { contenderNamed } from '../contenders.mjs';
import { executeCommands } from '../memory/child.mjs';
import { Caller } from './caller.mjs';

const [name = '', setup = ''] = process.argv.slice(2);
const entry = contenderNamed(name);
if (entry === undefined) throw new Error(`expected a contender, got ${name}`);
const { open, openTuned } = await entry.load();
const openClient = setup === 'tuned' ? openTuned : open;
if (openClient === undefined) throw new Error(`${name} has no setup '${setup}'`);

/** @type {Caller | undefined} */
let caller;
/** @type {Promise<number> | undefined} */
let answer;

executeCommands({
  /** @param {{ address: string }} given */
  async begin({ address }) {
    caller = new Caller(await openClient(address));
    // Disables the logger that the application has installed, because warnings about lost connections are expected here.
    Logger.overrideLogger(false);
    await caller.begin();
  },
  expectAnswer() {
    answer = caller?.nextAnswer();
  },
  answered: () => answer,
  /** @returns {Promise<import('./measure.mjs').Calls | undefined>} Resolves when all calls have ended. */
  async end() {
    await caller?.end();
    await caller?.contender.close();
    return caller && { calls: caller.calls, failed: caller.failed };
  },
});
process.once('disconnect', () => process.exit());
