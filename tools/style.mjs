// npm run check:style: finds wording that `RULES` forbids, in sources, tests, and docs. `tools/style-allowed.json` lists how many hits are
// allowed, by file and rule. With --write, the list shrinks to the hits that remain; it never grows. With --start, the list is rewritten to
// allow all current hits.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const LIST = fileURLToPath(new URL('style-allowed.json', import.meta.url));

/**
 * The rules: each forbidden pattern, with the wording to write instead.
 *
 * @type {Record<string, { pattern: RegExp, instead: string }>}
 */
const RULES = {
  tell: { pattern: /\b(tells?|told|telling)\b/gi, instead: 'report, log, notify, return' },
  hear: { pattern: /\b(hears?|heard|hearing)\b/gi, instead: 'receive, detect' },
  person: {
    pattern: /\b(he|him|his|who|whoever|whom|somebody|nobody|everybody|anybody)\b/gi,
    instead: 'caller, client, server, handler',
  },
  none: { pattern: /\b(is|are|was|were) none\b/g, instead: 'invalid; there is no' },
  'go-on': { pattern: /\b(go|goes|going|went) on\b/g, instead: 'continue, resume' },
  'hand-over': { pattern: /\bhand(s|ed|ing)? (on|over|back)\b/g, instead: 'forward, deliver, return' },
  'let-go': { pattern: /\blet(s|ting)? go\b/g, instead: 'release' },
  anew: {
    pattern: /\b(all the same|afresh|anew|by itself|but for|for want of)\b/gi,
    instead: 'anyway, again, automatically, except',
  },
  'so-many': { pattern: /\bso (many|much|long)\b/g, instead: 'this many; as long as' },
  'in-order': { pattern: /\bin order\b(?! to\b)/g, instead: 'cleanly; in sequence' },
  stand: { pattern: /\b(stands|stood|standing)\b/g, instead: 'is connected, is in effect, is paused' },
  'look-at': { pattern: /\blook(s|ed|ing)? (at|after)\b/g, instead: 'check, read, poll' },
  die: { pattern: /\b(dies|died|went away|gone)\b/g, instead: 'closed, crashed, disconnected' },
  'doc-start': {
    pattern: /\/\*\* (What(ever)?|Whether|Who|Whoever|Where|How|Of|By|With|As|For|To|From|Until|Since)\b/g,
    instead: 'a noun, a verb, or "True if"',
  },
  superlative: { pattern: /\b(MOST|LONGEST|SHORTEST|LEAST(?!_REQUEST))_\w+/g, instead: 'MAX_, MIN_, with a unit' },
  title: {
    pattern: /\bit(\.each\([^)]*\))?\(['`](that|which|is|are|was|has|of|by|in|to)\b/g,
    instead: 'a verb first: the title must be complete without its describe',
  },
};

const FILES = /\.(ts|mts|mjs|js|md|html|py|go)$/;
const SKIPPED = /(^|\/)(CHANGELOG\.md|node_modules\/|dist\/|api\/)|^tools\/style\.mjs$|^docs\/\.vitepress\/cache/;

/** @returns {string[]} */
function files() {
  return execFileSync('git', ['ls-files', '-co', '--exclude-standard'], { cwd: ROOT, encoding: 'utf8' })
    .split('\n')
    .filter((file) => FILES.test(file) && !SKIPPED.test(file) && existsSync(`${ROOT}/${file}`));
}

/** @type {Record<string, Record<string, number>>} */
const allowed = existsSync(LIST) ? JSON.parse(readFileSync(LIST, 'utf8')) : {};
/** @type {Record<string, Record<string, number>>} */
const kept = {};
const problems = [];
for (const file of files()) {
  const text = readFileSync(`${ROOT}/${file}`, 'utf8');
  for (const [rule, { pattern, instead }] of Object.entries(RULES)) {
    const hits = [...text.matchAll(pattern)];
    const limit = allowed[file]?.[rule] ?? 0;
    if (hits.length > limit) {
      for (const { index, 0: found } of hits) {
        const line = text.slice(0, index).split('\n').length;
        problems.push(`${file}:${line}: "${found}" (${rule}, ${limit} allowed here): write ${instead}`);
      }
    }
    const count = process.argv.includes('--start') ? hits.length : Math.min(hits.length, limit);
    if (count > 0) (kept[file] ??= {})[rule] = count;
  }
}
const isTooLong = JSON.stringify(kept) !== JSON.stringify(allowed);
if (process.argv.includes('--write') || process.argv.includes('--start')) {
  writeFileSync(LIST, `${JSON.stringify(kept, undefined, 2)}\n`);
} else {
  if (isTooLong && problems.length === 0)
    problems.push('tools/style-allowed.json allows more hits than there are; run node tools/style.mjs --write');
  for (const problem of problems) console.error(problem);
  process.exitCode = problems.length === 0 ? 0 : 1;
}
