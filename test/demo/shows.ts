import { setTimeout as delay } from 'node:timers/promises';
import { seededRandom } from '../unit-support/seeded-random.mjs';
import { DemoGateway } from './gateway.js';

/** What a visitor can do; `show` starts over. */
const ACTIONS = ['show', 'kill', 'freeze', 'drain'] as const;
const MAX_FREEZE_MS = 14_000;
/** Pause before an action, in milliseconds: who clicks at once freezes a server to which no client is connected. */
const PAUSE_MS = { least: 1_000, most: 6_000 };

interface LiveState {
  readonly upstream: string;
  readonly phase: string;
  readonly results: readonly Readonly<
    Record<'calls' | 'failed' | 'unsafeInFlightFailed' | 'waiting', number> & { name: string }
  >[];
}

const isFree = ({ upstream, phase }: LiveState) => upstream === 'listening' && phase === 'free';
const callsOf = ({ results }: LiveState) => results.reduce((sum, { calls }) => sum + calls, 0);

/** Plays `count` actions in the order that `seed` determines, and returns those after which most calls of our card had failed or were waiting. */
export async function playShows(seed: number, count: number, env: NodeJS.ProcessEnv = {}): Promise<readonly string[]> {
  const random = seededRandom(seed);
  const gateway = await DemoGateway.start(env);
  const worst: string[] = [];
  try {
    const pause = async () => {
      await next(gateway, isFree);
      await delay(PAUSE_MS.least + random() * (PAUSE_MS.most - PAUSE_MS.least));
    };
    await pause();
    for (let played = 0; played < count; played++) {
      const action = ACTIONS[Math.trunc(random() * ACTIONS.length)]!;
      if (action === 'show') {
        const before = callsOf(await next(gateway));
        await gateway.post('/start-over');
        await next(gateway, (state) => callsOf(state) < before);
      } else await gateway.post(`/faults/${action}`);
      if (action === 'freeze') {
        await delay(random() * MAX_FREEZE_MS);
        await gateway.post('/faults/start');
      }
      await pause();
      const { results } = await next(gateway);
      const lost = results.map((card) => card.failed + card.unsafeInFlightFailed + card.waiting);
      if (lost[2]! > Math.max(lost[0]!, lost[1]!))
        worst.push(`seed ${seed}, ${played}: ${action}, lost ${String(lost)}`);
    }
  } finally {
    await gateway.stop();
  }
  return worst;
}

/** Returns the next state that an open page receives for which `condition` is true. Like the browser, connects again to the next gateway. */
async function next({ url }: DemoGateway, condition: (state: LiveState) => boolean = () => true): Promise<LiveState> {
  for (;;) {
    const response = await fetch(`${url}/live`).catch(() => undefined);
    let text = '';
    try {
      for await (const chunk of response?.body?.pipeThrough(new TextDecoderStream()) ?? []) {
        const lines = (text + chunk).split('\n');
        text = lines.pop()!;
        const states = lines.flatMap((line) => (line.startsWith('data: ') ? [JSON.parse(line.slice(6))] : []));
        const found = (states as LiveState[]).find(condition);
        if (found !== undefined) return found;
      }
    } catch {
      // The gateway has closed the connection.
    }
    await delay(100);
  }
}
