import { describe, expect, it } from 'vitest';
import { RecentIds } from './recent-ids.js';

describe('RecentIds', () => {
  it('recognizes an id that it contains', () => {
    const ids = new RecentIds();
    expect(ids.add('a')).toBe(true);
    expect(ids.add('b')).toBe(true);
    expect(ids.add('a')).toBe(false);
  });

  it('forgets the oldest id when it contains 10,000 others', () => {
    const ids = new RecentIds();
    for (let number = 0; number <= 10_000; number++) expect(ids.add(String(number))).toBe(true);
    expect(ids.add('1')).toBe(false);
    expect(ids.add('0')).toBe(true);
  });
});
