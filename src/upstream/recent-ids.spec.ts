import { describe, expect, it } from 'vitest';
import { RecentIds } from './recent-ids.js';

describe('RecentIds', () => {
  it('recognizes an id that the set of recent ids contains', () => {
    const ids = new RecentIds();
    expect(ids.add('a')).toBe(true);
    expect(ids.add('b')).toBe(true);
    expect(ids.add('a')).toBe(false);
  });

  it('removes the oldest id when the set of recent ids contains 10,000 other ids', () => {
    const ids = new RecentIds();
    for (let number = 0; number <= 10_000; number++) expect(ids.add(String(number))).toBe(true);
    expect(ids.add('1')).toBe(false);
    expect(ids.add('0')).toBe(true);
  });
});
