import { describe, expect, it } from 'vitest';
import { matchMethodPattern } from './method-patterns.js';

const match = (pattern: string) => matchMethodPattern(pattern, 'orders.v1.Orders', 'GetOne');

describe('matchMethodPattern', () => {
  it('ranks more exact method patterns higher, and compares methods before services', () => {
    const fromLeastExact = [
      '*',
      'Orders/*',
      'orders.v1.Orders/*',
      'G*',
      'Get*',
      'Orders/Get*',
      'orders.v1.Orders/Get*',
      'GetOne*',
      'GetOne',
      'Orders/GetOne',
      'orders.v1.Orders/GetOne',
    ];
    const found = fromLeastExact.map(match);
    expect(found.every((rank) => rank !== undefined)).toBe(true);
    expect(found).toEqual([...found].sort((a, b) => a! - b!));
    expect(new Set(found).size).toBe(fromLeastExact.length);
  });

  it.each([
    'Get',
    'getOne',
    'One',
    '*One',
    'G*e',
    'Order/GetOne',
    'v1.Orders/GetOne',
    'orders.v1/GetOne',
    '/GetOne',
    '',
    '/',
  ])('does not match the method GetOne with the pattern %j', (pattern) => {
    expect(match(pattern)).toBeUndefined();
  });

  it('matches a service without a package by its name', () => {
    expect(matchMethodPattern('Orders/Get', 'Orders', 'Get')).toBeDefined();
  });
});
