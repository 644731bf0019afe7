import { seededRandom } from 'nestjs-resilient-grpc/testing';
import { forgetLines } from '../../support/orders-app.js';
import { inOneLine } from '../support/judge.js';
import { playSituation, type Play } from '../support/play.js';
import type { Situation } from '../support/situation.js';
import { heldNow, type Held } from './memory.js';
import { stolenSince } from './stolen.js';
import { NOT_PLAYED, withPlay, type Tally } from './tally.js';

/** Longer than any play takes; then it hangs. */
const PLAY_LIMIT_MS = 8 * 60_000;

export interface SoakOptions {
  readonly minutes: number;
  readonly seed: number;
  /** Of every play; without it, each has another one, drawn by `seed`. */
  readonly playSeed?: number | undefined;
  /** Ends it, when what is played has been cleaned up. */
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

export interface Soaked {
  readonly tallies: ReadonlyMap<string, Tally>;
  /** At the start and after each play. */
  readonly held: readonly Held[];
}

/** Plays all of `situations` full, again and again, each time in another order, until the time is over; failures do not end it. */
export async function soak(
  situations: readonly Situation[],
  { minutes, seed, playSeed: given, signal, say }: SoakOptions,
): Promise<Soaked> {
  const endsAt = performance.now() + minutes * 60_000;
  const random = seededRandom(seed);
  // Those that are never reached are told of too.
  const tallies = new Map<string, Tally>(situations.map(({ name }) => [name, NOT_PLAYED]));
  const held = [heldNow()];
  const isOver = () => signal.aborted || performance.now() >= endsAt;
  do {
    for (const situation of shuffled(situations, random)) {
      if (isOver()) break;
      const playSeed = given ?? Math.trunc(random() * 2 ** 31);
      const stolen = stolenSince();
      const play = await playFor(situation, playSeed, signal, say);
      if (signal.aborted) break;
      tallies.set(situation.name, withPlay(tallies.get(situation.name) ?? NOT_PLAYED, play, playSeed, situation.name));
      forgetLines();
      held.push(heldNow());
      const judgement = play.broken.length === 0 ? 'ok' : `BROKEN: ${play.broken.join('; ')}`;
      say(
        `${inOneLine(situation, play.measured, 'full')} (${play.seconds.toFixed(1)} s, seed ${playSeed}${withheld(stolen())}) ${judgement}`,
      );
    }
  } while (!isOver());
  return { tallies, held };
}

function withheld(percent: number | undefined): string {
  return percent === undefined ? '' : `, ${percent.toFixed(0)} % of the CPU time withheld by the host`;
}

/** One play; what it throws, and what nobody has caught meanwhile, is broken too. */
async function playFor(
  situation: Situation,
  seed: number,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<Play> {
  const beganAt = performance.now();
  // One of its own, so that listeners do not pile up.
  const ending = new AbortController();
  const end = () => {
    ending.abort(signal.reason);
  };
  signal.addEventListener('abort', end, { once: true });
  const limit = setTimeout(() => {
    ending.abort(new Error(`it was not over after ${PLAY_LIMIT_MS / 60_000} minutes`));
  }, PLAY_LIMIT_MS);
  const uncaught: string[] = [];
  const catchIt = (error: unknown) => void uncaught.push(`uncaught: ${String(error)}`);
  process.on('unhandledRejection', catchIt);
  try {
    const tell = (line: string) => {
      say(`  ${line}`);
    };
    const play = await playSituation(situation, { length: 'full', seed, say: tell, signal: ending.signal });
    return { ...play, broken: [...play.broken, ...uncaught] };
  } catch (error) {
    const seconds = (performance.now() - beganAt) / 1_000;
    return { measured: {}, broken: [String(error), ...uncaught], seconds };
  } finally {
    clearTimeout(limit);
    signal.removeEventListener('abort', end);
    process.off('unhandledRejection', catchIt);
  }
}

/** Fisher and Yates. */
function shuffled<T>(values: readonly T[], random: () => number): readonly T[] {
  const rest = [...values];
  return values.map(() => {
    const [drawn] = rest.splice(Math.trunc(random() * rest.length), 1) as [T];
    return drawn;
  });
}
