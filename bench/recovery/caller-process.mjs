// A contender in a process of its own, so that nobody else's work delays its answers. It calls a server at a pace, whatever becomes
// of the calls before; a new client for each restart.
//   node caller-process.mjs NAME plain|tuned
import { Logger } from '@nestjs/common';
import { contenderNamed } from '../contenders.mjs';
import { obey } from '../memory/child.mjs';
import { Caller } from './caller.mjs';

const [name = '', setup = ''] = process.argv.slice(2);
const entry = contenderNamed(name);
if (entry === undefined) throw new Error(`no such contender: ${name}`);
const { open, openTuned } = await entry.load();
const openClient = setup === 'tuned' ? openTuned : open;
if (openClient === undefined) throw new Error(`${name} has no setup that is ${setup}`);

/** @type {Caller | undefined} */
let caller;
/** @type {Promise<number> | undefined} */
let answer;

obey({
  /** @param {{ address: string }} given */
  async begin({ address }) {
    caller = new Caller(await openClient(address));
    // What ours warns of is what is asked here. The start of each application has put a logger in place.
    Logger.overrideLogger(false);
    await caller.begin();
  },
  expectAnswer() {
    answer = caller?.nextAnswer();
  },
  answered: () => answer,
  /** @returns {Promise<import('./measure.mjs').Calls | undefined>} When all have ended. */
  async end() {
    await caller?.end();
    await caller?.contender.close();
    return caller && { calls: caller.calls, failed: caller.failed };
  },
});
process.once('disconnect', () => process.exit());
