import { describe, expect, it } from 'vitest';
import { closest, misspelled } from './closest.js';

describe('closest', () => {
  it.each<[word: string, known: string[], expected: string | undefined]>([
    ['timeoutMS', ['timeoutMs', 'attemptTimeoutMs'], 'timeoutMs'],
    ['timoutMs', ['attemptTimeoutMs', 'timeoutMs'], 'timeoutMs'],
    ['proto', ['port', 'protoPath'], 'protoPath'],
    ['proto', ['protoPath', 'port'], 'protoPath'],
    ['por', ['portRange', 'port'], 'port'],
    ['get', ['GetOrder'], 'GetOrder'],
    ['ge', ['getOrder'], undefined],
    ['url', ['protoPath', 'package'], undefined],
  ])('finds the name closest to %s in %j, if any is close: %s', (word, known, expected) => {
    expect(closest(word, known)).toBe(expected);
  });
});

describe('misspelled', () => {
  it.each<[word: string, known: string[], expected: string | undefined]>([
    ['request_id', ['requestIds', 'requestId'], 'requestId'],
    ['ID', ['id'], 'id'],
    ['quanitty', ['quantity'], 'quantity'],
    ['adress', ['address'], 'address'],
    ['updatedAt', ['createdAt'], undefined],
    ['minPrice', ['maxPrice'], undefined],
    ['stage', ['state'], undefined],
    ['address2', ['address1'], undefined],
    ['emails', ['email'], undefined],
    ['order', ['orderId'], undefined],
    ['nameEn', ['nameEs'], undefined],
    ['maxAgee', ['maxAge'], 'maxAge'],
    ['quantities', ['quantity'], undefined],
  ])(
    'returns the correct spelling of %s from the list %j, or undefined if the list contains no correct spelling: %s',
    (word, known, expected) => {
      expect(misspelled(word, known)).toBe(expected);
    },
  );
});
