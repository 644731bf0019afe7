import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readRequestCounts, RequestCounts } from './request-counts.js';

describe('RequestCounts', () => {
  let folder: string;
  let path: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'request-counts-'));
    path = join(folder, 'requests');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('can be read while it counts', () => {
    const counts = new RequestCounts(path);
    counts.add('plain');
    counts.add('tuned');
    counts.add('plain');
    expect(readRequestCounts(path)).toEqual(new Map(Object.entries({ plain: 2, tuned: 1 })));
    counts.close();
  });

  it('goes on counting after a restart', () => {
    for (const senders of [
      ['plain', 'tuned'],
      ['tuned', 'resilient'],
    ]) {
      const counts = new RequestCounts(path);
      for (const sender of senders) counts.add(sender);
      counts.close();
    }
    expect(readRequestCounts(path)).toEqual(new Map(Object.entries({ plain: 1, tuned: 2, resilient: 1 })));
  });
});
