import { parseArgs } from 'node:util';
import { CONTENDERS } from './contenders.mjs';
import { SECTIONS } from './sections.mjs';

const names = Object.keys(SECTIONS);
const inTable = names.filter((name) => SECTIONS[name].inTable);
const contenders = CONTENDERS.map(({ name }) => name);

/** Printed with each usage error. */
export const USAGE = `Usage: npm run bench -- [name] [options]
Without a name, runs the benchmarks ${inTable.join(', ')} (about 50 minutes).
With a name, runs only that benchmark. The benchmarks, and their options with the defaults:
${names.map((name) => `  ${name}: ${JSON.stringify(SECTIONS[name].defaults).replaceAll('"', '')}`).join('\n')}
  --only A,B   run only these contenders and grpc-js; names: ${contenders.join(', ')}
  --tls        compare the contenders that can, over TLS
  --kind       of server: unary, stream, upload, or bidi; --clients: a client, or own: each server's own
  --work A,B   handlers of overload; see bench/nest-server-process.mjs
  --json       print only one JSON object on one line: npm run --silent bench -- --json`;

/** An invalid argument. */
export class UsageError extends Error {}

/**
 * Reads the command line.
 *
 * @param {readonly string[]} argv
 * @throws {UsageError}
 */
export function planOf(argv) {
  const { values, positionals } = parse(argv);
  const [name, ...rest] = positionals;
  if (rest.length > 0 || (name !== undefined && !names.includes(name)))
    throw new UsageError(`expected one of the benchmarks, got ${positionals.join(' ')}`);
  const benches = name === undefined ? inTable : [name];
  const known = benches.flatMap((bench) => Object.keys(SECTIONS[bench].defaults));
  const unknown = Object.keys(values).find((flag) => flag !== 'json' && !known.includes(flag));
  if (unknown !== undefined) throw new UsageError(`--${unknown} does not apply to ${name ?? 'these benchmarks'}`);
  const plans = benches.map((bench) => {
    const { defaults, entriesOf, outlineOf, measure } = SECTIONS[bench];
    const chosen = Object.keys(defaults).map((flag) => [flag, valueOf(flag, values[flag], defaults[flag])]);
    const given = Object.fromEntries(chosen);
    const options = { ...given, entries: entriesOf(given) };
    return { bench, measure, options, outline: outlineOf(options) };
  });
  const command = ['npm run bench', ...(argv.length > 0 ? ['--', ...argv] : [])].join(' ');
  return { command, json: values.json === true, plans };
}

/** @param {readonly string[]} argv */
function parse(argv) {
  const defaults = Object.assign({ json: false }, ...Object.values(SECTIONS).map((section) => section.defaults));
  const options = Object.entries(defaults).map(([flag, usual]) => [
    flag,
    { type: typeof usual === 'boolean' ? 'boolean' : 'string' },
  ]);
  try {
    return parseArgs({ args: [...argv], allowPositionals: true, options: Object.fromEntries(options) });
  } catch (error) {
    throw new UsageError(error.message);
  }
}

/** Reads a value of the same kind as the default: a switch, names, a number, or numbers. */
function valueOf(flag, value, usual) {
  if (value === undefined || typeof usual === 'boolean') return value ?? usual;
  if (typeof usual === 'string') return value;
  const list = value.split(',');
  if (flag === 'work') return list;
  const wrong = list.find((part) => (flag === 'only' ? !contenders.includes(part) : !(Number(part) > 0)));
  if (wrong !== undefined)
    throw new UsageError(
      `--${flag}: expected ${flag === 'only' ? contenders.join(', ') : 'numbers above 0'}, got ${wrong}`,
    );
  if (flag === 'only') return list;
  return Array.isArray(usual) ? list.map(Number) : Number(value);
}
