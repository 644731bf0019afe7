import { afterAll, expect, it, onTestFailed } from 'vitest';
import { seededRandom } from '../../unit-support/seeded-random.mjs';
import { Attacked, ATTACKS, KEPT_BYTES, planOf, usesTls } from './attack-run.js';
import { SERVER_ATTACKS } from './attacks.js';

/** Determines which attacks run, in which order, and where the reads of the server end. `npm run promises -- attacks` runs all. */
const SEED = Number(process.env['ATTACK_SEED'] ?? 1);
const COUNT = Number(process.env['ATTACKS'] ?? 24);

/** Processes that have borne their last attack, by what the attacks need of them. */
const IDLE = new Map<string, Attacked>();

/** Runs `work` with processes for the attack. They go on if it succeeds. */
async function withAttacked(attack: string, work: (attacked: Attacked) => Promise<void>): Promise<void> {
  const { options, streams } = planOf(attack);
  const key = JSON.stringify([attack in SERVER_ATTACKS, options, streams, usesTls(attack)]);
  const attacked = IDLE.get(key) ?? (await Attacked.start({ whose: 'ours' }, attack));
  IDLE.delete(key);
  onTestFailed(() => attacked.close());
  await work(attacked);
  IDLE.set(key, attacked);
}

afterAll(async () => {
  for (const attacked of IDLE.values()) await attacked.close();
});

const random = seededRandom(SEED);
const names = ATTACKS.map((name) => [name, random()] as const)
  .sort(([, a], [, b]) => a - b)
  .map(([name]) => name)
  .slice(0, COUNT);

it.for(names)(`serves other clients during an attack and holds nothing afterward: %s, seed ${String(SEED)}`, (attack) =>
  withAttacked(attack, async (attacked) => {
    const { ms, limit, streams = 0 } = planOf(attack);
    // On a busy machine, an attack needs longer to meet its limit.
    const shortMs = limit === undefined ? 500 : 1_500;
    const figures = await attacked.run(attack, { ms: shortMs, scale: 0.1, seed: SEED }, 0);
    const none = { 'failed calls': 0, 'lost streams': 0, 'lost writes': 0, 'sockets kept': 0 };
    expect(figures).toMatchObject({ ending: undefined, ...none, 'streams after': streams });
    expect(figures['answered calls']).toBeGreaterThan(0);
    expect(figures['heap kept, MB']).toBeLessThanOrEqual(KEPT_BYTES / 1_048_576);
    // Limits that take longer are met by `npm run promises -- attacks`.
    if (ms === undefined && limit !== undefined) expect(figures['limit']).toBeDefined();
  }),
);
