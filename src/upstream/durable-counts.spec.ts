import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DurableCounts, readDurableCounts } from './durable-counts.js';

describe('DurableCounts', () => {
  let folder: string;
  let path: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'durable-counts-'));
    path = join(folder, 'requests');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('writes durable counts that can be read while their file is open', () => {
    const counts = new DurableCounts(path);
    counts.add('plain');
    counts.add('tuned');
    counts.add('plain');
    expect(readDurableCounts(path)).toEqual(new Map(Object.entries({ plain: 2, tuned: 1 })));
    counts.close();
  });

  it('continues durable counts after a restart', () => {
    for (const senders of [
      ['plain', 'tuned'],
      ['tuned', 'resilient'],
    ]) {
      const counts = new DurableCounts(path);
      for (const sender of senders) counts.add(sender);
      counts.close();
    }
    expect(readDurableCounts(path)).toEqual(new Map(Object.entries({ plain: 1, tuned: 2, resilient: 1 })));
  });
});
