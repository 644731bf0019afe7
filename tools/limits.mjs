import { readFileSync } from 'node:fs';

/**
 * Compares figures with those of tools/limits.json, and prints both. Sets the exit code to 1 if a figure is above its limit.
 *
 * @param {string} group Key in tools/limits.json.
 * @param {Readonly<Record<string, number>>} figures
 * @param {number} [tolerance] Share by which a figure may exceed its limit.
 */
export function checkLimits(group, figures, tolerance = 0) {
  const limits = JSON.parse(readFileSync(new URL('./limits.json', import.meta.url), 'utf8'))[group];
  for (const [name, limit] of Object.entries(limits)) {
    const figure = figures[name];
    const isKept = figure !== undefined && figure <= limit * (1 + tolerance);
    if (!isKept) process.exitCode = 1;
    console.log(`${isKept ? 'kept  ' : 'BROKEN'} ${name}: ${String(figure)}, at most ${String(limit)}`);
  }
}
