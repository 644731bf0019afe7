import { expect, it } from 'vitest';
import { StreamTable } from './stream-table.js';

it.each([
  ['ascending', (count: number, index: number) => index],
  ['descending', (count: number, index: number) => count - 1 - index],
])('finds and deletes each of many streams in a few steps, in %s order', (_order, place) => {
  let steps = 0;
  const table = new StreamTable<{ readonly id: number }>();
  const count = 20_000;
  const idOf = (index: number): number => 2 * index + 1;
  for (let index = 0; index < count; index++) {
    table.add({
      get id() {
        steps += 1;
        return idOf(index);
      },
    });
  }
  expect(table.all().map(({ id }) => id)).toEqual(Array.from({ length: count }, (_, index) => idOf(index)));
  steps = 0;
  for (let index = 0; index < count; index++) {
    const id = idOf(place(count, index));
    expect(table.get(id)?.id).toBe(id);
    expect(table.delete(id)).toBe(true);
    expect(table.get(id)).toBeUndefined();
  }
  expect([table.size, table.delete(1)]).toEqual([0, false]);
  expect(steps).toBeLessThan(20 * count);
});
