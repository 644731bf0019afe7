// One attack against one contender, as a line of JSON:
//   node --import ./test/support/typescript.mjs test/promises/attacks/run.ts --attack F1 --server ours [--memory 512 --heap 256 --ms 3000]
import 'reflect-metadata';
import { Attacked, planOf } from '../../transport/hostile/attack-run.js';
import { SERVER_ATTACKS } from '../../transport/hostile/attacks.js';
import { exitWithUsage, parseOptions } from '../usage.js';

const USAGE = 'Usage: run.ts --attack NAME --server ours|nest [--memory MB --heap MB --ms N --scale N --seed N]';
const text = { type: 'string' } as const;
const values = parseOptions(
  { attack: text, server: text, memory: text, heap: text, ms: text, scale: text, seed: text },
  USAGE,
);
const names = Object.keys(SERVER_ATTACKS).filter((name) => name.startsWith(values.attack ?? ''));
const server = values.server ?? 'ours';
if (names.length === 0) exitWithUsage(`--attack: expected the start of a name, got '${values.attack}'`, USAGE);
if (server !== 'ours' && server !== 'nest') exitWithUsage(`--server: expected ours or nest, got '${server}'`, USAGE);
const number = (value: string | undefined) => (value === undefined ? undefined : Number(value));
for (const attack of names) {
  const { memory, heap, ms, scale, seed } = values;
  const attacked = await Attacked.start({ server, memory: number(memory), heap: number(heap) }, planOf(attack));
  const figures = await attacked.run(attack, { ms: number(ms), scale: number(scale), seed: number(seed) }, 2_000);
  await attacked.close();
  const rounded = (_: string, value: unknown) => (typeof value === 'number' ? Number(value.toPrecision(4)) : value);
  console.log(JSON.stringify(figures, rounded));
}
process.exit(0);
