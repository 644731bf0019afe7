import { seededRandom } from 'nestjs-resilient-grpc/testing';
import { inOneLine } from '../../scenarios/support/judge.js';
import type { Situation } from '../../scenarios/support/situation.js';
import { forgetLines } from '../../support/orders-app.js';
import type { Sentinel } from '../sentinel.js';
import { playWatched, problemsOf } from '../watched-play.js';
import { heldNow, type Held } from './memory.js';
import { NOT_PLAYED, withPlay, type Tally } from './tally.js';

export interface SoakOptions {
  readonly minutes: number;
  readonly seed: number;
  /** Seed of every run. By default, each run has its own seed, drawn from `seed`. */
  readonly playSeed?: number | undefined;
  /** Aborts the current run; the soak ends after the cleanup of that run. */
  readonly signal: AbortSignal;
  readonly sentinel: Sentinel;
  readonly say: (line: string) => void;
}

export interface Soaked {
  readonly tallies: ReadonlyMap<string, Tally>;
  /** Resources held at the start and after each complete run. */
  readonly held: readonly Held[];
}

/** Repeatedly runs all `situations` in full, in a new order each round, until the time is up or `signal` aborts. */
export async function soak(
  situations: readonly Situation[],
  { minutes, seed, playSeed: given, signal, sentinel, say }: SoakOptions,
): Promise<Soaked> {
  const endsAt = performance.now() + minutes * 60_000;
  const random = seededRandom(seed);
  // The report also lists situations that were never reached.
  const tallies = new Map<string, Tally>(situations.map(({ name }) => [name, NOT_PLAYED]));
  const held = [heldNow()];
  const isOver = () => signal.aborted || performance.now() >= endsAt;
  const sayIndented = (line: string) => {
    say(`  ${line}`);
  };
  do {
    for (const situation of shuffled(situations, random)) {
      if (isOver()) break;
      const playSeed = given ?? Math.trunc(random() * 2 ** 31);
      const play = await playWatched(
        situation,
        { length: 'full', which: 'all', seed: playSeed, say: sayIndented, signal },
        sentinel,
      );
      if (signal.aborted) break;
      tallies.set(situation.name, withPlay(tallies.get(situation.name) ?? NOT_PLAYED, play, playSeed, situation.name));
      forgetLines();
      held.push(heldNow());
      const problems = problemsOf(play);
      const verdict = problems.length === 0 ? 'kept' : `BROKEN: ${problems.join('; ')}`;
      const busy = play.busy === undefined ? '' : `, ${play.busy}`;
      say(
        `${inOneLine(situation, play.measured, 'full')} (${play.seconds.toFixed(1)} s, seed ${playSeed}${busy}) ${verdict}`,
      );
    }
  } while (!isOver());
  return { tallies, held };
}

/** Fisher–Yates shuffle. */
function shuffled<T>(values: readonly T[], random: () => number): readonly T[] {
  const rest = [...values];
  return values.map(() => {
    const [drawn] = rest.splice(Math.trunc(random() * rest.length), 1) as [T];
    return drawn;
  });
}
