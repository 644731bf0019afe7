import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../consumers/packed-library.js';

interface Lock {
  readonly packages: Record<string, { readonly optionalDependencies?: Record<string, string> }>;
}

describe('package-lock.json', () => {
  // Without these entries, npm ci fails in a fresh clone.
  it('lists every optional dependency in package-lock.json', () => {
    const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as Lock;
    const missing = Object.entries(lock.packages).flatMap(([at, { optionalDependencies = {} }]) =>
      Object.keys(optionalDependencies)
        .filter((name) => !placesOf(at, name).some((place) => place in lock.packages))
        .map((name) => `${name}, of ${at}`),
    );
    expect(missing).toEqual([]);
  });
});

/** Paths that Node checks for `name` from the package at `at`, nearest first. */
function placesOf(at: string, name: string): string[] {
  const parents = at
    .split('/node_modules/')
    .map((_part, index, parts) => parts.slice(0, parts.length - index).join('/node_modules/'));
  return [...parents.map((parent) => `${parent}/node_modules/${name}`), `node_modules/${name}`];
}
