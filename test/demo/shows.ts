import { setTimeout as delay } from 'node:timers/promises';
import { seededRandom } from '../unit-support/seeded-random.mjs';
import { DemoGateway } from './gateway.js';

/** What a visitor can do, with the time that it takes at most, in milliseconds. */
const ACTIONS = { show: 0, kill: 0, freeze: 14_000, drain: 0 } as const;
type Action = keyof typeof ACTIONS;
/** Longest pause between two actions, in milliseconds. */
const MAX_PAUSE_MS = 6_000;

/** A card of the page. */
interface Card {
  readonly name: 'plain' | 'tuned' | 'resilient';
  readonly calls: number;
  readonly failed: number;
  readonly unsafeInFlightFailed: number;
  readonly waiting: number;
  readonly inFlight: number;
}

interface LiveState {
  readonly upstream: string;
  readonly phase: string;
  readonly results: readonly Card[];
}

/** The failed and waiting calls of each card when our card was the worst. */
export interface Worst {
  readonly after: readonly string[];
  readonly lost: Readonly<Record<Card['name'], number>>;
}

/** Plays `count` actions in the order that `seed` determines, and returns the moments after an action at which our card was the worst. */
export async function playShows(
  seed: number,
  count: number,
  env: NodeJS.ProcessEnv = {},
  report: (line: string) => void = () => undefined,
): Promise<readonly Worst[]> {
  const random = seededRandom(seed);
  const gateway = await DemoGateway.start(env);
  const page = new OpenPage(gateway.url);
  const worst: Worst[] = [];
  const after: string[] = [];
  try {
    await page.until(isFree);
    for (let played = 0; played < count; played++) {
      const names = Object.keys(ACTIONS) as Action[];
      const action = names[Math.trunc(random() * names.length)]!;
      const lastsMs = Math.trunc(random() * ACTIONS[action]);
      after.push(lastsMs === 0 ? action : `${action} for ${lastsMs} ms`);
      if (action === 'show') await startOver(gateway, page);
      else await gateway.post(`/faults/${action}`);
      await delay(lastsMs);
      if (action === 'freeze') await gateway.post('/faults/start');
      await page.until(isFree);
      await delay(random() * MAX_PAUSE_MS);
      const lost = lostOf(await page.next());
      report(`${after.at(-1)}: ${JSON.stringify(lost)}`);
      if (lost.resilient > Math.max(lost.plain, lost.tuned)) worst.push({ after: [...after], lost });
    }
  } finally {
    page.close();
    await gateway.stop();
  }
  return worst;
}

const isFree = ({ upstream, phase }: LiveState) => upstream === 'listening' && phase === 'free';

function lostOf({ results }: LiveState): Worst['lost'] {
  const lost = results.map((card) => [card.name, card.failed + card.unsafeInFlightFailed + card.waiting] as const);
  return Object.fromEntries(lost) as Worst['lost'];
}

/** Resolves when the page shows the figures of new clients. */
async function startOver(gateway: DemoGateway, page: OpenPage): Promise<void> {
  const calls = ({ results }: LiveState) => results.reduce((sum, card) => sum + card.calls, 0);
  const before = calls(await page.next());
  await gateway.post('/start-over');
  await page.until((state) => calls(state) < before);
}

/** What the page receives. Like the browser, it connects again when the gateway is replaced. */
class OpenPage {
  private readonly closing = new AbortController();
  private readonly waiting = new Set<(state: LiveState) => void>();

  constructor(private readonly url: string) {
    void this.follow();
  }

  next(): Promise<LiveState> {
    return this.until(() => true);
  }

  /** Resolves to the next state for which `condition` is true. */
  until(condition: (state: LiveState) => boolean): Promise<LiveState> {
    return new Promise((resolve) => {
      const check = (state: LiveState) => {
        if (condition(state) && this.waiting.delete(check)) resolve(state);
      };
      this.waiting.add(check);
    });
  }

  close(): void {
    this.closing.abort();
  }

  private async follow(): Promise<void> {
    while (!this.closing.signal.aborted) {
      try {
        const { body } = await fetch(`${this.url}/live`, { signal: this.closing.signal });
        let text = '';
        for await (const chunk of body!.pipeThrough(new TextDecoderStream())) {
          const lines = (text + chunk).split('\n');
          text = lines.pop()!;
          for (const line of lines)
            if (line.startsWith('data: ')) {
              const state = JSON.parse(line.slice(6)) as LiveState;
              for (const check of this.waiting) check(state);
            }
        }
      } catch {
        await delay(100);
      }
    }
  }
}
